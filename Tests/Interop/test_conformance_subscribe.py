"""SUBSCRIBE, UNSUBSCRIBE, topic filters and shared subscriptions: sections 3.8 to 3.11, 4.7 and 4.8 of MQTT 3.1.1 and 5.0."""

import struct

import pytest

import brokers
from peer import Peer, properties
from raw import SUBACK, UNSUBACK, packet, text

unlike_mosquitto = pytest.mark.skipif(brokers.AGAINST_MOSQUITTO, reason="mosquitto 2.0.11 does otherwise")
both = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
every = pytest.mark.parametrize("version", [3, 4, 5], ids=["v31", "v311", "v5"])
NO_LOCAL = 4


@every
def test_suback_has_a_code_for_each_filter_in_their_order(broker, topic, version):
    """[MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.3.1-7] of 3.1.1;
    [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-2.2.1-6] of 5"""
    with Peer(broker, topic, version) as client:
        assert client.subscribe((f"{topic}/a", 2), (f"{topic}/b", 0), (f"{topic}/c", 1), (f"{topic}/d/#", 2)) == [2, 0, 1, 2]


@both
def test_a_refused_filter_does_not_refuse_the_others(serve, topic, version):
    """[MQTT-3.8.4-5] [MQTT-3.9.3-1] of 3.1.1, [MQTT-3.8.4-7] of 5"""
    server = serve("--set", "mqtt.denySubscribe=secret/#")
    with Peer(server, topic, version) as client:
        codes = client.subscribe("a", "secret/#", "b")
        assert codes == [2, 0x87 if version == 5 else 0x80, 2]
        client.publish("secret/x", b"", 1)
        client.publish("b", b"", 1)
        assert client.message().topic == "b"


@both
def test_many_filters_are_as_many_subscriptions(broker, topic, version):
    """[MQTT-3.8.4-4] of 3.1.1, [MQTT-3.8.4-5] of 5"""
    with Peer(broker, topic, version) as client:
        filters = [f"{topic}/{number}" for number in range(100)]
        assert client.subscribe(*filters, qos=1) == [1] * 100
        for name in filters:
            client.publish(name, b"", 1)
        assert [client.message().topic for _ in filters] == filters


@both
def test_the_same_filter_again_replaces_the_subscription(broker, topic, version):
    """[MQTT-3.8.4-3]: one copy, at the quality of service that was asked for last, and retained messages again: [MQTT-3.8.4-4] of 5."""
    with Peer(broker, topic, version) as client:
        client.publish(topic, b"kept", 1, retain=True)
        for qos in (2, 0, 1):
            assert client.subscribe(topic, qos=qos) == [qos]
            assert client.message()[1:4] == (b"kept", min(qos, 1), True)
        client.publish(topic, b"live", 2)
        assert client.message()[1:4] == (b"live", 1, False)
        client.ping()
        assert client.inbox == []
        client.publish(topic, b"", 1, retain=True)


@both
def test_overlapping_filters_respect_the_highest_quality_of_service(broker, topic, version):
    """[MQTT-3.3.5-1] of 3.1.1, [MQTT-3.3.4-2] of 5"""
    with Peer(broker, topic, version) as client:
        client.subscribe((f"{topic}/#", 0), (f"{topic}/+", 1), (f"{topic}/a", 2))
        client.publish(f"{topic}/a", b"x", 2)
        client.publish(f"{topic}/end", b"end", 0)
        qualities = []
        while (got := client.message()).topic == f"{topic}/a":
            qualities.append(got.qos)
        assert max(qualities) == 2 and 1 <= len(qualities) <= 3


def test_overlapping_filters_give_all_their_identifiers(broker, topic):
    """[MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]"""
    with Peer(broker, topic) as client:
        client.subscribe(f"{topic}/#", subscription=1)
        client.subscribe(f"{topic}/+", subscription=268_435_455)
        client.subscribe(f"{topic}/a")
        client.publish(f"{topic}/a", b"x", 1)
        client.publish(f"{topic}/b/end", b"end", 1)
        seen = []
        while (got := client.message()).topic == f"{topic}/a":
            seen.append(got.properties.get("subscription", []))
        assert sorted(sum(seen, [])) == [1, 268_435_455]
        assert got.properties["subscription"] == [1]


def test_a_replaced_subscription_has_its_last_identifier(broker, topic):
    """[MQTT-3.8.4-3] of 5"""
    with Peer(broker, topic) as client:
        client.subscribe(topic, subscription=7)
        client.subscribe(topic, subscription=8)
        client.publish(topic, b"", 1)
        assert client.message().properties == {"subscription": [8]}
        client.subscribe(topic)
        client.publish(topic, b"", 1)
        assert client.message().properties == {}


def test_retained_messages_have_the_identifier_too(broker, topic):
    """[MQTT-3.3.4-3]"""
    with Peer(broker, topic) as client:
        client.publish(topic, b"kept", 1, retain=True)
        client.subscribe(topic, subscription=5)
        got = client.message()
        assert (got.retain, got.properties) == (True, {"subscription": [5]})
        client.publish(topic, b"", 1, retain=True)


def test_identifiers_outlive_the_connection(broker, topic):
    """[MQTT-3.3.4-3]: they are a part of the subscription."""
    with Peer(broker, topic, clean=False, named={"session_expiry": 60}) as client:
        client.subscribe(topic, subscription=5)
        client.drop()
    with Peer(broker, topic, clean=False) as client:
        client.publish(topic, b"", 1)
        assert client.message().properties == {"subscription": [5]}


def test_no_local_keeps_a_message_from_its_publisher(broker, topic):
    """[MQTT-3.8.3-3]: it alone, by its client identifier"""
    with Peer(broker, f"{topic}1") as first, Peer(broker, f"{topic}2") as second:
        first.subscribe(topic, options=NO_LOCAL)
        second.subscribe(topic, options=NO_LOCAL)
        first.publish(topic, b"from the first", 1)
        second.publish(topic, b"from the second", 1)
        assert first.message().payload == b"from the second"
        assert second.message().payload == b"from the first"


WRONG_SUBSCRIBE = {
    "no filter": b"",
    "options that are missing": text("a"),
    "qos 3": text("a") + b"\3",
    "reserved bits": text("a") + b"\x40",
    "reserved bit 7": text("a") + b"\x80",
    "a filter that is not UTF-8": text(b"\xff") + b"\0",
    "a filter with a NUL": text(b"a\0b") + b"\0",
    "an empty filter": text("") + b"\0",
    "a cut filter": b"\0\x09a",
}


@both
@pytest.mark.parametrize("name", WRONG_SUBSCRIBE)
def test_a_wrong_subscribe_closes(broker, topic, version, name):
    """[MQTT-3.8.3-1] [MQTT-3.8.3-3] [MQTT-3.8.3-4] of 3.1.1; [MQTT-3.8.3-1] [MQTT-3.8.3-2] [MQTT-3.8.3-5] of 5; [MQTT-4.7.3-1] [MQTT-4.7.3-2]"""
    with Peer(broker, topic, version) as client:
        client.send(packet(8, 2, b"\0\1" + (b"\0" if version == 5 else b"") + WRONG_SUBSCRIBE[name]))
        assert client.refused() in (None, 0x81, 0x82, 0x8F)
        assert not client.farewell or client.farewell[0] >> 4 != SUBACK


def test_subscription_options_of_mqtt_5_are_reserved_bits_before(broker, topic):
    """[MQTT-3.8.3-4] of 3.1.1: bits 7 to 2"""
    for options in (4, 8, 0x10):
        with Peer(broker, topic, 4) as client:
            client.send(packet(8, 2, b"\0\1" + text("a") + bytes([options])))
            client.refused()


@unlike_mosquitto
@pytest.mark.parametrize(
    "raw",
    [
        properties({"subscription": 0}) + text("a") + b"\0",
        properties({"subscription": [1, 2]}) + text("a") + b"\0",
        properties({"content_type": "x"}) + text("a") + b"\0",
        b"\0" + text("a") + b"\x30",
        b"\0" + text("$share/g/a") + bytes([NO_LOCAL]),
    ],
    ids=["identifier 0", "two identifiers", "a property of PUBLISH", "retain handling 3", "no local on a shared subscription"],
)
def test_a_subscribe_that_mqtt_5_forbids_closes(broker, topic, raw):
    """[MQTT-3.8.3-4] [MQTT-4.13.1-1] of 5"""
    with Peer(broker, topic) as client:
        client.send(packet(8, 2, b"\0\1" + raw))
        assert client.refused() in (0x81, 0x82)


@both
@pytest.mark.parametrize("kind", [8, 10])
@pytest.mark.parametrize("flags", [0, 1, 3, 10])
def test_subscribe_and_unsubscribe_have_fixed_flags(broker, topic, version, kind, flags):
    """[MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-2.2.2-1] [MQTT-2.2.2-2] [MQTT-2.1.3-1]"""
    with Peer(broker, topic, version) as client:
        client.send(packet(kind, flags, b"\0\1" + (b"\0" if version == 5 else b"") + text("a") + (b"\0" if kind == 8 else b"")))
        assert client.refused() in (None, 0x81, 0x82)


# UNSUBSCRIBE


@both
def test_unsuback_answers_in_order_and_always(broker, topic, version):
    """[MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6]; [MQTT-3.11.3-1] [MQTT-3.11.3-2] of 5"""
    with Peer(broker, topic, version) as client:
        client.subscribe(f"{topic}/a", f"{topic}/b")
        codes = client.unsubscribe(f"{topic}/a", f"{topic}/none", f"{topic}/b")
        assert codes == ([0, 0x11, 0] if version == 5 else [])
        assert client.unsubscribe(f"{topic}/a") == ([0x11] if version == 5 else [])
        client.publish(f"{topic}/a", b"", 1)
        client.publish(f"{topic}/b", b"", 1)
        client.ping()
        assert client.inbox == []


@both
def test_unsubscribing_compares_character_by_character(broker, topic, version):
    """[MQTT-3.10.4-1] [MQTT-3.10.4-2]"""
    with Peer(broker, topic, version) as client:
        client.subscribe(f"{topic}/+", f"{topic}/end/#")
        client.unsubscribe(f"{topic}/a", f"{topic}/#", f"{topic.upper()}/+")
        client.publish(f"{topic}/a", b"still", 1)
        assert client.message().payload == b"still"
        client.unsubscribe(f"{topic}/+")
        client.publish(f"{topic}/a", b"no more", 1)
        client.publish(f"{topic}/end/x", b"end", 1)
        assert client.message().payload == b"end"


@both
@pytest.mark.parametrize("qos", [1, 2])
def test_unsubscribing_completes_what_was_begun(broker, topic, version, qos):
    """[MQTT-3.10.4-3]: over a reconnect too"""
    named = {"session_expiry": 60} if version == 5 else {}
    with Peer(broker, topic, version, clean=False, named=named) as client:
        client.subscribe(topic)
        client.publish(topic, b"begun", qos)
        begun = client.message(acknowledge=False)
        client.unsubscribe(topic)
        client.drop()
    with Peer(broker, topic, version, clean=False, named=named) as client:
        again = client.message()
        assert (again.payload, again.identifier, again.duplicate) == (b"begun", begun.identifier, True)
    Peer(broker, topic, version).close()


@both
@pytest.mark.parametrize(
    "raw", [b"", text(b"\xff"), text(b"a\0"), text(""), b"\0\x09a"], ids=["no filter", "not UTF-8", "NUL", "empty", "cut"]
)
def test_a_wrong_unsubscribe_closes(broker, topic, version, raw):
    """[MQTT-3.10.3-1] [MQTT-3.10.3-2]"""
    with Peer(broker, topic, version) as client:
        client.send(packet(10, 2, b"\0\1" + (b"\0" if version == 5 else b"") + raw))
        assert client.refused() in (None, 0x81, 0x82, 0x8F)
        assert not client.farewell or client.farewell[0] >> 4 != UNSUBACK


# Topic filters

MATCHES = {
    "#": ["a", "a/b", "/", "/a", "a/", "a//b"],
    "+": ["a"],
    "+/+": ["a/b", "/", "/a", "a/"],
    "/+": ["/", "/a"],
    "+/#": ["a", "a/b", "/", "/a", "a/", "a//b"],
    "a/#": ["a", "a/b", "a/", "a//b"],
    "a/+": ["a/b", "a/"],
    "a/+/b": ["a//b"],
    "a": ["a"],
    "/": ["/"],
    "a/": ["a/"],
    "a//b": ["a//b"],
    "A": [],
}
NAMES = ["a", "a/b", "/", "/a", "a/", "a//b", "$a", "$a/b"]


@both
@pytest.mark.parametrize("filter", MATCHES)
def test_what_a_filter_matches(broker, topic, version, filter):
    """[MQTT-3.3.2-3] [MQTT-4.7.1-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4] [MQTT-4.7.1-2]: no more and no less, and nothing that begins with $"""
    with Peer(broker, topic, version) as client:
        client.subscribe(filter, "end!")
        for name in NAMES:
            client.publish(name, b"", 1)
        client.publish("end!", b"", 1)
        got = []
        while "end!" not in got:
            got.append(client.message().topic)
        client.unsubscribe(filter)
        assert [name for name in got if name != "end!"] == MATCHES[filter]


@both
@pytest.mark.parametrize("filter", ["a/#/b", "a#", "#a", "##", "a+", "+a", "a/+b/c", "a/b#", "$share/g/a/#/b"])
def test_a_wildcard_takes_a_whole_level(broker, topic, version, filter):
    """[MQTT-4.7.1-2] [MQTT-4.7.1-3] of 3.1.1, [MQTT-4.7.1-1] [MQTT-4.7.1-2] of 5. MQTT 5 may answer 0x8F instead of closing."""
    with Peer(broker, topic, version) as client:
        client.send(client.subscribe_bytes([(filter, 0)], 1))
        try:
            kind, _, body = client.receive()
        except (EOFError, ConnectionError):
            return
        assert version == 5
        assert kind == SUBACK and body[-1] == 0x8F or kind == 14 and body[0] in (0x81, 0x82, 0x8F)


@both
def test_dollar_topics_are_matched_by_name(broker, topic, version):
    """[MQTT-4.7.2-1]"""
    with Peer(broker, topic, version) as client:
        client.subscribe("+/#", f"${topic}/#", f"{topic}/end")
        client.publish(f"${topic}/a", b"dollar", 1)
        client.publish(f"{topic}/end", b"end", 1)
        topics = []
        while f"{topic}/end" not in topics:
            topics.append(client.message().topic)
        assert topics.count(f"${topic}/a") == 1


# Shared subscriptions


@unlike_mosquitto
@pytest.mark.parametrize("filter", ["$share//a", "$share/g", "$share/g/", "$share/g+/a", "$share/g#/a", "$share/#", "$share/+/a"])
def test_a_malformed_shared_subscription_is_refused(broker, topic, filter):
    """[MQTT-4.8.2-1] [MQTT-4.8.2-2]"""
    with Peer(broker, topic) as client:
        client.send(client.subscribe_bytes([(filter, 0)], 1))
        kind, _, body = client.receive()
        assert kind == SUBACK and body[-1] == 0x8F or kind == 14 and body[0] in (0x81, 0x82, 0x8F)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_shared_subscription_gives_each_message_once(broker, topic, qos):
    """[MQTT-4.8.2-3] and section 4.8.2: to one member of each group, and to those outside; at the granted quality of service"""
    members = [Peer(broker, f"{topic}{number}") for number in range(3)]
    with Peer(broker, f"{topic}o") as other, Peer(broker, f"{topic}p") as plain, Peer(broker, f"{topic}s") as sender:
        for member in members:
            assert member.subscribe(f"$share/g/{topic}/+", qos=1) == [1]
        assert other.subscribe(f"$share/h/{topic}/+") == [2]
        assert plain.subscribe(f"{topic}/+") == [2]
        expected = [b"%d" % number for number in range(60)]
        for payload in expected:
            sender.publish(f"{topic}/a", payload, qos)
        assert other.payloads(60) == expected
        assert plain.payloads(60) == expected
        got = []
        for member in members:
            # A tick behind the publisher's acknowledgement is enough even across loops: `other` and `plain` have theirs.
            member.socket.settimeout(0.3)
            try:
                while True:
                    message = member.message()
                    assert message.qos == min(qos, 1) and not message.retain
                    got.append(message.payload)
            except TimeoutError:
                pass
        assert sorted(got) == sorted(expected)
    for member in members:
        member.close()


@unlike_mosquitto
def test_a_shared_subscription_gets_no_retained_messages(broker, topic):
    """MQTT 5, section 4.8.2 and 3.8.3.1"""
    with Peer(broker, topic) as client:
        client.publish(topic, b"kept", 1, retain=True)
        client.subscribe(f"$share/g/{topic}")
        client.ping()
        assert client.inbox == []
        client.publish(topic, b"", 1, retain=True)


@unlike_mosquitto
@pytest.mark.parametrize("qos", [1, 2])
def test_a_member_that_leaves_loses_nothing(broker, topic, qos):
    """Section 4.8.2: what a member with an ended session did not acknowledge goes to another one."""
    with Peer(broker, f"{topic}1") as leaving, Peer(broker, f"{topic}s") as sender:
        leaving.subscribe(f"$share/g/{topic}")
        for number in range(10):
            sender.publish(topic, b"%d" % number, qos)
        assert [leaving.message(acknowledge=False).payload for _ in range(10)] == [b"%d" % number for number in range(10)]
        with Peer(broker, f"{topic}2") as staying:
            staying.subscribe(f"$share/g/{topic}")
            leaving.drop()
            if qos == 1:
                assert sorted(staying.payloads(10)) == [b"%d" % number for number in range(10)]
            sender.publish(topic, b"live", qos)
            last = staying.message()
            while last.payload != b"live":
                last = staying.message()


def test_a_message_at_qos_2_stays_with_its_member(broker, topic):
    """[MQTT-4.8.2-4] [MQTT-4.8.2-5]: the exchange that was begun ends with the member it was begun with."""
    named = {"session_expiry": 60}
    with Peer(broker, f"{topic}s") as sender, Peer(broker, f"{topic}2") as other:
        with Peer(broker, f"{topic}1", clean=False, named=named) as member:
            member.subscribe(f"$share/g/{topic}")
            sender.publish(topic, b"begun", 2)
            begun = member.message(acknowledge=False)
            other.subscribe(f"$share/g/{topic}")
            member.drop()
        with Peer(broker, f"{topic}1", clean=False, named=named) as member:
            again = member.message()
            assert (again.payload, again.identifier, again.duplicate) == (b"begun", begun.identifier, True)
        other.ping()
        assert other.inbox == []
    Peer(broker, f"{topic}1").close()


@unlike_mosquitto
@pytest.mark.parametrize("kind, qos", [(4, 1), (5, 2)], ids=["PUBACK", "PUBREC"])
def test_a_refused_message_goes_to_nobody_else(broker, topic, kind, qos):
    """[MQTT-4.8.2-6]"""
    with Peer(broker, f"{topic}1") as first, Peer(broker, f"{topic}2") as second, Peer(broker, f"{topic}s") as sender:
        first.subscribe(f"$share/g/{topic}")
        sender.publish(topic, b"refused", qos)
        got = first.message(acknowledge=False)
        second.subscribe(f"$share/g/{topic}")
        first.acknowledge(kind, got.identifier, 0x83)
        first.ping()
        first.disconnect()
        sender.publish(topic, b"live", qos)
        assert second.message().payload == b"live"


def test_leaving_a_shared_subscription(broker, topic):
    """[MQTT-3.10.4-1]: by its whole filter"""
    with Peer(broker, f"{topic}1") as first, Peer(broker, f"{topic}2") as second:
        for member in (first, second):
            member.subscribe(f"$share/g/{topic}")
        assert first.unsubscribe(topic, f"$share/h/{topic}", f"$share/g/{topic}") == [0x11, 0x11, 0]
        for number in range(10):
            second.publish(topic, b"%d" % number, 1)
        assert second.payloads(10) == [b"%d" % number for number in range(10)]


@both
def test_packet_identifier_0_closes(broker, topic, version):
    """[MQTT-2.3.1-1] of 3.1.1, [MQTT-2.2.1-3] of 5: what the receiver does"""
    none = b"\0" if version == 5 else b""
    for raw in (
        packet(3, 2, text(topic) + b"\0\0" + none),
        packet(3, 4, text(topic) + b"\0\0" + none),
        packet(8, 2, b"\0\0" + none + text("a") + b"\0"),
        packet(10, 2, b"\0\0" + none + text("a")),
    ):
        with Peer(broker, topic, version) as client:
            client.send(raw)
            assert client.refused() in (None, 0x81, 0x82)
