"""What the statements say about time: keep-alive, expiry of sessions and messages, a will's delay; and what settings bound.

Two loops alone, and waits that overlap: a second here is a second of every run.
"""

import time

import pytest

import brokers
from peer import Peer, Will
from raw import DISCONNECT, PUBLISH, packet

both = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    running = brokers.Mosquitto(tmp_path_factory.mktemp("mosquitto")) if brokers.AGAINST_MOSQUITTO else brokers.Martlet(loops=2)
    yield running
    assert running.stop()[0] == 0


def quiet(peer, seconds):
    """Asserts that no PUBLISH comes."""
    assert not peer.inbox
    return peer.is_quiet(seconds)


@both
def test_silence_is_a_broken_connection(broker, topic, version):
    """[MQTT-3.1.2-24] of 3.1.1, [MQTT-3.1.2-22] [MQTT-3.2.2-22] of 5: the will follows, the session stays."""
    named = {"session_expiry": 60} if version == 5 else {}
    with Peer(broker, f"{topic}w", version, timeout=20) as witness:
        witness.subscribe(topic)
        silent = Peer(broker, topic, version, clean=False, keep_alive=1, will=Will(topic, b"silent"), named=named)
        start = time.monotonic()
        assert witness.message().payload == b"silent"
        assert 1.2 < time.monotonic() - start < (12 if brokers.AGAINST_MOSQUITTO else 3)
        silent.close()
    with Peer(broker, topic, version, clean=False) as again:
        assert again.session_present == 1
    Peer(broker, topic, version).close()


def test_a_will_waits_for_its_delay(broker, topic):
    """[MQTT-3.1.2-8] [MQTT-3.1.3-9] of 5: until the delay or the end of the session, whichever is first, and not at all if the client is back."""
    wills = {"delay": (1, 60), "session": (60, 1), "none": (1, 0), "back": (2, 60), "again": (2, 60)}
    with Peer(broker, f"{topic}w", timeout=20) as witness:
        witness.subscribe(f"{topic}/#")
        for name, (delay, expiry) in wills.items():
            will = Will(f"{topic}/{name}", properties={"will_delay": delay})
            Peer(broker, f"{topic}{name}", clean=False, will=will, named={"session_expiry": expiry}).drop()
        start = time.monotonic()
        with Peer(broker, f"{topic}back", clean=False, named={"session_expiry": 60}) as back:
            assert back.session_present == 1
            seen = {}
            while len(seen) < 4:
                got = witness.message()
                seen[got.topic.split("/")[-1]] = time.monotonic() - start
                assert got.topic.endswith("none") or "will_delay" not in got.properties
            assert set(seen) == {"none", "delay", "session", "again"}
            slack = 3 if brokers.AGAINST_MOSQUITTO else 1
            assert seen["none"] < 0.8 + slack and 0.8 < seen["delay"] < 1.5 + slack and 0.8 < seen["session"] < 1.5 + slack and 1.8 < seen["again"] < 2.5 + slack
            assert quiet(witness, 0.5)
            back.disconnect(0, session_expiry=0)


def test_a_session_expires(broker, topic):
    """[MQTT-3.1.2-23] [MQTT-4.1.0-2] of 5: after its interval, counted from the end of the connection; DISCONNECT may change it."""
    Peer(broker, f"{topic}1", clean=False, named={"session_expiry": 1}).drop()
    Peer(broker, f"{topic}2", clean=False, named={"session_expiry": 60}).drop()
    Peer(broker, f"{topic}3", clean=False, named={"session_expiry": 60}).disconnect(0, session_expiry=1)
    Peer(broker, f"{topic}4", clean=False, named={"session_expiry": 1}).disconnect(0, session_expiry=60)
    time.sleep(6.5 if brokers.AGAINST_MOSQUITTO else 2)
    found = []
    for number in range(1, 5):
        with Peer(broker, f"{topic}{number}", clean=False) as again:
            found.append(again.session_present)
    assert found == [0, 1, 0, 1]


def test_a_message_expires(broker, topic):
    """[MQTT-3.3.2-5] [MQTT-3.3.2-6]: in a session's queue and retained; what is left of its time goes with it."""
    with Peer(broker, topic, clean=False, named={"session_expiry": 60}) as client:
        client.subscribe(f"{topic}/#")
        client.drop()
    with Peer(broker, f"{topic}s") as sender:
        for qos in (1, 2):
            sender.publish(f"{topic}/{qos}", b"short", qos, message_expiry=1)
            sender.publish(f"{topic}/{qos}", b"long", qos, message_expiry=60)
            sender.publish(f"{topic}/{qos}", b"for ever", qos)
        sender.publish(f"{topic}/retained", b"short", 1, retain=True, message_expiry=1)
        sender.publish(f"{topic}/kept", b"long", 1, retain=True, message_expiry=60)
        time.sleep(2.2)
        with Peer(broker, topic, clean=False) as client:
            got = [client.message() for _ in range(5)]
            assert [m.payload for m in got] == [b"long", b"for ever"] * 2 + [b"long"]
            assert all(55 <= m.properties["message_expiry"] <= 58 for m in got if m.payload == b"long")
            assert all("message_expiry" not in m.properties for m in got if m.payload == b"for ever")
            client.subscribe(f"{topic}/+")
            kept = client.message()
            assert (kept.topic, kept.retain) == (f"{topic}/kept", True)
            assert 55 <= kept.properties["message_expiry"] <= 58
            client.ping()
            assert client.inbox == []
        sender.publish(f"{topic}/kept", b"", 1, retain=True)


def test_a_message_that_is_delivered_at_once_keeps_its_expiry(broker, topic):
    """[MQTT-3.3.2-6]"""
    with Peer(broker, topic) as client:
        client.subscribe(topic)
        client.publish(topic, b"", 1, message_expiry=100)
        assert client.message().properties["message_expiry"] in (99, 100)


def test_what_was_sent_once_is_sent_again_whatever_its_expiry(broker, topic):
    """[MQTT-4.3.3-7] [MQTT-4.3.3-13] [MQTT-4.4.0-1]"""
    if brokers.AGAINST_MOSQUITTO:
        pytest.skip("mosquitto 2.0.11 drops it")
    named = {"session_expiry": 60}
    with Peer(broker, topic, clean=False, named=named) as client:
        client.subscribe(topic)
        for qos in (1, 2):
            client.publish(topic, b"%d" % qos, qos, message_expiry=1)
        first = [client.message(acknowledge=False) for _ in range(2)]
        client.drop()
    time.sleep(1.5)
    with Peer(broker, topic, clean=False, named=named) as client:
        again = [client.message() for _ in range(2)]
        assert [(m.payload, m.identifier, m.duplicate) for m in again] == [(m.payload, m.identifier, True) for m in first]
    Peer(broker, topic).close()


def test_nothing_is_sent_again_on_the_same_connection(broker, topic):
    """[MQTT-4.4.0-1] of 5"""
    with Peer(broker, topic) as client:
        client.subscribe(topic)
        client.publish(topic, b"x", 1)
        client.publish(topic, b"x", 2)
        client.message(acknowledge=False)
        client.message(acknowledge=False)
        assert quiet(client, 2)


# Settings


def test_the_servers_keep_alive_is_told_and_used(serve, topic):
    """[MQTT-3.1.2-21] [MQTT-3.2.2-21]: the client's part is to use it; the server cuts by it. Before MQTT 5 nobody could be told."""
    server = serve("--set", "mqtt.serverKeepAlive=1s")
    with Peer(server, "1", keep_alive=60) as told, Peer(server, "2", 4, keep_alive=60) as old, Peer(server, "3", keep_alive=0) as never:
        assert told.connack["server_keep_alive"] == 1 and never.connack["server_keep_alive"] == 1
        start = time.monotonic()
        assert told.refused(within=4) == 0x8D
        assert time.monotonic() - start > 1.2
        old.ping()


def test_a_clients_keep_alive_below_the_servers_stays(serve):
    """[MQTT-3.2.2-22]"""
    server = serve("--set", "mqtt.serverKeepAlive=60s")
    with Peer(server, "1", keep_alive=1) as client:
        assert client.connack.get("server_keep_alive", 1) == 1
        assert client.refused(within=4) == 0x8D


def test_the_session_expiry_is_capped_and_told(serve, topic):
    """MQTT 5, section 3.2.2.3.2"""
    server = serve("--set", "mqtt.sessionExpiryMax=1s")
    with Peer(server, "1", clean=False, named={"session_expiry": 0xFFFF_FFFF}) as client:
        assert client.connack["session_expiry"] == 1
    with Peer(server, "2", clean=False, named={"session_expiry": 1}) as client:
        assert client.connack.get("session_expiry", 1) == 1
    Peer(server, "3", 4, clean=False).drop()
    time.sleep(2)
    for client, version in (("1", 5), ("2", 5), ("3", 4)):
        assert Peer(server, client, version, clean=False).session_present == 0


def test_the_packet_maximum_is_told(serve):
    """[MQTT-3.2.2-15]: what goes beyond it closes with 0x95."""
    server = serve("--set", "mqtt.packetSizeMax=1KiB")
    with Peer(server, "1") as client:
        most = client.connack["packet_maximum"]
        assert most == 1024
        client.subscribe("t")
        fits = most - len(client.publish_bytes("t", b"", 1)) - 1
        client.send(client.publish_bytes("t", b"x" * fits, 1, identifier=1))
        assert client.message().payload == b"x" * fits
        client.send(client.publish_bytes("t", b"x" * (fits + 1), 1, identifier=2))
        assert client.refused() == 0x95


def test_no_topic_alias_is_taken_without_a_maximum(serve):
    """[MQTT-3.2.2-17] [MQTT-3.2.2-18]: the receiver closes with 0x94; and it sends none."""
    server = serve("--set", "mqtt.topicAliasMax=0")
    with Peer(server, "1", named={"alias_maximum": 5}) as client:
        assert client.connack.get("alias_maximum", 0) == 0
        client.subscribe("t")
        client.publish("t", b"x")
        client.publish("t", b"x")
        assert [(m.topic, m.properties) for m in (client.message(), client.message())] == [("t", {})] * 2
        client.send(client.publish_bytes("t", b"x", named={"alias": 1}))
        assert client.refused() == 0x94


def test_the_first_alias_beyond_the_maximum_closes(serve):
    """[MQTT-3.2.2-17] [MQTT-3.3.2-9]"""
    server = serve("--set", "mqtt.topicAliasMax=3")
    with Peer(server, "1") as client:
        assert client.connack["alias_maximum"] == 3
        client.publish("t", b"x", 1, alias=3)
        client.send(client.publish_bytes("t", b"x", named={"alias": 4}))
        assert client.refused() == 0x94


def test_sloppy_clients_are_borne_when_told_so(serve):
    """What mqtt.strict=false forgives; the message is taken."""
    sloppy = packet(PUBLISH, 8, b"\0\1tx")
    for strict in ("true", "false"):
        server = serve("--set", f"mqtt.strict={strict}")
        with Peer(server, "1", 4) as client:
            client.subscribe("t")
            client.send(sloppy)
            if strict == "true":
                assert client.refused() is None
            else:
                assert client.message().payload == b"x"


def test_nothing_follows_the_servers_disconnect(serve):
    """[MQTT-3.14.0-1] [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT-4.13.2-1]: it comes after CONNACK, once, without a session
    expiry, and the connection is closed."""
    server = serve()
    with Peer(server, "1") as client, Peer(server, "2") as other:
        client.subscribe("#")
        other.send(packet(DISCONNECT, 1, b""))
        other.refused()
        server.stop()
        assert client.refused() == 0x8B
        assert "session_expiry" not in client.disconnected_with
