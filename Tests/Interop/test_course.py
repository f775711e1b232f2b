"""A course's publisher and subscriber (paho-mqtt before 2.0), of which nothing but the host and its port is ours."""

import subprocess
import threading
import time

import brokers

PEERS = brokers.ROOT / "Tests/Interop/peers"


def start(name, broker):
    python = brokers.ROOT / ".venv/paho1/bin/python"
    return subprocess.Popen(
        [python, PEERS / f"course_{name}.py", broker.host, str(broker.port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=brokers.environment()
    )


def test_publisher_and_subscriber_as_in_the_course(broker):
    subscriber = start("subscriber", broker)
    publisher = None
    # The end of its output ends every wait below.
    watchdog = threading.Timer(30, subscriber.kill)
    watchdog.start()
    try:
        assert subscriber.stdout.readline() == "connected 0\n"
        publisher = start("publisher", broker)
        assert publisher.stdout.readline() == "connected 0\n"
        first = subscriber.stdout.readline().split()
        values = [float(first[1])] + [float(subscriber.stdout.readline().split()[1]) for _ in range(4)]
        assert first[0] == "myhome/livingroom/temperature"
        assert values == [values[0] + number / 4 for number in range(5)]
        # The publisher goes and comes again; the subscriber notices nothing.
        publisher.kill()
        publisher.communicate(timeout=10)
        time.sleep(0.2)
        publisher = start("publisher", broker)
        while float(subscriber.stdout.readline().split()[1]) != 20.25:
            pass
    finally:
        watchdog.cancel()
        for process in (subscriber, publisher):
            if process:
                process.kill()
                process.communicate(timeout=10)
