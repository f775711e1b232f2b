"""What breaks the protocol costs its own connection and nothing else."""

import os
import random

import pytest

from raw import DISCONNECT, PINGREQ, Connection, connect_packet, packet, publish_packet, text

PACKETS_BEFORE_CONNECT = {
    "garbage": bytes(random.Random(1).randrange(256) for _ in range(4096)),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": bytes.fromhex("160301020001000" + "0" * 33),
    "length of five bytes": bytes([0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
    "publish first": publish_packet("a", b"x"),
    "ping first": packet(PINGREQ, 0, b""),
    "unknown protocol": packet(1, 0, text("MQXX") + bytes([4, 2, 0, 60]) + text("")),
    "reserved connect flag": packet(1, 0, text("MQTT") + bytes([4, 3, 0, 60]) + text("c")),
    "cut client identifier": packet(1, 0, text("MQTT") + bytes([4, 2, 0, 60]) + b"\x00\x20abc"),
}
PACKETS_AFTER_CONNECT = {
    "second connect": connect_packet("again"),
    "quality of service 3": packet(3, 6, text("a") + b"\0\1x"),
    "wildcard in a topic": publish_packet("a/#", b"x"),
    "not UTF-8": publish_packet(b"\xff\xfe", b"x"),
    "NUL in a topic": publish_packet("a\0b", b"x"),
    "cut topic": packet(3, 0, b"\x00\x10abc"),
    "reserved type": packet(0, 0, b""),
    "subscribe with wrong flags": packet(8, 0, b"\0\1" + text("a") + b"\0"),
    "subscribe without filters": packet(8, 2, b"\0\1"),
    "filter with a wrong wildcard": packet(8, 2, b"\0\1" + text("a/#/b") + b"\0"),
    "packet identifier 0": packet(8, 2, b"\0\0" + text("a") + b"\0"),
    "length of five bytes": bytes([0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]),
}


@pytest.fixture
def witness(broker, topic):
    """Another connection that receives before and after."""
    with Connection(broker) as witness:
        assert witness.connect() == 0
        assert witness.subscribe(topic) == 0
        witness.publish(topic, b"before")
        assert witness.message() == (topic, b"before", 0)
        yield witness
        witness.publish(topic, b"after")
        assert witness.message() == (topic, b"after", 0)


@pytest.mark.parametrize("name", PACKETS_BEFORE_CONNECT)
def test_before_connect(broker, witness, name):
    with Connection(broker) as bad:
        bad.send(PACKETS_BEFORE_CONNECT[name])
        bad.seconds_until_closed(within=5)


@pytest.mark.parametrize("name", PACKETS_AFTER_CONNECT)
@pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
def test_after_connect(broker, witness, name, version):
    if version == 5 and name == "filter with a wrong wildcard":
        pytest.skip("MQTT 5 may answer with 0x8F instead of closing")
    with Connection(broker) as bad:
        assert bad.connect(version=version) == 0
        raw = PACKETS_AFTER_CONNECT[name]
        if version == 5 and name in ("subscribe without filters", "packet identifier 0"):
            raw = packet(8, 2, raw[2:4] + b"\0" + raw[4:])
        bad.send(raw)
        bad.seconds_until_closed(within=5)


def test_a_packet_larger_than_allowed_ends_its_connection(serve):
    server = serve("--set", "mqtt.packetSizeMax=64KiB")
    for version in (4, 5):
        with Connection(server) as bad:
            assert bad.connect(version=version) == 0
            # Its length alone is enough: nobody waits for the bytes.
            bad.send(bytes([0x30]) + b"\x80\x80\x08" + b"\0\1a")
            bad.seconds_until_closed(within=5)
            if version == 5:
                assert bad.farewell[0] >> 4 == DISCONNECT and bad.farewell[2] == 0x95
        with Connection(server) as good:
            assert good.connect() == 0
            assert good.subscribe("a") == 0
            good.publish("a", b"x" * 60_000)
            assert good.message() == ("a", b"x" * 60_000, 0)


def test_bytes_that_trickle_are_one_packet(broker, topic):
    with Connection(broker) as slow:
        for byte in connect_packet("slow" + topic):
            slow.send(bytes([byte]))
        assert slow.receive()[2] == b"\0\0"
        assert slow.subscribe(topic) == 0
        for byte in publish_packet(topic, b"slowly"):
            slow.send(bytes([byte]))
        assert slow.message() == (topic, b"slowly", 0)


def test_random_bytes_after_connect_never_end_the_server(broker, witness):
    seed = int(os.environ.get("MARTLET_INTEROP_SEED", "7"))
    source = random.Random(seed)
    for _ in range(100):
        with Connection(broker) as bad:
            assert bad.connect() == 0
            try:
                bad.send(source.randbytes(source.randrange(1, 300)))
            except ConnectionError:
                pass
    assert broker.is_running(), f"seed {seed}"
