"""CONNECT, CONNACK, sessions, takeover and wills: what sections 3.1, 3.2, 3.14 and 4.1 of MQTT 3.1.1 and 5.0 bind a server to."""

import struct

import pytest

import brokers
from peer import AUTH, PUBCOMP, PUBREC, Peer, Will, connect_packet, properties
from raw import CONNACK, DISCONNECT, PINGREQ, PUBACK, Connection, packet, text

both = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
every = pytest.mark.parametrize("version", [3, 4, 5], ids=["v31", "v311", "v5"])
EXPIRY = {3: {}, 4: {}, 5: {"session_expiry": 300}}


def is_closed_before_connack(broker, raw):
    with Connection(broker) as client:
        client.send(raw)
        client.seconds_until_closed(within=5)
        return client.farewell


@every
def test_a_first_connect_is_answered_with_connack_0(broker, topic, version):
    """[MQTT-3.1.4-4] [MQTT-3.2.0-1] of 3.1.1, [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.2-1] of 5: the first packet, and its reserved bits are 0."""
    with Peer(broker, topic, version) as client:
        assert client.session_present == 0
        client.ping()
        assert client.inbox == []


@both
def test_what_is_not_connect_first_closes(broker, version):
    """[MQTT-3.1.0-1]"""
    assert is_closed_before_connack(broker, packet(PINGREQ, 0, b"")) == b""
    assert is_closed_before_connack(broker, b"\x30" + b"\x03\0\1a") == b""


@both
def test_a_second_connect_closes(broker, topic, version):
    """[MQTT-3.1.0-2] [MQTT-3.2.0-2]: an error of the protocol, and no second CONNACK."""
    with Peer(broker, topic, version) as client:
        client.send(connect_packet(topic, version))
        assert client.refused() == (0x82 if version == 5 and not brokers.AGAINST_MOSQUITTO else None) or brokers.AGAINST_MOSQUITTO
        assert not client.farewell or client.farewell[0] >> 4 != CONNACK


def test_a_wrong_protocol_name_closes(broker):
    """[MQTT-3.1.2-1]"""
    for version in (4, 5):
        said = is_closed_before_connack(broker, packet(1, 0, text("MQTX") + bytes([version, 2, 0, 60]) + text("")))
        assert said == b"" or said[0] >> 4 == CONNACK and said[3] in (1, 0x84)


@pytest.mark.parametrize("level", [0, 1, 2, 6, 7, 0x7F])
def test_an_unknown_protocol_level_is_answered_and_closes(broker, level):
    """[MQTT-3.1.2-2]: CONNACK 0x01, as a client of 3.1.1 reads it, or 0x84."""
    said = is_closed_before_connack(broker, packet(1, 0, text("MQTT") + bytes([level, 2, 0, 60]) + text("")))
    assert said == b"\x20\x02\0\1" or said[0] >> 4 == CONNACK and said[3] == 0x84


@both
def test_the_reserved_connect_flag_must_be_0(broker, version):
    """[MQTT-3.1.2-3]"""
    said = is_closed_before_connack(broker, connect_packet("c", version, flags=3))
    assert said == b"" or version == 5 and said[0] >> 4 == CONNACK and said[3] in (0x81, 0x82)


CONNECT_FLAGS = {
    "will qos without a will": (0x0A, b""),
    "will retain without a will": (0x22, b""),
    "will qos 3": (0x1E, text("w") + text("x")),
    "a will that is missing": (0x06, b""),
    "a will topic without a message": (0x06, text("w")),
    "a user name that is missing": (0x82, b""),
    "a password that is missing": (0xC2, text("u")),
    "a user name without its flag": (0x02, text("u")),
    "a password without its flag": (0x82, text("u") + text("p")),
    "a user name that is not UTF-8": (0x82, text(b"\xc3\x28")),
    "a will topic that is not UTF-8": (0x06, text(b"\xff") + text("x")),
    "a will topic with a wildcard": (0x06, text("w/#") + text("x")),
    "a client identifier that is not UTF-8": (None, None),
    "a client identifier with a NUL": (None, None),
}


@both
@pytest.mark.parametrize("name", CONNECT_FLAGS)
def test_a_connect_that_contradicts_itself_closes(broker, name, version):
    """[MQTT-3.1.2-9] [MQTT-3.1.2-11] to [MQTT-3.1.2-15] and [MQTT-3.1.2-18] to [MQTT-3.1.2-21] of 3.1.1, [MQTT-3.1.2-9] to [MQTT-3.1.2-13],
    [MQTT-3.1.2-16] to [MQTT-3.1.2-19] of 5, [MQTT-3.1.3-1] [MQTT-3.1.3-4] [MQTT-3.1.3-10] [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT-3.1.4-1]"""
    if brokers.AGAINST_MOSQUITTO and ("without its flag" in name or "without a will" in name):
        pytest.skip("mosquitto 2.0.11 lets it pass")
    flags, payload = CONNECT_FLAGS[name]
    identifier = text("c")
    if flags is None:
        flags, payload = 2, b""
        identifier = text(b"\xff\xff" if "UTF-8" in name else "a\0b")
    if version == 5 and flags & 4 and payload:
        payload = b"\0" + payload
    body = text("MQTT") + bytes([version, flags]) + b"\0\x3c" + (b"\0" if version == 5 else b"") + identifier + payload
    said = is_closed_before_connack(broker, packet(1, 0, body))
    # Before MQTT 5 without a CONNACK: section 3.1.4.
    assert said == b"" or (version == 5 and said[0] >> 4 == CONNACK and said[3] >= 0x80) or brokers.AGAINST_MOSQUITTO


def test_a_password_without_a_user_name_is_for_mqtt_5_only(broker, topic):
    """[MQTT-3.1.2-22] of 3.1.1; MQTT 5, section 3.1.2.9, allows it."""
    assert is_closed_before_connack(broker, connect_packet(topic, 4, password="p")) == b""
    with Peer(broker, topic, 5, password="p") as client:
        client.ping()


@both
def test_a_clean_start_discards_the_session(broker, topic, version):
    """[MQTT-3.1.2-6] [MQTT-3.2.2-1] of 3.1.1, [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2] of 5"""
    with Peer(broker, topic, version, clean=False, named=EXPIRY[version]) as client:
        assert client.subscribe(topic) == [2]
        client.disconnect()
    with Peer(broker, topic, version, clean=True, named=EXPIRY[version]) as client:
        assert client.session_present == 0
        assert client.publish(topic, b"x", 1) in (0, 0x10)
        client.ping()
        assert client.inbox == []


@both
def test_a_session_is_resumed_with_its_subscriptions_and_messages(broker, topic, version):
    """[MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.1.0-1] [MQTT-4.5.0-1] of 3.1.1,
    [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.2.2-3] [MQTT-4.1.0-1] [MQTT-4.5.0-1] of 5"""
    with Peer(broker, topic, version, clean=False, named=EXPIRY[version]) as client:
        assert client.session_present == 0
        assert client.subscribe((f"{topic}/1", 1), (f"{topic}/2", 2)) == [1, 2]
        client.drop()
    with Peer(broker, "", version) as publisher:
        publisher.publish(f"{topic}/1", b"one", 1)
        publisher.publish(f"{topic}/2", b"two", 2)
    with Peer(broker, topic, version, clean=False, named=EXPIRY[version]) as client:
        assert client.session_present == 1
        assert [(m.topic, m.payload, m.qos) for m in (client.message(), client.message())] == [(f"{topic}/1", b"one", 1), (f"{topic}/2", b"two", 2)]
        client.publish(f"{topic}/1", b"live", 1)
        assert client.message().payload == b"live"
        client.disconnect(*([0] if version == 5 else []), **({"session_expiry": 0} if version == 5 else {}))


def test_a_session_of_mqtt_5_ends_with_its_connection_without_an_expiry(broker, topic):
    """[MQTT-4.1.0-2] of 5: an absent Session Expiry Interval is 0."""
    with Peer(broker, topic, clean=False) as client:
        client.subscribe(topic)
        client.disconnect()
    with Peer(broker, topic, clean=False) as client:
        assert client.session_present == 0


def test_disconnect_may_change_the_session_expiry_but_not_from_0(broker, topic):
    """MQTT 5, section 3.14.2.2.2"""
    with Peer(broker, topic, clean=False) as client:
        client.send(packet(DISCONNECT, 0, b"\0" + properties({"session_expiry": 60})))
        assert client.refused() == 0x82
    with Peer(broker, topic, clean=False, named={"session_expiry": 60}) as client:
        client.subscribe(topic)
        client.disconnect(0, session_expiry=0)
    with Peer(broker, topic, clean=False) as client:
        assert client.session_present == 0


@both
def test_client_identifiers_of_23_letters_and_longer(broker, version):
    """[MQTT-3.1.3-5]; the server takes longer ones too."""
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for identifier in ("z", letters[:23], letters[23:46], letters[-23:], letters * 3):
        with Peer(broker, identifier, version) as client:
            client.ping()


def test_an_empty_client_identifier_wants_a_clean_session(broker):
    """[MQTT-3.1.3-6] to [MQTT-3.1.3-9] [MQTT-3.2.2-4] [MQTT-3.2.2-5] of 3.1.1: each has a session of its own, and 0x02 without a clean one."""
    with Peer(broker, "", 4) as first, Peer(broker, "", 4) as second:
        first.ping()
        second.ping()
    with Peer(broker, "", 4, clean=False, code=2) as refused:
        assert refused.session_present == 0
        assert refused.refused() is None


def test_an_empty_client_identifier_is_assigned_one(broker, topic):
    """[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] of 5: a new one, which can be used to come back."""
    with Peer(broker, "", named={"session_expiry": 60}, clean=False) as first, Peer(broker, "") as second:
        name = first.connack["assigned_client"]
        assert name and name != second.connack["assigned_client"]
        first.subscribe(topic)
        first.drop()
        with Peer(broker, name, clean=False) as again:
            assert again.session_present == 1
            assert "assigned_client" not in again.connack


@both
def test_a_taken_over_connection_is_closed(broker, topic, version):
    """[MQTT-3.1.4-2] of 3.1.1, [MQTT-3.1.4-3] of 5; the session goes on: [MQTT-3.1.3-2]."""
    with Peer(broker, topic, version, clean=False, named=EXPIRY[version]) as first:
        first.subscribe(topic)
        with Peer(broker, topic, version, clean=False, named=EXPIRY[version]) as second:
            assert second.session_present == 1
            assert first.refused() == (0x8E if version == 5 else None) or brokers.AGAINST_MOSQUITTO
            second.publish(topic, b"mine", 1)
            assert second.message().payload == b"mine"
            second.disconnect(*([0] if version == 5 else []), **({"session_expiry": 0} if version == 5 else {}))


@both
def test_what_follows_a_refused_connect_is_not_processed(serve, topic, version):
    """[MQTT-3.1.4-5] [MQTT-3.2.2-5] of 3.1.1, [MQTT-3.1.4-2] [MQTT-3.1.4-6] [MQTT-3.2.2-6] [MQTT-3.2.2-7] of 5"""
    server = serve("--user", "alice:secret")
    with Peer(server, "witness", version, username="alice", password="secret") as witness, Connection(server) as client:
        witness.subscribe("#")
        client.version = version
        client.send(connect_packet("eve", version, username="alice", password="wrong") + witness.publish_bytes(topic, b"x"))
        client.seconds_until_closed(within=5)
        assert client.farewell[0] >> 4 == CONNACK and client.farewell[2] == 0
        assert client.farewell[3] in ((0x86, 0x87) if version == 5 else (4, 5))
        witness.ping()
        assert witness.inbox == []


def test_a_connack_keeps_to_the_properties_of_mqtt_5(broker):
    """[MQTT-3.2.2-8] [MQTT-3.2.2-9]: no Maximum QoS of 2 or more, and nothing declared that is the default's opposite without need."""
    with Peer(broker, "") as client:
        assert client.connack.get("qos_maximum", 1) in (0, 1)
        assert client.connack.get("receive_maximum", 1) > 0
        assert client.connack.get("packet_maximum", 1) > 0
        for available in ("retain_available", "wildcards", "identifiers", "shared"):
            assert client.connack.get(available, 1) == 1
        assert "response_information" not in client.connack  # [MQTT-3.1.2-28]
        assert "auth_method" not in client.connack  # [MQTT-4.12.0-6]


def test_response_information_is_not_given_unasked(broker):
    """[MQTT-3.1.2-28]"""
    with Peer(broker, "", named={"request_response": 0}) as client:
        assert "response_information" not in client.connack


CONNECT_PROPERTIES = {
    "receive maximum 0": properties({"receive_maximum": 0}),
    "packet maximum 0": properties({"packet_maximum": 0}),
    "request problem 2": properties({"request_problem": 2}),
    "request response 2": properties({"request_response": 2}),
    "session expiry twice": properties({"session_expiry": [1, 2]}),
    "alias maximum twice": properties({"alias_maximum": [1, 2]}),
    "data without a method": properties({"auth_data": b"x"}),
    "a property of PUBLISH": properties({"alias": 1}),
    "an unknown property": b"\x02\x7f\x01",
    "a length beyond the packet": b"\x20\x11",
    "a cut property": b"\x03\x11\0\0",
    "a user property that is not UTF-8": properties({"user": (b"\xff", b"a")}),
}


@pytest.mark.parametrize("name", CONNECT_PROPERTIES)
def test_a_connect_with_wrong_properties_closes(broker, name):
    """[MQTT-3.1.4-1] [MQTT-1.5.7-1] [MQTT-4.13.1-1]"""
    raw = packet(1, 0, text("MQTT") + b"\x05\x02\0\x3c" + CONNECT_PROPERTIES[name] + text("c"))
    if brokers.AGAINST_MOSQUITTO and name in ("a user property that is not UTF-8", "data without a method"):
        pytest.skip("mosquitto 2.0.11 lets it pass")
    said = is_closed_before_connack(broker, raw)
    assert said == b"" or said[0] >> 4 == CONNACK and said[3] >= 0x80


def test_an_unknown_authentication_method_is_refused(broker):
    """[MQTT-4.12.0-1]"""
    with Peer(broker, "", code=0x8C, named={"auth_method": "nobody-knows", "auth_data": b"x"}) as client:
        assert client.refused() is None


def test_auth_without_a_method_closes(broker):
    """[MQTT-4.12.0-6] [MQTT-4.12.0-7]: the server sends none, and takes none."""
    with Peer(broker, "") as client:
        client.send(packet(AUTH, 0, b"\x18" + properties({"auth_method": "x"})))
        assert client.refused() in (0x82, 0x8C) or brokers.AGAINST_MOSQUITTO


# Wills


@every
def test_a_will_is_published_when_the_connection_breaks(broker, topic, version):
    """[MQTT-3.1.2-8] of 3.1.1, [MQTT-3.1.2-7] [MQTT-3.1.2-8] of 5"""
    with Peer(broker, f"{topic}w", version) as witness:
        witness.subscribe(f"{topic}/will")
        with Peer(broker, topic, version, will=Will(f"{topic}/will", b"broken", 1)) as client:
            client.ping()
            client.drop()
            got = witness.message()
            assert (got.topic, got.payload, got.qos, got.retain) == (f"{topic}/will", b"broken", 1, False)


@both
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True], ids=["", "retained"])
def test_a_will_has_its_qos_and_retain(broker, topic, version, qos, retain):
    """[MQTT-3.1.2-14] [MQTT-3.1.2-16] [MQTT-3.1.2-17] of 3.1.1, [MQTT-3.1.2-12] [MQTT-3.1.2-14] [MQTT-3.1.2-15] of 5"""
    with Peer(broker, "", version) as witness:
        witness.subscribe(topic)
        Peer(broker, f"{topic}c", version, will=Will(topic, b"gone", qos, retain)).drop()
        assert witness.message()[:4] == (topic, b"gone", qos, False)
        with Peer(broker, "", version) as later:
            later.subscribe(topic)
            if retain:
                assert later.message()[:4] == (topic, b"gone", qos, True)
                later.publish(topic, b"", 1, retain=True)
                later.message()
            later.ping()
            assert later.inbox == []


@both
def test_a_disconnect_deletes_the_will(broker, topic, version):
    """[MQTT-3.1.2-10] [MQTT-3.14.4-3]"""
    with Peer(broker, "", version) as witness:
        witness.subscribe(topic, f"{topic}/end")
        with Peer(broker, f"{topic}c", version, will=Will(topic)) as client:
            client.disconnect()
        with Peer(broker, f"{topic}c", version) as client:
            client.publish(f"{topic}/end", b"", 1)
        assert witness.message().topic == f"{topic}/end"


def test_a_disconnect_may_ask_for_the_will(broker, topic):
    """MQTT 5, section 3.14.2.1: 0x04."""
    with Peer(broker, "") as witness:
        witness.subscribe(topic)
        Peer(broker, f"{topic}c", will=Will(topic, b"asked for")).disconnect(4)
        assert witness.message().payload == b"asked for"


@both
def test_without_a_will_flag_nothing_is_published(broker, topic, version):
    """[MQTT-3.1.2-12] of 3.1.1"""
    with Peer(broker, "", version) as witness:
        witness.subscribe(f"{topic}/#")
        Peer(broker, topic, version).drop()
        with Peer(broker, topic, version) as client:
            client.publish(f"{topic}/end", b"", 1)
        assert witness.message().topic == f"{topic}/end"


@both
def test_an_error_of_the_protocol_publishes_the_will(broker, topic, version):
    """[MQTT-3.1.2-8]: a connection that the server closes breaks too."""
    with Peer(broker, "", version) as witness:
        witness.subscribe(topic)
        with Peer(broker, f"{topic}c", version, will=Will(topic, b"thrown out")) as client:
            client.send(packet(0, 0, b""))
            client.refused()
            assert witness.message().payload == b"thrown out"


@both
def test_a_takeover_publishes_the_will(broker, topic, version):
    """[MQTT-3.1.2-8]: the taken over connection ends without DISCONNECT."""
    with Peer(broker, "", version) as witness:
        witness.subscribe(topic)
        with Peer(broker, f"{topic}c", version, will=Will(topic, b"taken over")), Peer(broker, f"{topic}c", version):
            assert witness.message().payload == b"taken over"


def test_a_will_keeps_its_properties_in_their_order(broker, topic):
    """[MQTT-3.1.3-10] of 5"""
    named = {"payload_format": 1, "content_type": "text/plain", "response_topic": "r/t", "correlation": b"\0\1", "user": [("b", "1"), ("a", "2"), ("b", "1")]}
    with Peer(broker, "") as witness:
        witness.subscribe(topic)
        Peer(broker, f"{topic}c", will=Will(topic, b"x", properties=named)).drop()
        got = witness.message().properties
        assert {name: got[name] for name in named} == named


@both
def test_a_quick_reconnect_resumes_half_an_exchange(broker, topic, version):
    """[MQTT-4.4.0-1] [MQTT-3.3.1-1] [MQTT-2.3.1-3]: PUBLISH again with DUP and its identifier, PUBREL again alone."""
    with Peer(broker, topic, version, clean=False, named=EXPIRY[version]) as client:
        client.subscribe(topic)
        client.publish(topic, b"one", 1)
        client.publish(topic, b"two", 2)
        client.publish(topic, b"three", 2)
        first, second, third = (client.message(acknowledge=False) for _ in range(3))
        assert len({first.identifier, second.identifier, third.identifier}) == 3
        client.acknowledge(PUBREC, second.identifier)
        assert client.wait_acknowledgement(6, second.identifier) == 0
        client.drop()
    with Peer(broker, topic, version, clean=False, named=EXPIRY[version]) as client:
        assert client.session_present == 1
        kinds = [client.next_packet() for _ in range(3)]
        again = [client.parse(flags, body) for kind, flags, body in kinds if kind == 3]
        released = [struct.unpack(">H", body[:2])[0] for kind, flags, body in kinds if kind == 6]
        assert [(m.payload, m.identifier, m.duplicate) for m in again] == [(b"one", first.identifier, True), (b"three", third.identifier, True)]
        assert released == [second.identifier]
        client.acknowledge(PUBACK, first.identifier)
        client.acknowledge(PUBCOMP, second.identifier)
        client.acknowledge(PUBREC, third.identifier)
        assert client.wait_acknowledgement(6, third.identifier) == 0
        client.acknowledge(PUBCOMP, third.identifier)
        client.ping()
        assert client.inbox == []
    with Peer(broker, topic, version, clean=False) as client:
        assert client.session_present == 1
        client.ping()
        assert client.inbox == []
