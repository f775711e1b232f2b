"""What MQTT promises to be there after a restart is there, and nothing else. Times of expiry and delay go on while the server is away."""

import time

import pytest

import conftest
from peer import PUBCOMP, PUBREC, PUBREL, Peer, Will
from raw import PUBACK, PUBLISH

both = pytest.mark.parametrize("version", [4, 5], ids=["v311", "v5"])
beyond_mosquitto = pytest.mark.skipif(conftest.REFERENCE == "mosquitto", reason="mosquitto 2.0.11 does not keep this")


@pytest.fixture
def join(server):
    """Connects; `lasting` sessions outlive the connection and the server. What it opens is closed with the test."""
    opened = []

    def join(client, version=5, lasting=True, clean=False, expiry=600, will=None, receive_maximum=None, **more):
        named = {"session_expiry": expiry} if version == 5 and lasting else {}
        if receive_maximum and version == 5:
            named["receive_maximum"] = receive_maximum
        opened.append(Peer(server.mqtt, client, version, clean=clean or not lasting, named=named, will=will, **more))
        return opened[-1]

    yield join
    for peer in opened:
        peer.close()


def quiet(peer, seconds=0.3):
    assert not peer.inbox
    return peer.is_quiet(seconds)


@both
def test_a_session_with_its_subscriptions_is_there(server, join, version):
    peer = join("a", version)
    assert peer.session_present == 0
    assert peer.subscribe(("one/+", 1), ("two/#", 2), ("three", 0), ("left", 1)) == [1, 2, 0, 1]
    peer.unsubscribe("left")
    join("clean", version, lasting=False).subscribe("one/+", qos=1)
    server.again()
    assert join("clean", version, lasting=False).session_present == 0
    publisher, peer = join("p", version, lasting=False), join("a", version)
    assert peer.session_present == 1
    for topic in ("left", "one/1", "two", "two/2/3", "three"):
        publisher.publish(topic, topic.encode(), qos=2)
    got = {(message.topic, message.qos) for message in [peer.message() for _ in range(4)]}
    assert got == {("one/1", 1), ("two", 2), ("two/2/3", 2), ("three", 0)}
    assert quiet(peer)


def test_a_subscriptions_options_are_there(server, join):
    peer = join("a")
    peer.subscribe(("a", 1 | 4), subscription=7)  # no local
    peer.subscribe(("b", 1 | 8), subscription=8)  # retain as published
    peer.subscribe(("b/#", 1), subscription=300)
    server.again()
    peer = join("a")
    assert peer.session_present == 1
    peer.send(peer.publish_bytes("a", b"own", qos=0))
    peer.ping()
    assert quiet(peer)
    publisher = join("p", lasting=False)
    publisher.publish("b", b"b", qos=1, retain=True)
    messages = [peer.message()]
    if len(messages[0].properties["subscription"]) == 1:
        messages.append(peer.message())
    assert sorted(one for message in messages for one in message.properties["subscription"]) == [8, 300]
    assert any(message.retain for message in messages)
    publisher.publish("b", retain=True)


@both
def test_what_waits_for_a_session_is_there_in_its_order(server, join, version):
    peer = join("a", version)
    peer.subscribe("t/#", qos=2)
    peer.close()
    publisher = join("p", version, lasting=False)
    sent = [(f"t/{number % 3}", b"%d" % number * (number * 7 % 50), 1 + number % 2) for number in range(200)]
    for topic, payload, qos in sent:
        assert publisher.publish(topic, payload, qos) == 0
    server.again()
    peer = join("a", version)
    assert peer.session_present == 1
    got = [peer.message() for _ in sent]
    for qos in (1, 2):  # the order is that of one QoS: those of QoS 2 wait until the disk has their packet identifiers
        assert [(message.topic, message.payload) for message in got if message.qos == qos] == [(topic, payload) for topic, payload, one in sent if one == qos]
    assert quiet(peer)
    server.again()
    peer = join("a", version)
    assert peer.session_present == 1 and quiet(peer), "acknowledged, and not there any more"


def test_the_properties_of_what_waits_are_there(server, join):
    peer = join("a")
    peer.subscribe("t", qos=1)
    peer.close()
    named = {"content_type": "a/b", "response_topic": "r", "correlation": b"\0\1", "user": [("k", "v"), ("k", "w")], "payload_format": 1}
    join("p", lasting=False).publish("t", b"text", 1, **named)
    server.again()
    got = join("a").message()
    assert (got.payload, got.properties) == (b"text", named)


@both
def test_what_was_under_way_to_a_client_goes_on(server, join, version):
    peer = join("a", version)
    peer.subscribe("t", qos=2)
    publisher = join("p", version, lasting=False)
    for name, qos in ((b"acknowledged", 1), (b"open at 1", 1), (b"open at 2", 2), (b"received", 2), (b"done", 2), (b"released", 2)):
        publisher.publish("t", name, qos)
    got = {message.payload: message for message in [peer.message(acknowledge=False) for _ in range(6)]}
    peer.acknowledge(PUBACK, got[b"acknowledged"].identifier)
    for name in (b"received", b"done", b"released"):
        peer.acknowledge(PUBREC, got[name].identifier)
        peer.wait_acknowledgement(PUBREL, got[name].identifier)
    peer.acknowledge(PUBCOMP, got[b"done"].identifier)
    peer.ping()
    server.again()
    peer = join("a", version)
    assert peer.session_present == 1
    publishes, released = [], []
    while len(publishes) < 2 or len(released) < 2:
        kind, flags, body = peer.receive()
        if kind == PUBLISH:
            publishes.append(peer.parse(flags, body))
        else:
            assert (kind, flags) == (PUBREL, 2)
            released.append(int.from_bytes(body[:2], "big"))
    assert [(message.payload, message.duplicate, message.qos) for message in publishes] == [(b"open at 1", True, 1), (b"open at 2", True, 2)]
    assert publishes[1].identifier == got[b"open at 2"].identifier
    assert released == [got[b"received"].identifier, got[b"released"].identifier]
    for identifier in released:
        peer.acknowledge(PUBCOMP, identifier)
    peer.acknowledge(PUBACK, publishes[0].identifier)
    peer.acknowledge(PUBREC, publishes[1].identifier)
    peer.wait_acknowledgement(PUBREL, publishes[1].identifier)
    peer.acknowledge(PUBCOMP, publishes[1].identifier)
    peer.ping()
    assert quiet(peer)
    server.again()
    assert quiet(join("a", version))


@both
def test_new_messages_get_packet_identifiers_that_are_free(server, join, version):
    peer = join("a", version)
    peer.subscribe("t", qos=2)
    publisher = join("p", version, lasting=False)
    for number in range(20):
        publisher.publish("t", b"old", 1 + number % 2)
    old = [peer.message(acknowledge=False) for _ in range(20)]
    acknowledged = [message for message in old if message.qos == 1][::3]
    for message in acknowledged:
        peer.acknowledge(PUBACK, message.identifier)
    open = {message.identifier for message in old if message.qos == 2}
    peer.ping()
    server.again()
    peer, publisher = join("a", version), join("p", version, lasting=False)
    for _ in range(20):
        publisher.publish("t", b"new", 1)
    got = [peer.message(acknowledge=False) for _ in range(len(old) - len(acknowledged) + 20)]
    assert {message.identifier for message in got if message.qos == 2} == open, "they tell the client what it has"
    assert len({message.identifier for message in got}) == len(got)
    assert [message.duplicate for message in got] == [message.payload == b"old" for message in got]


@both
def test_what_was_under_way_from_a_client_is_taken_once(server, join, version):
    witness = join("w", version)
    witness.subscribe("t", qos=2)
    peer = join("a", version)
    for identifier in (7, 8, 9, 65535):
        peer.send(peer.publish_bytes("t", b"%d" % identifier, 2, identifier=identifier))
        assert peer.wait_acknowledgement(PUBREC, identifier) == 0
    peer.acknowledge(PUBREL, 9)
    peer.wait_acknowledgement(PUBCOMP, 9)
    server.again()
    peer = join("a", version)
    assert peer.session_present == 1
    peer.send(peer.publish_bytes("t", b"7", 2, identifier=7, duplicate=True))
    assert peer.wait_acknowledgement(PUBREC, 7) == 0
    for identifier in (7, 8, 65535):
        peer.acknowledge(PUBREL, identifier)
        assert peer.wait_acknowledgement(PUBCOMP, identifier) == 0
    for identifier in (9, 7):
        peer.send(peer.publish_bytes("t", b"new under %d" % identifier, 2, identifier=identifier))
        assert peer.wait_acknowledgement(PUBREC, identifier) == 0
        peer.acknowledge(PUBREL, identifier)
        assert peer.wait_acknowledgement(PUBCOMP, identifier) == 0
    witness = join("w", version)
    assert sorted(witness.payloads(6)) == [b"65535", b"7", b"8", b"9", b"new under 7", b"new under 9"]
    assert quiet(witness)


@both
def test_retained_messages_are_there_as_they_last_were(server, join, version):
    publisher = join("p", version, lasting=False)
    for topic, payload, qos in (("r/0", b"zero", 0), ("r/1", b"one", 1), ("r/2", b"two", 2), ("r/replaced", b"old", 1), ("r/removed", b"x", 1), ("r/0 last", b"y", 1)):
        publisher.publish(topic, payload, qos, retain=True)
    publisher.publish("r/replaced", b"new", 1, retain=True)
    publisher.publish("r/removed", b"", 1, retain=True)
    publisher.publish("r/plain", b"not retained", 1)
    for _ in range(2):
        server.again()
        reader = join("reader", version, lasting=False)
        reader.subscribe("r/#", qos=2)
        got = {}
        while len(got.keys() - {"r/0"}) < 4:
            message = reader.message()
            got[message.topic] = (message.payload, message.qos, message.retain)
        reader.ping()
        got.pop("r/0", None)  # nothing is promised about QoS 0
        reader.inbox = [packet for packet in reader.inbox if packet[2][:5] != b"\0\x03r/0"]
        assert got == {"r/1": (b"one", 1, True), "r/2": (b"two", 2, True), "r/replaced": (b"new", 1, True), "r/0 last": (b"y", 1, True)}
        assert quiet(reader)
        reader.close()


def test_a_retained_message_expires_while_the_server_is_away(server, join):
    publisher = join("p", lasting=False)
    publisher.publish("r/short", b"short", 1, retain=True, message_expiry=2)
    publisher.publish("r/long", b"long", 1, retain=True, message_expiry=100)
    server.stop()
    time.sleep(2.2)
    server.start()
    reader = join("reader", lasting=False)
    reader.subscribe("r/#", qos=1)
    got = reader.message()
    assert (got.payload, got.properties["message_expiry"] in range(90, 99)) == (b"long", True)
    assert quiet(reader)


@beyond_mosquitto
def test_what_waits_expires_while_the_server_is_away(server, join):
    peer = join("a")
    peer.subscribe("t", qos=1)
    peer.close()
    publisher = join("p", lasting=False)
    for payload, named in ((b"short", {"message_expiry": 2}), (b"long", {"message_expiry": 100}), (b"for ever", {})):
        publisher.publish("t", payload, 1, **named)
    server.stop()
    time.sleep(2.2)
    server.start()
    peer = join("a")
    first, second = peer.message(), peer.message()
    assert (first.payload, first.properties["message_expiry"] in range(90, 99)) == (b"long", True)
    assert (second.payload, second.properties) == (b"for ever", {})
    assert quiet(peer)


@beyond_mosquitto
def test_a_session_expires_while_the_server_is_away(server, join):
    for client, expiry in (("short", 2), ("long", 100), ("connected", 2)):
        join(client, expiry=expiry).subscribe("t", qos=1)
    ended = join("ended", expiry=100)
    ended.subscribe("t", qos=1)
    ended.disconnect(session_expiry=0)
    for client, expiry in (("short", 2), ("long", 100)):
        join(client, expiry=expiry).disconnect()
    server.stop()
    time.sleep(2.3)
    server.start()
    present = {client: join(client, expiry=expiry).session_present for client, expiry in (("ended", 100), ("short", 2), ("long", 100), ("connected", 2))}
    assert present.pop("connected") in (0, 1)  # when its connection ended, only the server's end or start can say
    assert present == {"ended": 0, "short": 0, "long": 1}


def test_a_session_that_was_begun_anew_does_not_come_back(server, join):
    peer = join("a", 4)
    peer.subscribe("t", qos=1)
    join("p", 4, lasting=False).publish("t", b"x", 1)
    peer.close()
    server.again()
    assert join("a", 4, clean=True, lasting=False).session_present == 0
    server.again()
    peer = join("a", 4)
    assert peer.session_present == 0 and quiet(peer)


@beyond_mosquitto
def test_a_will_that_was_delayed_is_published_after_the_restart(server, join):
    leaver = join("leaver", will=Will("w", b"delayed", qos=1, properties={"will_delay": 2}))
    back = join("back", will=Will("w", b"never", qos=1, properties={"will_delay": 2}))
    witness = join("witness")
    witness.subscribe("w", qos=1)
    for peer in (witness, leaver, back):
        peer.close()  # a server that is told to end waits for those who are connected, and delays go on
    server.again()
    begin = time.monotonic()
    assert join("back").session_present == 1
    witness = join("witness")
    assert witness.message().payload == b"delayed"
    assert time.monotonic() - begin < 4
    assert quiet(witness, 2.5)
    server.again()
    assert quiet(join("witness"), 0.5), "once"


@beyond_mosquitto
def test_a_delayed_will_is_due_while_the_server_is_away(server, join):
    join("witness").subscribe("w", qos=1)
    leaver = join("leaver", will=Will("w", b"delayed", qos=1, properties={"will_delay": 1}))
    leaver.close()
    time.sleep(0.2)
    server.stop()
    time.sleep(1.5)
    server.start()
    begin = time.monotonic()
    assert join("witness").message().payload == b"delayed"
    assert time.monotonic() - begin < 1


@beyond_mosquitto
def test_the_will_of_who_was_connected_when_the_server_was_killed(server, join):
    """A killed server ended all connections without a DISCONNECT; SIGTERM tells clients, whose wills it publishes too ([MQTT-3.1.2-8])."""
    join("witness").subscribe("w", qos=1)
    join("connected", will=Will("w", b"gone", qos=1, properties={"will_delay": 1}))
    server.again()
    assert join("witness").message().payload == b"gone"


@beyond_mosquitto
def test_a_shared_subscription_keeps_its_queue(server, join):
    members = [join(f"m{index}") for index in range(2)]
    for member in members:
        member.subscribe("$share/g/t", qos=1)
    for member in members:
        member.close()
    publisher = join("p", lasting=False)
    for number in range(20):
        publisher.publish("t", b"%d" % number, 1)
    server.again()
    got = []
    members = [join(f"m{index}") for index in range(2)]
    assert all(member.session_present for member in members)
    publisher = join("p", lasting=False)
    for number in range(20, 40):
        publisher.publish("t", b"%d" % number, 1)
    deadline = time.monotonic() + 10
    while len(got) < 40 and time.monotonic() < deadline:
        for member in members:
            member.socket.settimeout(0.1)
            try:
                while True:
                    got.append(int(member.message().payload))
            except TimeoutError:
                pass
    assert sorted(got) == list(range(40))


@both
def test_the_number_of_loops_may_change(server, join, version):
    if conftest.REFERENCE:
        pytest.skip("about martlet alone")
    sessions = [f"a{index}" for index in range(8)]

    def in_order(got):
        """Each QoS by itself: those of even numbers are of QoS 1."""
        return [one for one in got if int(one) % 2 == 0] == sent[::2] and [one for one in got if int(one) % 2] == sent[1::2]

    for client in sessions:
        join(client, version).subscribe("t/#", qos=2)
    publisher = join("p", version)
    sent = []
    for round, loops in enumerate((1, 4, 2, 3)):
        for number in range(10):
            sent.append(b"%d" % (round * 10 + number))
            publisher.publish(f"t/{number}", sent[-1], 1 + number % 2)
        server.again(loops=loops)
        publisher = join("p", version)
        assert publisher.session_present == 1
        half = sessions[round % 2 :: 2]
        for client in half[:1]:
            peer = join(client, version)
            assert peer.session_present == 1
            assert in_order(peer.payloads(len(sent)))
            peer.close()
            sessions.remove(client)
    for client in sessions:
        peer = join(client, version)
        assert peer.session_present == 1
        assert in_order(peer.payloads(40)) and quiet(peer, 0.1)
