"""`martlet mqtt pub` and `martlet mqtt sub`, against martlet and against Debian's mosquitto."""

import subprocess
import threading
import time

import pytest

import brokers
from brokers import martlet
from mosquitto_clients import Subscriber, publish

versions = pytest.mark.parametrize("version", ["31", "311", "5"])


@pytest.fixture(scope="module", params=["martlet", "mosquitto"])
def server(request, tmp_path_factory):
    # mosquitto drops what a client has not yet taken beyond 1,000 messages.
    running = (
        brokers.Martlet(loops=2) if request.param == "martlet" else brokers.Mosquitto(tmp_path_factory.mktemp("mosquitto"), "max_queued_messages 0"))
    yield running
    assert running.stop()[0] == 0


class Subscription:
    """A running `martlet mqtt sub`, ready when the first message on a topic of its own has come."""

    def __init__(self, server, topic, *words):
        command = [brokers.binary(), "mqtt", "sub", "-p", str(server.port), "-h", server.host, "-t", f"{topic}/ready", *words]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=brokers.environment())
        self.lines = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        deadline = time.monotonic() + 15
        while not self.lines:
            assert self.process.poll() is None, self.process.stderr.read().decode()
            assert time.monotonic() < deadline, "martlet mqtt sub did not subscribe"
            publish(server, "-t", f"{topic}/ready", "-m", "ready")
            with self._changed:
                self._changed.wait_for(lambda: self.lines, 0.3)

    def _read(self):
        for raw in self.process.stdout:
            with self._changed:
                self.lines.append(raw.decode().rstrip("\n"))
                self._changed.notify_all()

    def take(self, count, seconds=20):
        real = lambda: [line for line in self.lines if not line.endswith("ready")]
        with self._changed:
            assert self._changed.wait_for(lambda: len(real()) >= count, seconds), f"{len(real())} of {count}"
            return real()

    def stop(self):
        self.process.terminate()
        return self.process.wait(10)


@versions
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_pub_reaches_mosquitto_sub(server, topic, version, qos):
    with Subscriber(server, f"{topic}/+", qos=2) as subscriber:
        done = martlet("mqtt", "pub", "-h", server.host, "-p", str(server.port), "-V", version, "-q", qos, "-t", f"{topic}/a", "-m", "21.5 °C")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert subscriber.take(1) == [(f"{topic}/a", int(qos), "21.5 °C")]


@versions
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_pub_sends_a_message_a_line_in_order(server, topic, version, qos):
    lines = [f"line {number}" for number in range(3000)]
    with Subscriber(server, topic, qos=2) as subscriber:
        done = martlet("mqtt", "pub", "-p", str(server.port), "-V", version, "-q", qos, "-t", topic, "-l", input="\n".join(lines) + "\n", timeout=60)
        assert done.returncode == 0, done.stderr
        assert [text for _, _, text in subscriber.take(len(lines), 30)] == lines


def test_pub_sends_files_standard_input_and_nothing(server, topic, tmp_path):
    payload = "z" * 65_536
    file = tmp_path / "payload"
    file.write_text(payload)
    base = ["mqtt", "pub", "-L", f"mqtt://{server.host}:{server.port}/{topic}"]
    with Subscriber(server, topic) as subscriber:
        assert martlet(*base, "-f", str(file)).returncode == 0
        assert martlet(*base, "-s", input=payload).returncode == 0
        assert martlet(*base, "-n").returncode == 0
        assert [text for _, _, text in subscriber.take(3)] == [payload, payload, ""]
    missing = martlet(*base, "-f", str(tmp_path / "missing"))
    assert missing.returncode == 1 and "missing" in missing.stderr and len(missing.stderr.splitlines()) == 1


@versions
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_sub_prints_what_mosquitto_pub_sends(server, topic, version, qos):
    subscription = Subscription(server, topic, "-t", f"{topic}/+/x", "-v", "-q", qos, "-V", version)
    publish(server, "-t", f"{topic}/1/x", "-m", "one", "-q", "1")
    publish(server, "-t", f"{topic}/1/y", "-m", "no", "-q", "1")
    publish(server, "-t", f"{topic}/2/x", "-m", "two", "-q", "1")
    assert subscription.take(2) == [f"{topic}/1/x one", f"{topic}/2/x two"]
    assert subscription.stop() == 0


def test_sub_keeps_up_with_many_messages(server, topic):
    lines = [f"{number}" for number in range(5000)]
    subscription = Subscription(server, topic, "-t", topic, "-q", "1")
    publish(server, "-t", topic, "-l", "-q", "1", input="".join(line + "\n" for line in lines).encode(), timeout=60)
    assert subscription.take(len(lines), 30) == lines
    assert subscription.stop() == 0


def test_sub_leaves_after_its_count(server, topic):
    subscription = Subscription(server, topic, "-t", topic, "-C", "3")
    for number in range(5):
        publish(server, "-t", topic, "-m", str(number))
    assert subscription.process.wait(10) == 0
    assert len(subscription.lines) == 3


def test_sub_leaves_after_its_time(server, topic):
    start = time.monotonic()
    done = martlet("mqtt", "sub", "-p", str(server.port), "-t", topic, "-C", "1", "-W", "1", timeout=15)
    assert done.returncode == 1 and 0.9 < time.monotonic() - start < 8


def test_an_unreachable_server_is_69():
    for command in (["pub", "-m", "x"], ["sub"]):
        done = martlet("mqtt", *command, "-h", "127.0.0.1", "-p", str(brokers.free_port()), "-t", "a")
        assert done.returncode == 69
        assert len(done.stderr.splitlines()) == 1 and "127.0.0.1" in done.stderr


def test_a_wrong_password_is_77(serve):
    server = serve("--user", "alice:secret")
    where = ["-p", str(server.port), "-t", "a", "-m", "x"]
    assert martlet("mqtt", "pub", *where, "-u", "alice", "-P", "secret").returncode == 0
    done = martlet("mqtt", "pub", *where, "-u", "alice", "-P", "wrong")
    assert done.returncode == 77 and len(done.stderr.splitlines()) == 1
    assert martlet("mqtt", "pub", *where).returncode == 77
