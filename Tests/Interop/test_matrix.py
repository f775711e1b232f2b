"""Every client as publisher with every client as subscriber, through martlet and through Debian's mosquitto.

All subscribers of a server listen at once while one publisher after the other speaks; each case then looks at what one subscriber has of one
publisher. Both may speak either version of the protocol.
"""

import itertools
import subprocess
import threading
import time

import pytest

import brokers
from peer import Peer

SERVERS = ["martlet", "mosquitto"]
CLIENTS = [(kind, version) for kind in ("paho1", "paho2", "mosquitto", "martlet") for version in ("311", "5")]
NAMES = ["-".join(client) for client in CLIENTS]
COUNT = 5


def command(kind, verb, server, version, *words):
    prefix = {
        "paho1": [str(brokers.ROOT / ".venv/paho1/bin/python"), str(brokers.ROOT / "Tests/Interop/peers/paho_tool.py"), verb],
        "paho2": [str(brokers.ROOT / ".venv/paho2/bin/python"), str(brokers.ROOT / "Tests/Interop/peers/paho_tool.py"), verb],
        "mosquitto": ["stdbuf", "-oL", f"mosquitto_{verb}"],
        "martlet": [brokers.binary(), "mqtt", verb],
    }[kind]
    return [*prefix, "-h", server.host, "-p", str(server.port), "-V", version, *words]


def spawn(words, **more):
    return subprocess.Popen(words, text=True, stderr=subprocess.PIPE, env=brokers.environment(), **more)


class Listener:
    """A running subscriber. Messages are (topic, QoS, retained, text)."""

    def __init__(self, server, kind, version):
        self.ready_topic = f"ready/{kind}/{version}"
        filters = ["live/#", "kept/#", "will/#", "$share/group/shared/#", self.ready_topic]
        words = [word for filter in filters for word in ("-t", filter)]
        self.process = spawn(command(kind, "sub", server, version, *words, "-q", "2", "-F", "%t\t%q\t%r\t%p"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.messages = []
        self.ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            topic, qos, retained, text = line.rstrip("\n").split("\t", 3)
            if topic == self.ready_topic:
                self.ready.set()
            else:
                self.messages.append((topic, int(qos), int(retained), text))

    def of(self, prefix):
        return [message[1:] for message in list(self.messages) if message[0] == prefix]


class World:
    """One server with all its subscribers, after all publishers have spoken."""

    def __init__(self, server):
        self.server = server
        self.errors = {}
        for kind, version in CLIENTS:
            self.publish(kind, version, "kept", "1", ["kept"], "-r")
        self.listeners = {client: Listener(server, *client) for client in CLIENTS}
        try:
            self.speak()
        finally:
            for listener in self.listeners.values():
                listener.process.terminate()
            for listener in self.listeners.values():
                listener.process.wait(10)

    def speak(self):
        server = self.server
        with Peer(server, "witness") as witness:
            deadline = time.monotonic() + 20
            for client, listener in self.listeners.items():
                while not listener.ready.is_set():
                    assert time.monotonic() < deadline, f"{client} did not subscribe: {listener.process.poll()}"
                    witness.publish(listener.ready_topic, b"ready", 1)
                    listener.ready.wait(0.2)
            witness.subscribe("alive/#")
            for kind, version in CLIENTS:
                for qos in ("0", "1", "2"):
                    self.publish(kind, version, f"live/{qos}", qos, [f"{qos} {number}" for number in range(COUNT)])
                self.publish(kind, version, "shared", "1", [str(number) for number in range(COUNT)])
                self.die(kind, version, witness)
        wanted = len(CLIENTS) * (3 * COUNT + 2)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and any(self.count(listener) < wanted for listener in self.listeners.values()):
            time.sleep(0.05)

    def count(self, listener):
        return sum(not message[0].startswith("shared/") for message in list(listener.messages))

    def publish(self, kind, version, place, qos, lines, *words):
        done = subprocess.run(
            command(kind, "pub", self.server, version, "-t", f"{place}/{kind}/{version}", "-q", qos, "-l", *words),
            input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, timeout=30, env=brokers.environment(),
        )  # fmt: skip
        if done.returncode:
            self.errors[kind, version, place] = done.stderr

    def die(self, kind, version, witness):
        """A publisher with a will is killed once it is seen to be alive."""
        words = ["-t", f"alive/{kind}/{version}", "-q", "1", "-l"]
        will = ["--will-topic", f"will/{kind}/{version}", "--will-payload", "gone", "--will-qos", "1"]
        process = spawn(command(kind, "pub", self.server, version, *words, *will), stdin=subprocess.PIPE)
        try:
            process.stdin.write("alive\n")
            process.stdin.flush()
            witness.message()
        except (BrokenPipeError, TimeoutError):
            self.errors[kind, version, "will"] = f"ended with {process.poll()}"
        finally:
            process.kill()
            process.communicate(timeout=10)


@pytest.fixture(scope="module", params=SERVERS)
def world(request, tmp_path_factory):
    server = brokers.Martlet(loops=2) if request.param == "martlet" else brokers.Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    try:
        yield World(server)
    finally:
        code, _ = server.stop()
    assert code == 0


pairs = pytest.mark.parametrize("publisher, subscriber", list(itertools.product(CLIENTS, CLIENTS)), ids=[f"{a}-to-{b}" for a, b in itertools.product(NAMES, NAMES)])
publishers = pytest.mark.parametrize("publisher", CLIENTS, ids=NAMES)


@publishers
def test_every_publisher_is_acknowledged(world, publisher):
    assert {place: said for (*client, place), said in world.errors.items() if tuple(client) == publisher} == {}


@pairs
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages(world, publisher, subscriber, qos):
    got = world.listeners[subscriber].of(f"live/{qos}/{'/'.join(publisher)}")
    assert got == [(qos, 0, f"{qos} {number}") for number in range(COUNT)]


@pairs
def test_retained_messages(world, publisher, subscriber):
    assert world.listeners[subscriber].of(f"kept/{'/'.join(publisher)}") == [(1, 1, "kept")]


@pairs
def test_wills(world, publisher, subscriber):
    assert world.listeners[subscriber].of(f"will/{'/'.join(publisher)}") == [(1, 0, "gone")]


@publishers
def test_shared_subscriptions_of_all_kinds_of_clients(world, publisher):
    """Eight clients are one group: each message comes to one of them."""
    got = [text for listener in world.listeners.values() for _, _, text in listener.of(f"shared/{'/'.join(publisher)}")]
    assert sorted(got) == [str(number) for number in range(COUNT)]


def test_every_member_of_a_shared_subscription_had_its_part(world):
    total = len(CLIENTS) * COUNT
    parts = [sum(message[0].startswith("shared/") for message in listener.messages) for listener in world.listeners.values()]
    assert sum(parts) == total and all(parts), parts


@pytest.mark.parametrize("requester", ["mosquitto", "martlet"])
def test_request_and_response(world, requester):
    """mosquitto_rr and `martlet mqtt rr` ask a client that answers where the request says."""
    with Peer(world.server, f"responder-{requester}") as responder:
        responder.subscribe(f"question/{requester}")
        words = {"mosquitto": ["mosquitto_rr"], "martlet": [brokers.binary(), "mqtt", "rr"]}[requester]
        words += ["-h", world.server.host, "-p", str(world.server.port), "-V", "5", "-t", f"question/{requester}", "-e", f"answer/{requester}", "-m", "what?"]
        process = spawn(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            asked = responder.message()
            assert (asked.payload, asked.properties["response_topic"]) == (b"what?", f"answer/{requester}")
            told = {"correlation": asked.properties["correlation"]} if "correlation" in asked.properties else {}
            responder.publish(asked.properties["response_topic"], b"that.", 1, **told)
            assert process.communicate(timeout=10)[0] == "that.\n"
        finally:
            process.kill()
            process.communicate(timeout=10)
