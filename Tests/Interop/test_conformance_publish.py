"""PUBLISH and its acknowledgements, retained messages and topic aliases: sections 3.3 to 3.7, 4.3 to 4.6 and 4.9 of MQTT 3.1.1 and 5.0."""

import struct

import pytest

import brokers
from peer import PUBCOMP, PUBREC, PUBREL, Peer, properties
from raw import PUBACK, packet, text

unlike_mosquitto = pytest.mark.skipif(brokers.AGAINST_MOSQUITTO, reason="mosquitto 2.0.11 does otherwise")
both = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
every = pytest.mark.parametrize("version", [3, 4, 5], ids=["v31", "v311", "v5"])
ALL = {
    "payload_format": 1,
    "content_type": "text/plain; é",
    "response_topic": "a/response",
    "correlation": bytes(range(256)),
    "user": [("z", "1"), ("a", "2"), ("z", "1"), ("", "")],
}


@every
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_quality_of_service_has_its_exchange(broker, topic, version, qos):
    """[MQTT-3.3.4-1] [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-2.3.1-5] [MQTT-2.3.1-6] of 3.1.1;
    [MQTT-4.3.1-1] [MQTT-4.3.2-1] to [MQTT-4.3.2-4] [MQTT-4.3.3-1] to [MQTT-4.3.3-5] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-2.2.1-2] to [MQTT-2.2.1-5] of 5"""
    with Peer(broker, topic, version) as client:
        assert client.subscribe(topic) == [2]
        for number in range(3):
            assert client.publish(topic, b"%d" % number, qos) == 0
            got = client.message()
            assert got[:5] == (topic, b"%d" % number, qos, False, False)
        client.ping()
        assert client.inbox == []


@both
@pytest.mark.parametrize("sent", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_a_message_arrives_at_the_lower_quality_of_service(broker, topic, version, sent, granted):
    """[MQTT-3.8.4-6] of 3.1.1, [MQTT-3.8.4-8] of 5"""
    with Peer(broker, topic, version) as client:
        assert client.subscribe(topic, qos=granted) == [granted]
        client.publish(topic, b"x", sent)
        assert client.message().qos == min(sent, granted)


@both
def test_a_message_at_qos_2_that_is_sent_again_is_delivered_once(broker, topic, version):
    """[MQTT-4.3.3-2] of 3.1.1; [MQTT-4.3.3-10] [MQTT-4.3.3-12] of 5"""
    with Peer(broker, topic, version) as client:
        client.subscribe(topic)
        for _ in range(2):  # mosquitto 2.0.11 closes at the third
            client.send(client.publish_bytes(topic, b"once", 2, identifier=9, duplicate=True))
            assert client.wait_acknowledgement(PUBREC, 9) == 0
        for _ in range(1 if brokers.AGAINST_MOSQUITTO else 2):  # mosquitto 2.0.11 closes at the second
            client.acknowledge(PUBREL, 9)
            assert client.wait_acknowledgement(PUBCOMP, 9) in (0, 0x92)
        client.send(client.publish_bytes(topic, b"new", 2, identifier=9))
        assert client.wait_acknowledgement(PUBREC, 9) == 0
        client.acknowledge(PUBREL, 9)
        assert client.wait_acknowledgement(PUBCOMP, 9) == 0
        assert client.payloads(2) == [b"once", b"new"]
        client.ping()
        assert client.inbox == []


@both
def test_a_message_at_qos_2_is_once_over_a_reconnect(broker, topic, version):
    """[MQTT-4.3.3-10]: the session remembers what it took."""
    named = {"session_expiry": 60} if version == 5 else {}
    with Peer(broker, f"{topic}w", version) as witness:
        witness.subscribe(topic)
        with Peer(broker, topic, version, clean=False, named=named) as client:
            client.send(client.publish_bytes(topic, b"once", 2, identifier=3))
            assert client.wait_acknowledgement(PUBREC, 3) == 0
            client.drop()
        with Peer(broker, topic, version, clean=False, named=named) as client:
            assert client.session_present == 1
            client.send(client.publish_bytes(topic, b"once", 2, identifier=3, duplicate=True))
            assert client.wait_acknowledgement(PUBREC, 3) == 0
            client.acknowledge(PUBREL, 3)
            assert client.wait_acknowledgement(PUBCOMP, 3) == 0
            client.publish(topic, b"end", 2)
        assert witness.payloads(2) == [b"once", b"end"]
    Peer(broker, topic, version).close()


@both
def test_an_acknowledged_identifier_at_qos_1_means_a_new_message(broker, topic, version):
    """[MQTT-4.3.2-2] of 3.1.1, [MQTT-4.3.2-5] of 5, whatever DUP says."""
    with Peer(broker, topic, version) as client:
        client.subscribe(topic)
        for payload, duplicate in ((b"1", False), (b"2", True), (b"3", False)):
            client.send(client.publish_bytes(topic, payload, 1, identifier=7, duplicate=duplicate))
            assert client.wait_acknowledgement(PUBACK, 7) == 0
        got = [client.message() for _ in range(3)]
        assert [(m.payload, m.duplicate) for m in got] == [(b"1", False), (b"2", False), (b"3", False)]


@both
def test_dup_is_not_passed_on(broker, topic, version):
    """[MQTT-3.3.1-3]"""
    with Peer(broker, topic, version) as client:
        client.subscribe(topic)
        for qos in (1, 2):
            client.send(client.publish_bytes(topic, b"x", qos, identifier=qos, duplicate=True))
            if qos == 2:
                client.acknowledge(PUBREL, qos)
            assert client.message().duplicate is False


@unlike_mosquitto
@both
def test_dup_with_qos_0_closes(broker, topic, version):
    """[MQTT-3.3.1-2]: the receiver's part is [MQTT-2.2.2-2] and [MQTT-4.13.1-1]."""
    with Peer(broker, topic, version) as client:
        client.send(client.publish_bytes(topic, b"x", 0, duplicate=True))
        assert client.refused() in (None, 0x81, 0x82)


@both
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_arrive_in_their_order(broker, topic, version, qos):
    """[MQTT-4.6.0-5] [MQTT-4.6.0-6]; acknowledgements too: [MQTT-4.6.0-2] [MQTT-4.6.0-3]"""
    count = 20 if qos == 2 else 200  # no more than any server's receive maximum
    with Peer(broker, f"{topic}r", version) as receiver, Peer(broker, f"{topic}s", version) as sender:
        receiver.subscribe(topic)
        sender.send(b"".join(sender.publish_bytes(topic, b"%d" % number, qos, identifier=number + 1) for number in range(count)))
        if qos:
            kind = PUBACK if qos == 1 else PUBREC
            assert [struct.unpack(">H", sender.wait(kind)[1][:2])[0] for _ in range(count)] == list(range(1, count + 1))
        if qos == 2:
            for number in range(count):
                sender.acknowledge(PUBREL, number + 1)
            assert [struct.unpack(">H", sender.wait(PUBCOMP)[1][:2])[0] for _ in range(count)] == list(range(1, count + 1))
        assert receiver.payloads(count) == [b"%d" % number for number in range(count)]


@both
def test_messages_are_sent_again_in_their_order(broker, topic, version):
    """[MQTT-4.6.0-1] [MQTT-4.4.0-1], and what was never sent comes after them"""
    named = {"session_expiry": 60, "receive_maximum": 10} if version == 5 else {}
    with Peer(broker, topic, version, clean=False, named=named) as client:
        client.subscribe(topic, qos=1)
        with Peer(broker, f"{topic}s", version) as sender:
            for number in range(30):
                sender.publish(topic, b"%d" % number, 1)
        first = [client.message(acknowledge=False) for _ in range(10)]
        assert [m.payload for m in first] == [b"%d" % number for number in range(10)]
        client.drop()
    with Peer(broker, topic, version, clean=False, named=named) as client:
        again = [client.message() for _ in range(30)]
        assert [m.payload for m in again] == [b"%d" % number for number in range(30)]
        assert [m.identifier for m in again[:10]] == [m.identifier for m in first]
        assert all(m.duplicate for m in again[:10])
        if version == 5:
            assert not any(m.duplicate for m in again[10:])
    Peer(broker, topic, version).close()


# Retained messages


@both
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_retained_message_goes_to_those_who_come_later(broker, topic, version, qos):
    """[MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] [MQTT-3.3.1-9] of 3.1.1; [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT-3.3.1-12] of 5.
    The session of the publisher is not what keeps it: [MQTT-3.1.2-7] of 3.1.1."""
    with Peer(broker, f"{topic}1", version) as early:
        early.subscribe(f"{topic}/+")
        with Peer(broker, f"{topic}2", version) as publisher:
            publisher.publish(f"{topic}/a", b"first", qos, retain=True)
            publisher.publish(f"{topic}/a", b"kept", qos, retain=True)
            publisher.publish(f"{topic}/a", b"not kept", qos)
            publisher.disconnect()
        assert [(m.payload, m.retain) for m in (early.message(), early.message(), early.message())] == [
            (b"first", False), (b"kept", False), (b"not kept", False)]  # fmt: skip
    with Peer(broker, f"{topic}3", version) as later:
        assert later.subscribe(f"{topic}/#") == [2]
        assert later.message()[:4] == (f"{topic}/a", b"kept", qos, True)
        later.ping()
        assert later.inbox == []
        later.publish(f"{topic}/a", b"", 1, retain=True)


@both
def test_an_empty_retained_message_removes_it(broker, topic, version):
    """[MQTT-3.3.1-10] [MQTT-3.3.1-11] of 3.1.1; [MQTT-3.3.1-6] [MQTT-3.3.1-7] of 5: it is delivered as any other, and never kept."""
    with Peer(broker, topic, version) as client:
        client.publish(topic, b"kept", 1, retain=True)
        client.subscribe(topic)
        assert client.message().retain is True
        client.publish(topic, b"", 1, retain=True)
        got = client.message()
        assert (got.payload, got.retain) == (b"", False)
        client.unsubscribe(topic)
        client.subscribe(topic)
        client.ping()
        assert client.inbox == []


@both
def test_a_message_that_is_not_retained_leaves_the_retained_one(broker, topic, version):
    """[MQTT-3.3.1-12] of 3.1.1, [MQTT-3.3.1-8] of 5; an empty one too."""
    with Peer(broker, topic, version) as client:
        client.publish(topic, b"kept", 1, retain=True)
        client.publish(topic, b"x", 1)
        client.publish(topic, b"", 1)
        client.subscribe(topic)
        assert client.message().payload == b"kept"
        client.ping()
        assert client.inbox == []
        client.publish(topic, b"", 1, retain=True)


@both
def test_a_retained_message_at_qos_0_replaces_the_earlier(broker, topic, version):
    """[MQTT-3.3.1-7] of 3.1.1, [MQTT-3.3.1-5] of 5"""
    with Peer(broker, topic, version) as client:
        client.publish(topic, b"old", 1, retain=True)
        client.publish(topic, b"new", 0, retain=True)
        client.ping()
        client.subscribe(topic)
        assert client.message()[1:4] == (b"new", 0, True)
        client.publish(topic, b"", 1, retain=True)


@pytest.mark.parametrize("handling", [0, 1, 2])
def test_retain_handling(broker, topic, handling):
    """[MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]: always, for a new subscription, never"""
    with Peer(broker, topic) as client:
        client.publish(topic, b"kept", 1, retain=True)
        seen = []
        for _ in range(2):
            client.subscribe(topic, options=handling << 4)
            client.publish(topic, b"end", 1)
            while (got := client.message()).payload != b"end":
                assert (got.payload, got.retain) == (b"kept", True)
                seen.append(got)
            seen.append(None)
        assert [bool(got) for got in seen] == {0: [True, False, True, False], 1: [True, False, False], 2: [False, False]}[handling]
        client.publish(topic, b"", 1, retain=True)


def test_retain_as_published(broker, topic):
    """[MQTT-3.3.1-12] [MQTT-3.3.1-13]"""
    with Peer(broker, f"{topic}1") as plain, Peer(broker, f"{topic}2") as asking, Peer(broker, f"{topic}3") as publisher:
        plain.subscribe(topic)
        asking.subscribe(topic, options=8)
        for retain in (True, False):
            publisher.publish(topic, b"x", 1, retain=retain)
            assert plain.message().retain is False
            assert asking.message().retain is retain
        publisher.publish(topic, b"", 1, retain=True)


# Properties


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_pass_unaltered(broker, topic, qos):
    """[MQTT-3.3.2-4] [MQTT-3.3.2-15] to [MQTT-3.3.2-18] [MQTT-3.3.2-20]"""
    with Peer(broker, topic) as client:
        client.subscribe(topic)
        client.publish(topic, b"text", qos, **ALL)
        assert client.message().properties == ALL


def test_retained_messages_keep_their_properties(broker, topic):
    """[MQTT-3.3.2-4] [MQTT-3.3.2-15] to [MQTT-3.3.2-18] [MQTT-3.3.2-20]"""
    with Peer(broker, topic) as client:
        client.publish(topic, b"text", 1, retain=True, **ALL)
        client.subscribe(topic)
        assert client.message().properties == ALL
        client.publish(topic, b"", 1, retain=True)


def test_clients_of_mqtt_3_get_the_message_without_properties(broker, topic):
    with Peer(broker, f"{topic}3", 4) as old, Peer(broker, f"{topic}5") as new:
        old.subscribe(topic)
        new.publish(topic, b"text", 1, **ALL)
        assert old.message()[:3] == (topic, b"text", 1)


WRONG_PUBLISH = {
    "topic alias 0": properties({"alias": 0}),
    "topic alias above the maximum": properties({"alias": 65_535}),
    "a subscription identifier": properties({"subscription": 1}),
    "a response topic with a wildcard": properties({"response_topic": "a/#"}),
    "a response topic that is not UTF-8": properties({"response_topic": b"\xff"}),
    "a content type that is not UTF-8": properties({"content_type": b"\xff"}),
    "a payload format of 2": properties({"payload_format": 2}),
    "a message expiry twice": properties({"message_expiry": [1, 1]}),
    "a property of CONNECT": properties({"receive_maximum": 1}),
    "a length beyond the packet": b"\x7f",
}


@pytest.mark.parametrize("name", WRONG_PUBLISH)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_publish_with_wrong_properties_closes(broker, topic, name, qos):
    """[MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.3.2-13] [MQTT-3.3.2-14] [MQTT-3.3.2-19] [MQTT-3.3.4-6] [MQTT-4.13.1-1]"""
    if brokers.AGAINST_MOSQUITTO and name in ("a response topic with a wildcard", "a payload format of 2", "a subscription identifier"):
        pytest.skip("mosquitto 2.0.11 lets it pass")
    with Peer(broker, topic) as witness, Peer(broker, f"{topic}b") as client:
        witness.subscribe(topic)
        client.send(packet(3, qos << 1, text(topic) + (b"\0\1" if qos else b"") + WRONG_PUBLISH[name]))
        assert client.refused() in (None, 0x81, 0x82, 0x90, 0x94)
        witness.ping()
        assert witness.inbox == []


TOPICS = {"empty": b"", "multi-level wildcard": b"a/#", "single-level wildcard": b"a/+/b", "NUL": b"a\0b", "cut UTF-8": b"a\xe2\x82", "surrogate": b"\xed\xa0\x80"}


@both
@pytest.mark.parametrize("name", TOPICS)
def test_a_wrong_topic_name_closes(broker, topic, version, name):
    """[MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.1-1] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-1.5.3-1] [MQTT-1.5.3-2] [MQTT-1.5.4-1] [MQTT-1.5.4-2]"""
    with Peer(broker, topic, version) as client:
        client.send(packet(3, 0, text(TOPICS[name]) + (b"\0" if version == 5 else b"") + b"x"))
        assert client.refused() in (None, 0x81, 0x82, 0x90)


@both
def test_a_byte_order_mark_is_a_character(broker, topic, version):
    """[MQTT-1.5.3-3] of 3.1.1, [MQTT-1.5.4-3] of 5; and nothing is normalised: [MQTT-4.7.3-4]"""
    marked = f"\ufeff{topic}/\ufeff"
    with Peer(broker, topic, version) as client:
        client.subscribe(marked, f"{topic}/cafe\u0301", f"{topic}/A")
        for name in (f"{topic}/", marked, f"{topic}/caf\u00e9", f"{topic}/cafe\u0301", f"{topic}/a", f"{topic}/A"):
            client.publish(name, b"", 1)
        assert [client.message().topic for _ in range(3)] == [marked, f"{topic}/cafe\u0301", f"{topic}/A"]


@unlike_mosquitto
@both
def test_a_topic_of_65535_bytes(broker, version, topic):
    """[MQTT-4.7.3-3]"""
    name = topic + "x" * (65_535 - len(topic))
    with Peer(broker, topic, version) as client:
        assert client.subscribe(name) == [2]
        client.publish(name, b"far", 1)
        assert client.message()[:2] == (name, b"far")


# Topic aliases


def test_a_client_may_use_each_topic_alias_up_to_the_maximum(broker, topic):
    """[MQTT-3.3.2-12] and that it may be changed; a client of MQTT 3 sees nothing of it"""
    with Peer(broker, topic) as client, Peer(broker, f"{topic}3", 4) as old:
        client.subscribe(f"{topic}/#")
        old.subscribe(f"{topic}/#")
        most = client.connack["alias_maximum"]
        assert most > 0
        for alias in (1, most):
            client.publish(f"{topic}/{alias}", b"set", alias % 3, alias=alias)
            for qos in range(3):
                client.publish("", b"used", qos, alias=alias)
            for receiver in (client, old):
                assert [receiver.message().topic for _ in range(4)] == [f"{topic}/{alias}"] * 4
        client.publish(f"{topic}/other", b"", 1, alias=1)
        client.publish("", b"", 1, alias=1)
        assert [client.message().topic for _ in range(2)] == [f"{topic}/other"] * 2


def test_a_topic_alias_that_was_not_set_closes(broker, topic):
    """[MQTT-3.3.2-7]: nor is one of an earlier connection."""
    for _ in range(2):
        with Peer(broker, topic, clean=False, named={"session_expiry": 60}) as client:
            client.send(client.publish_bytes("", b"x", 1, identifier=9, named={"alias": 1}))
            assert client.refused() in (0x82, 0x94)
        with Peer(broker, topic, clean=False, named={"session_expiry": 60}) as client:
            client.publish(topic, b"x", 1, alias=1)
    Peer(broker, topic).close()


def test_no_topic_aliases_without_a_maximum(broker, topic):
    """[MQTT-3.1.2-27] [MQTT-3.3.2-11]"""
    for named in ({}, {"alias_maximum": 0}):
        with Peer(broker, topic, named=named) as client:
            client.subscribe(topic)
            for qos in range(3):
                client.publish(topic, b"x", qos)
                got = client.message()
                assert got.topic == topic and "alias" not in got.properties


@pytest.mark.parametrize("most", [1, 3])
def test_topic_aliases_stay_below_the_clients_maximum(broker, topic, most):
    """[MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-8]; an empty name always has an alias that was set before."""
    with Peer(broker, topic, named={"alias_maximum": most}) as client:
        client.subscribe(f"{topic}/#")
        known = {}
        for round in range(3):
            for number in range(5):
                client.publish(f"{topic}/{number}", b"x", 1)
                got = client.message()
                alias = got.properties.get("alias")
                assert alias is None or 1 <= alias <= most
                if got.topic and alias:
                    known[alias] = got.topic
                assert (got.topic or known[alias]) == f"{topic}/{number}"


# Flow control


@unlike_mosquitto
@pytest.mark.parametrize("qos", [1, 2])
def test_the_server_keeps_to_the_clients_receive_maximum(broker, topic, qos):
    """[MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] to [MQTT-4.9.0-3]: other packets pass, QoS 0 too, and each acknowledgement lets one go."""
    with Peer(broker, topic, named={"receive_maximum": 2}) as client, Peer(broker, f"{topic}s") as sender:
        client.subscribe(topic)
        for number in range(5):
            sender.publish(topic, b"%d" % number, qos)
        held = [client.message(acknowledge=False) for _ in range(2)]
        client.ping()
        assert client.inbox == []
        assert client.unsubscribe(f"{topic}/none") == [0x11]
        for number in range(2, 5):
            oldest = held.pop(0)
            if qos == 1:
                client.acknowledge(PUBACK, oldest.identifier)
            else:
                client.acknowledge(PUBREC, oldest.identifier)
                assert client.wait_acknowledgement(PUBREL, oldest.identifier) == 0
                client.ping()
                assert client.inbox == []
                client.acknowledge(PUBCOMP, oldest.identifier)
            held.append(client.message(acknowledge=False))
            assert held[-1].payload == b"%d" % number
            client.ping()
            assert client.inbox == []


@pytest.mark.parametrize("kind, qos", [(PUBACK, 1), (PUBREC, 2)])
def test_a_message_that_a_client_refuses_is_not_sent_again(broker, topic, kind, qos):
    """[MQTT-4.4.0-2], and it frees its place: [MQTT-3.3.4-9]"""
    named = {"receive_maximum": 1, "session_expiry": 60}
    with Peer(broker, topic, clean=False, named=named) as client:
        client.subscribe(topic)
        client.publish(topic, b"refused", qos)
        client.publish(topic, b"next", qos)
        got = client.message(acknowledge=False)
        client.acknowledge(kind, got.identifier, 0x83)
        assert client.message().payload == b"next"
        client.drop()
    with Peer(broker, topic, clean=False, named=named) as client:
        client.ping()
        assert client.inbox == []
    Peer(broker, topic).close()


def test_more_than_the_servers_receive_maximum_closes(serve, topic):
    """MQTT 5, section 3.3.4: 0x93"""
    server = serve("--set", "mqtt.receiveMaximum=5")
    with Peer(server, topic) as client:
        assert client.connack["receive_maximum"] == 5
        for number in range(5):
            client.send(client.publish_bytes(topic, b"x", 2, identifier=number + 1))
        client.ping()
        client.send(client.publish_bytes(topic, b"x", 2, identifier=6))
        assert client.refused() == 0x93


@unlike_mosquitto
def test_a_packet_that_a_client_does_not_take_is_dropped(broker, topic):
    """[MQTT-3.1.2-24] [MQTT-3.1.2-25]: as if it had been delivered, to it alone."""
    with Peer(broker, topic, named={"packet_maximum": 64, "receive_maximum": 1, "session_expiry": 60}, clean=False) as small, Peer(broker, f"{topic}l") as large:
        small.subscribe(topic)
        large.subscribe(topic)
        for qos in (0, 1, 2):
            large.publish(topic, b"x" * 60, qos)
        large.publish(topic, b"fits", 1)
        assert large.payloads(4) == [b"x" * 60] * 3 + [b"fits"]
        assert small.message().payload == b"fits"
        small.drop()
    with Peer(broker, topic) as again:
        again.ping()
        assert again.inbox == []


@unlike_mosquitto
def test_an_acknowledgement_for_nothing_is_borne(broker, topic):
    """MQTT 5, 4.3: 0x92 names it; the connection goes on."""
    with Peer(broker, topic) as client:
        client.acknowledge(PUBREL, 99)
        assert client.wait_acknowledgement(PUBCOMP, 99) in (0, 0x92)
        client.acknowledge(PUBREC, 99)
        assert client.wait_acknowledgement(PUBREL, 99) == 0x92
        client.ping()


def test_without_problem_information_there_are_no_reason_strings(broker, topic):
    """[MQTT-3.1.2-29]"""
    with Peer(broker, topic, named={"request_problem": 0}) as client:
        client.publish(f"{topic}/nobody", b"x", 1)
        assert not {"reason", "user"} & set(client.acknowledged_with)


@both
def test_what_a_client_may_not_publish_is_acknowledged_and_dropped(broker, topic, version):
    """[MQTT-3.3.5-2] of 3.1.1; MQTT 5 says 0x87, and the identifier of a refusing PUBREC means a new message: [MQTT-4.3.3-9]."""
    if brokers.AGAINST_MOSQUITTO:
        pytest.skip("mosquitto 2.0.11 lets it pass")
    with Peer(broker, topic, version) as client:
        client.subscribe("$SYS/test/#", topic)
        assert client.publish("$SYS/test/a", b"x", 1) == (0x87 if version == 5 else 0)
        client.send(client.publish_bytes("$SYS/test/a", b"x", 2, identifier=77))
        assert client.wait_acknowledgement(PUBREC, 77) == (0x87 if version == 5 else 0)
        if version == 4:
            client.acknowledge(PUBREL, 77)
            assert client.wait_acknowledgement(PUBCOMP, 77) == 0
        client.send(client.publish_bytes(topic, b"new", 2, identifier=77))
        assert client.wait_acknowledgement(PUBREC, 77) == 0
        client.acknowledge(PUBREL, 77)
        assert client.wait_acknowledgement(PUBCOMP, 77) == 0
        assert client.message()[:2] == (topic, b"new")
