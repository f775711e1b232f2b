#!/usr/bin/env python3
"""Kills a server again and again under load, and checks what it promised (promises.py).

  .venv/paho2/bin/python Tests/Crash/crash.py [--kills 200] [--seed N] [--shim] [--loops 2,1,4] [--seconds 0.5] [--clients mqtt1,amqp] [--server martlet]

Publishers send as fast as the readers follow, over MQTT at QoS 1 and 2 and over AMQP with confirms and with transactions, also from one protocol to the other.
At random moments of the seed the server is killed (SIGKILL) and started on the same data and ports, sometimes killed again while it starts. Clients connect
again and go on by their protocol's rules. With --shim the disk loses what was not synced (lost_writes.c), and every other kill is a power failure that leaves an
arbitrary part of it. At the end everything is drained, the server is killed once more, and nothing may come that was acknowledged.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Interop"))

import servers
import shim
from amqp_clients import EXCHANGE, AMQPConsumer, AMQPPublisher, AMQPTransactions
from loop import Loop
from mqtt_clients import MQTTConsumer, MQTTPublisher
from promises import GRACE, Promises

CLIENTS = {"martlet": "mqtt1,mqtt2,amqp,tx,bridge", "rabbitmq": "amqp,tx", "mosquitto": "mqtt1,mqtt2"}
START_SECONDS = 60
STALL_SECONDS = 10  # without an arrival
UNLIMITED = ("--set", "mqtt.queueMessagesMax=1000000000", "--set", "mqtt.queueBytesMax=1024GiB")


class Load:
    """All publishers and consumers of a run."""

    def __init__(self, loop, server, promises, kinds, chance):
        self.loop, self.server, self.promises, self.chance = loop, server, promises, chance
        self.publishers, self.consumers = [], []
        self.waiting = []  # publishers that are made when all consumers have subscribed
        for kind in kinds:
            getattr(self, kind)()

    def flows(self, kind, count, **more):
        return [self.promises.flow(f"crash.{kind}.{index}", **more) for index in range(count)]

    def publisher(self, make, *words, **more):
        self.waiting.append(lambda: self.publishers.append(make(self.loop, self.server, self.promises, *words, **more)))

    def consumer(self, make, *words, **more):
        self.consumers.append(make(self.loop, self.server, self.promises, *words, **more))

    def mqtt1(self):
        flows = self.flows("q1", 6)
        for index in range(2):
            self.publisher(MQTTPublisher, f"q1-publisher-{index}", flows[index * 3 : index * 3 + 3], 1, version=4 + index)
            self.consumer(MQTTConsumer, f"q1-{index}", flows, "crash/q1/#", 1, version=5 - index)
        self.consumer(MQTTConsumer, "q1-at-2", flows, "crash/q1/#", 2, version=5)
        self.sometimes(MQTTConsumer, "q1-sometimes", flows, "crash/q1/#", 1, version=4)

    def mqtt2(self):
        flows = self.flows("q2", 4, exactly_once=True)
        for index in range(2):
            self.publisher(MQTTPublisher, f"q2-publisher-{index}", flows[index * 2 : index * 2 + 2], 2, version=4 + index, window=100)
            self.consumer(MQTTConsumer, f"q2-{index}", flows, "crash/q2/+", 2, version=5 - index)
        self.consumer(MQTTConsumer, "q2-at-1", flows, "crash/q2/+", 1, version=4)
        self.sometimes(MQTTConsumer, "q2-sometimes", flows, "crash/q2/+", 2, version=5)

    def amqp(self):
        flows = self.flows("confirmed", 4)
        for index in range(2):
            self.publisher(AMQPPublisher, f"publisher-{index}", flows[index * 2 : index * 2 + 2])
            self.consumer(AMQPConsumer, f"queue-{index}", flows, [(EXCHANGE, "crash.confirmed.*")])
        self.sometimes(AMQPConsumer, "queue-sometimes", flows, [(EXCHANGE, "crash.confirmed.#")])

    def tx(self):
        (flow,) = self.flows("transactions", 1, batch=20)
        self.publisher(AMQPTransactions, "transactions", flow)
        self.consumer(AMQPConsumer, "queue-transactions", [flow], [(EXCHANGE, "crash.transactions.*")])

    def bridge(self):
        to_amqp, to_mqtt = self.flows("to-amqp", 2), self.flows("to-mqtt", 2)
        self.publisher(MQTTPublisher, "bridge-publisher", to_amqp, 1)
        self.consumer(AMQPConsumer, "queue-bridge", to_amqp, [("amq.topic", "crash.to-amqp.*")])
        self.publisher(AMQPPublisher, "publisher-bridge", to_mqtt, exchange="amq.topic")
        self.consumer(MQTTConsumer, "bridge-at-1", to_mqtt, "crash/to-mqtt/#", 1)
        self.consumer(MQTTConsumer, "bridge-at-2", to_mqtt, "crash/to-mqtt/#", 2, version=5)

    def sometimes(self, *words, **more):
        """A consumer that is away most of the time, and what it asked for waits."""
        self.consumer(*words, is_followed=False, **more)
        consumer = self.consumers[-1]

        def turn():
            if not self.is_ending:
                if consumer.is_wanted and getattr(consumer, "is_subscribed", False):
                    consumer.leave()
                else:
                    self.come(consumer)
                self.loop.after(self.chance.uniform(0.2, 2), turn)

        self.loop.after(1, turn)

    is_ending = False

    def come(self, consumer):
        consumer.is_wanted = True
        consumer.connect()

    def is_subscribed(self):
        return all(getattr(consumer, "is_subscribed", False) for consumer in self.consumers)

    def ready_share(self):
        wanted = [client.is_ready for client in self.publishers + self.consumers if client.is_wanted]
        return sum(wanted) / len(wanted)

    def begin(self):
        for make in self.waiting:
            make()

    def end(self):
        self.is_ending = True
        for publisher in self.publishers:
            publisher.is_sending = False
        for consumer in self.consumers:
            self.come(consumer)

    def is_drained(self):
        return not any(publisher.unacknowledged() for publisher in self.publishers) and all(consumer.is_complete() for consumer in self.consumers)

    def stuck(self):
        open = {publisher.name: count for publisher in self.publishers if (count := publisher.unacknowledged())}
        incomplete = [f"{consumer.name}{'' if consumer.is_ready else ' (not connected)'}" for consumer in self.consumers if not consumer.is_complete()]
        return f"unacknowledged: {open}; incomplete: {incomplete}"


class Killer(threading.Thread):
    """Kills at random moments, on a thread of its own, so that no moment of the clients is spared."""

    def __init__(self, server, promises, load, kills, seconds, chance, progress):
        super().__init__(daemon=True)
        self.load = load
        self.server, self.promises, self.kills, self.seconds, self.chance, self.progress = server, promises, kills, seconds, chance, progress
        self.starts = []
        self.failure = None

    def run(self):
        try:
            for number in range(self.kills):
                self.kill(self.chance.uniform(0, 2 * self.seconds))
                while self.chance.random() < 0.15:
                    self.server.launch()
                    self.kill(self.chance.uniform(0, 0.15))
                begin = time.monotonic()
                self.server.start()
                self.wait_for_clients()
                self.starts.append(time.monotonic() - begin)
                if (number + 1) % 10 == 0:
                    self.progress(f"{number + 1} kills; {self.promises.report().splitlines()[0]}")
        except Exception as error:
            self.failure = error

    def wait_for_clients(self):
        """A moment is counted from when most clients are back, so that every kill meets a load."""
        end = time.monotonic() + START_SECONDS
        while self.load.ready_share() < 0.7:
            if time.monotonic() > end or not self.server.is_running():
                raise AssertionError(f"{self.server.name} does not let its clients in:\n{self.server.said()}")
            time.sleep(0.005)

    def kill(self, after):
        time.sleep(after)
        disk = getattr(self.server, "disk", None)
        tears, seed = self.chance.random() < 0.5, self.chance.getrandbits(64)
        if not self.server.is_running():
            raise AssertionError(f"{self.server.name} ended by itself:\n{self.server.said()}")
        if disk and tears:
            disk.tear(seed)
        self.promises.kills.append(time.monotonic())
        self.server.kill()


def run(server, kinds, kills, seconds, seed, progress=lambda text: None):
    """The promises, finished."""
    promises, loop, chance = Promises(), Loop(), random.Random(seed)
    try:
        server.start()
        load = Load(loop, server, promises, kinds, random.Random(seed + 1))
        assert loop.run(load.is_subscribed, 30), f"the consumers did not subscribe: {promises.report()}"
        load.begin()
        killer = Killer(server, promises, load, kills, seconds, chance, progress)
        killer.start()
        loop.run(lambda: not killer.is_alive(), 3600)
        if killer.failure:
            raise killer.failure
        loop.run(lambda: False, seconds)
        load.end()
        progress(f"draining; {promises.report().splitlines()[0]}")
        had = None
        while not loop.run(load.is_drained, STALL_SECONDS):
            if had == (had := promises.arrived()):
                promises.breach("not drained", load.stuck())
                break
        loop.run(lambda: False, GRACE + 0.5)
        final = Killer(server, promises, load, 1, 0, chance, progress)
        final.start()
        loop.run(lambda: not final.is_alive(), 120)
        loop.run(lambda: False, 1)
        promises.starts = killer.starts
        promises.finish()
        return promises
    finally:
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=CLIENTS, default="martlet")
    parser.add_argument("--clients", help="of mqtt1, mqtt2, amqp, tx, bridge")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5, help="between kills, on average")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--loops", default="2", help="a list is taken in turn, one a start")
    parser.add_argument("--shim", action="store_true", help="on a disk that loses what was not synced")
    parser.add_argument("--delay", type=int, default=0, help="with --shim: microseconds a sync takes")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--keep", help="a folder for the server's data and log, which stay")
    a = parser.parse_args()

    def progress(text):
        print(f"{time.monotonic() - begin:7.1f} s  {text}", file=sys.stderr, flush=True)

    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}: seed {a.seed}", flush=True)
    with tempfile.TemporaryDirectory() as own:
        folder = Path(a.keep or own)
        folder.mkdir(exist_ok=True)
        if a.server == "martlet":
            more = [word for setting in a.set for word in ("--set", setting)]
            library = shim.build(folder) if a.shim else None
            server = servers.Martlet(folder, *UNLIMITED, *more, loops=map(int, a.loops.split(",")), library=library, delay=a.delay)
        else:
            server = {"rabbitmq": servers.RabbitMQ, "mosquitto": servers.Mosquitto}[a.server](folder)
        promises = run(server, (a.clients or CLIENTS[a.server]).split(","), a.kills, a.seconds, a.seed, progress)
        print(promises.report())
        if promises.starts:
            print(f"from each start until the clients are back: {min(promises.starts):.2f} to {max(promises.starts):.2f} s")
        sys.exit(1 if promises.broken else 0)


if __name__ == "__main__":
    main()
