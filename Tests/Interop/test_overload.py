"""Slow subscribers, floods of connections and many idle clients: each costs what its policy says, and the others nothing."""

import socket
import time

import pytest

import brokers
from peer import Peer, connect_packet
from raw import Connection

pytestmark = pytest.mark.skipif(brokers.AGAINST_MOSQUITTO, reason="about martlet's policies")
DROPPED = "$SYS/broker/publish/messages/dropped"


def dropped(server, above, seconds=10):
    """Waits until $SYS says that more than `above` messages were dropped; how many."""
    with Peer(server, f"counter{above}", 4) as watcher:
        watcher.subscribe(DROPPED)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            count = int(watcher.message().payload)
            if count > above:
                return count
    raise AssertionError(f"{DROPPED} stayed at {count}")


@pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
def test_what_a_slow_subscriber_loses_at_qos_0_is_counted(serve, version):
    """It stays connected, and has what it took up to then in order."""
    server = serve("--set", "mqtt.systemTopicsInterval=1s", "--set", "mqtt.outputBytesMax=64KiB", loops=2)
    with Peer(server, "slow", version, receive_buffer=4096, keep_alive=0) as slow, Peer(server, "fast", version) as fast, Peer(server, "sender") as sender:
        slow.subscribe("flood", qos=0)
        fast.subscribe("flood", qos=0)
        count = 2000
        for number in range(count):
            sender.publish("flood", b"%06d" % number + b"x" * 4096)
            if number % 20 == 19:
                assert [int(payload[:6]) for payload in fast.payloads(20)] == list(range(number - 19, number + 1))
        lost = dropped(server, 0)
        assert 0 < lost < count
        got = [int(payload[:6]) for payload in slow.payloads(count - lost)]
        assert got == sorted(set(got))
        sender.publish("flood", b"after", 1)
        assert slow.message().payload == b"after"


@pytest.mark.parametrize("qos", [1, 2])
def test_a_subscriber_that_never_acknowledges_is_sent_away(serve, qos):
    """Held to mqtt.queueMessagesMax, then DISCONNECT 0x97; before MQTT 5 without a word. Its session stays, others are served."""
    server = serve("--set", "mqtt.queueMessagesMax=50", "--set", "mqtt.receiveMaximum=10", "--set", "mqtt.systemTopicsInterval=1s", loops=2)
    with Peer(server, "sender") as sender, Peer(server, "good") as good:
        good.subscribe("t")
        for version, reason in ((5, 0x97), (4, None)):
            named = {"session_expiry": 60} if version == 5 else {}
            with Peer(server, f"slow{version}", version, clean=False, named=named) as slow:
                slow.subscribe("t")
                for number in range(80):
                    sender.publish("t", b"%d" % number, qos)
                    assert good.message().payload == b"%d" % number
                assert slow.refused() == reason
            with Peer(server, f"slow{version}", version, clean=False) as slow:
                assert slow.session_present == 1
                assert slow.payloads(10) == [b"%d" % number for number in range(10)]
                slow.unsubscribe("t")
        dropped(server, 0)


def test_a_flood_of_connections_leaves_the_others_alone(serve):
    """5,000 connections that come and go: with a CONNECT, with half of one, with nothing."""
    server = serve("--set", "mqtt.connectTimeout=1s", loops=2)
    with Peer(server, "good", keep_alive=0) as good:
        good.subscribe("t")
        before = server.memory_kib()
        waits = []
        for round in range(50):
            flood = [Connection(server) for _ in range(100)]
            for number, connection in enumerate(flood):
                connection.send([connect_packet(f"f{number}", 5), connect_packet("half", 4)[:-1], b"", b"\0"][number % 4])
            start = time.monotonic()
            good.publish("t", b"x", 1)
            good.message()
            waits.append(time.monotonic() - start)
            for connection in flood:
                connection.close()
        assert max(waits) < 2, max(waits)
        good.ping()
        assert (server.memory_kib() - before) / 1024 < 16


def test_ten_thousand_idle_clients(serve):
    """They cost little memory, and all are there when something comes."""
    server = serve(loops=2)
    count = 10_000
    before = server.memory_kib()
    clients = []
    try:
        for first in range(0, count, 250):
            batch = [socket.create_connection((server.host, server.port), timeout=20) for _ in range(250)]
            clients += batch
            for number, client in enumerate(batch, first):
                client.sendall(connect_packet(f"idle{number}", 4, keep_alive=0) + b"\x82\x08\0\1\0\3all\0")
            for client in batch:
                said = b""
                while len(said) < 9:
                    said += client.recv(64)
                assert said == b"\x20\x02\0\0\x90\x03\0\1\0"
        each = (server.memory_kib() - before) * 1024 / count
        assert each < 3000, f"{each:.0f} bytes a client"
        with Peer(server, "sender") as sender:
            sender.publish("all", b"hello", 1)
        for client in clients:
            said = b""
            while len(said) < 12:
                said += client.recv(64)
            assert said == b"\x30\x0a\0\3allhello"
    finally:
        for client in clients:
            client.close()
