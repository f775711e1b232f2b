"""Bad forms of every packet: what may not be sent costs its connection, is answered as section 4.13 says, and nobody else notices."""

import os
import random
import struct

import pytest

import brokers
from peer import AUTH, PUBCOMP, PUBREC, PUBREL, Peer, connect_packet, properties
from raw import CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, Connection, packet, text

both = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
NAMES = {
    CONNECT: "CONNECT", CONNACK: "CONNACK", PUBLISH: "PUBLISH", PUBACK: "PUBACK", PUBREC: "PUBREC", PUBREL: "PUBREL", PUBCOMP: "PUBCOMP",
    SUBSCRIBE: "SUBSCRIBE", SUBACK: "SUBACK", UNSUBSCRIBE: "UNSUBSCRIBE", UNSUBACK: "UNSUBACK", PINGREQ: "PINGREQ", PINGRESP: "PINGRESP",
    DISCONNECT: "DISCONNECT", AUTH: "AUTH",
}  # fmt: skip
MALFORMED = (None, 0x81, 0x82)
pytestmark = pytest.mark.skipif(brokers.AGAINST_MOSQUITTO, reason="mosquitto 2.0.11 is lenient")


def body_of(kind, version):
    """A good body of each packet that a client may send."""
    none = b"\0" if version == 5 else b""
    acknowledgement = b"\0\x09" + (b"\0\0" if version == 5 else b"")
    return {
        CONNECT: connect_packet("again", version)[2:],
        PUBLISH: text("a/b") + b"\0\x09" + none + b"x",
        PUBACK: acknowledgement,
        PUBREC: acknowledgement,
        PUBREL: acknowledgement,
        PUBCOMP: acknowledgement,
        SUBSCRIBE: b"\0\x09" + none + text("a/b") + b"\1",
        UNSUBSCRIBE: b"\0\x09" + none + text("a/b"),
        PINGREQ: b"",
        DISCONNECT: b"\0\0" if version == 5 else b"",
        AUTH: b"\x19" + properties({"auth_method": "x"}),
    }[kind]


def flags_of(kind):
    return 2 if kind in (PUBREL, SUBSCRIBE, UNSUBSCRIBE, PUBLISH) else 0


FIXED = [kind for kind in NAMES if kind not in (CONNACK, PUBLISH, SUBACK, UNSUBACK, PINGRESP)]


@pytest.fixture
def witness(broker, topic):
    """Another client of the same server, which must be served before and after."""
    with Peer(broker, f"witness{topic}") as witness:
        witness.subscribe(f"{topic}/witness")
        yield witness
        assert witness.publish(f"{topic}/witness", b"after", 2) == 0
        assert witness.message().payload == b"after"


@both
@pytest.mark.parametrize("kind", FIXED, ids=NAMES.get)
def test_reserved_flags_close(broker, topic, witness, version, kind):
    """[MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-4.8.0-1] of 3.1.1,
    [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1] [MQTT-4.13.1-1] of 5: all of the 15 wrong ones"""
    for flags in set(range(16)) - {flags_of(kind)}:
        with Peer(broker, topic, version) as client:
            client.send(packet(kind, flags, body_of(kind, version) if version == 5 or kind != AUTH else b""))
            assert client.refused() in MALFORMED


@both
@pytest.mark.parametrize("kind", [CONNACK, SUBACK, UNSUBACK, PINGRESP, 0, AUTH], ids={**NAMES, 0: "0"}.get)
def test_packets_that_no_client_sends_close(broker, topic, witness, version, kind):
    """[MQTT-4.8.0-1] of 3.1.1, [MQTT-4.13.1-1] of 5: the server's own, the reserved type, and AUTH where there is none"""
    with Peer(broker, topic, version) as client:
        client.send(packet(kind, 0, b"\0\0"))
        assert client.refused() in MALFORMED


CUT = [kind for kind in NAMES if kind not in (CONNACK, SUBACK, UNSUBACK, PINGREQ, PINGRESP, CONNECT)]


@both
@pytest.mark.parametrize("kind", CUT, ids=NAMES.get)
def test_every_packet_cut_short_closes(broker, topic, witness, version, kind):
    """[MQTT-4.8.0-1] of 3.1.1, [MQTT-4.13.1-1] of 5: a remaining length that ends within a field"""
    if version == 4 and kind in (AUTH, DISCONNECT):
        pytest.skip("there is nothing to cut")
    whole = body_of(kind, version)
    for count in range(len(whole)):
        if may_end(kind, version, count, whole):
            continue
        with Peer(broker, topic, version) as client:
            client.send(packet(kind, flags_of(kind), whole[:count]))
            assert client.refused() in (*MALFORMED, 0x8F, 0x90), count


def may_end(kind, version, count, whole):
    """Where section 3.4 and others let a packet end early, and where what is left reads as another good packet."""
    if kind == PUBLISH:
        return count >= len(whole) - 1
    if kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        return count >= 2
    if kind == DISCONNECT:
        return True
    return kind == AUTH and count == 0


@pytest.mark.parametrize("count", range(1, 40))
def test_a_connect_cut_short_closes(broker, count):
    """[MQTT-3.1.4-1]: cut by its own remaining length"""
    whole = connect_packet("client", 5, username="user", password="password")[2:]
    with Connection(broker) as client:
        client.send(packet(CONNECT, 0, whole[: min(count, len(whole) - 1)]))
        client.seconds_until_closed(within=5)
        assert not client.farewell or client.farewell[3] >= 0x80


@both
@pytest.mark.parametrize("kind", [SUBSCRIBE, UNSUBSCRIBE, PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, PINGREQ], ids=NAMES.get)
def test_bytes_behind_the_last_field_close(broker, topic, witness, version, kind):
    """[MQTT-4.8.0-1] of 3.1.1, [MQTT-4.13.1-1] of 5"""
    with Peer(broker, topic, version) as client:
        client.send(packet(kind, flags_of(kind), body_of(kind, version) + b"\0"))
        assert client.refused() in (*MALFORMED, 0x8F)


def test_a_missing_property_length_closes(broker, topic, witness):
    """[MQTT-2.2.2-1]"""
    for raw in (packet(PUBLISH, 0, text("a")), packet(SUBSCRIBE, 2, b"\0\1"), packet(UNSUBSCRIBE, 2, b"\0\1")):
        with Peer(broker, topic) as client:
            client.send(raw)
            assert client.refused() in MALFORMED


REASONS = {PUBACK: {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}, PUBREL: {0x00, 0x92}, PUBCOMP: {0x00, 0x92}}
REASONS[PUBREC] = REASONS[PUBACK]


@pytest.mark.parametrize("kind", REASONS, ids=NAMES.get)
def test_reasons_of_other_packets_close(broker, topic, witness, kind):
    """[MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1]"""
    for reason in set(range(0, 256, 7)) | {1, 2, 4, 0x10, 0x11, 0x18, 0x80, 0x92, 0x93, 0xFF} - {0}:
        with Peer(broker, topic) as client:
            client.acknowledge(kind, 9, reason)
            if reason in REASONS[kind]:
                client.ping()
            else:
                assert client.refused() in MALFORMED, hex(reason)


def test_disconnects_reasons(broker, topic, witness):
    """[MQTT-3.14.2-1]: those of a server alone, and those of nobody, are errors"""
    for reason in (0x01, 0x81, 0x8E, 0x9D, 0xFF):
        with Peer(broker, topic) as client:
            client.send(packet(DISCONNECT, 0, bytes([reason])))
            assert client.refused() in (None, 0x81, 0x82)


@both
@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind not in (CONNACK, SUBACK, UNSUBACK, PINGRESP)], ids=NAMES.get)
def test_remaining_lengths_that_cannot_be(broker, topic, witness, version, kind):
    """Section 2.2.3 of 3.1.1, [MQTT-1.5.5-1] of 5: five bytes, and the largest there is"""
    for length in (b"\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x00", b"\xff\xff\xff\x7f"):
        with Peer(broker, topic, version) as client:
            client.send(bytes([kind << 4 | flags_of(kind)]) + length + body_of(kind, version if kind != AUTH else 5))
            assert client.refused() in (*MALFORMED, 0x95)


@both
def test_damaged_packets_of_every_kind_never_end_the_server(broker, topic, witness, version):
    """One byte of a good packet is another one, at random."""
    seed = int(os.environ.get("MARTLET_INTEROP_SEED", "11"))
    source = random.Random(seed)
    kinds = [kind for kind in NAMES if kind not in (CONNACK, SUBACK, UNSUBACK, PINGRESP)]
    for number in range(150):
        kind = kinds[number % len(kinds)]
        raw = bytearray(packet(kind, flags_of(kind), body_of(kind, version if kind != AUTH else 5)))
        raw[source.randrange(len(raw))] = source.randrange(256)
        with Peer(broker, f"{topic}d", version) as client:
            try:
                client.send(bytes(raw) + packet(PINGREQ, 0, b"") * 2)
            except ConnectionError:
                pass
    assert broker.is_running(), f"seed {seed}"


def test_properties_of_other_packets_close(broker, topic, witness):
    """Table 2-4 of MQTT 5: each property in a PUBLISH and in a SUBSCRIBE where it does not belong"""
    values = {
        "session_expiry": 1, "assigned_client": "x", "server_keep_alive": 1, "auth_method": "x", "auth_data": b"x", "request_problem": 1, "will_delay": 1,
        "request_response": 1, "response_information": "x", "server_reference": "x", "reason": "x", "receive_maximum": 1, "alias_maximum": 1,
        "qos_maximum": 1, "retain_available": 1, "packet_maximum": 1, "wildcards": 1, "identifiers": 1, "shared": 1,
    }  # fmt: skip
    of_publish = {"payload_format": 1, "message_expiry": 1, "content_type": "x", "response_topic": "x", "correlation": b"x", "alias": 1}
    for name, value in values.items():
        with Peer(broker, topic) as client:
            client.send(packet(PUBLISH, 0, text("a") + properties({name: value})))
            assert client.refused() in MALFORMED, name
    for name, value in {**values, **of_publish}.items():
        with Peer(broker, topic) as client:
            client.send(packet(SUBSCRIBE, 2, struct.pack(">H", 1) + properties({name: value}) + text("a") + b"\0"))
            assert client.refused() in MALFORMED, name
