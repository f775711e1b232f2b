"""Connections: the handshake, what is negotiated, heartbeats and ends: the same tests against martlet and rabbitmq-server."""

import contextlib
import ssl
import struct
import time

import pika
import pytest
from pamqp import commands, frame, heartbeat

import amqp_brokers
import amqp_raw
import brokers
from amqp_pika import Client, ready, take

CHANNEL, CONNECTION = commands.Channel, commands.Connection
LOGIN = "ACCESS_REFUSED - Login was refused using authentication mechanism {}. For details see the broker logfile."


@pytest.fixture(scope="module")
def guarded_broker(amqp_broker):
    """The same, where only guest with the password guest may enter: RabbitMQ is always so."""
    if amqp_broker.name == "rabbitmq":
        yield amqp_broker
        return
    running = amqp_brokers.Martlet("--user", "guest:guest")
    yield running
    assert running.stop()[0] == 0


def test_the_server_says_who_it_is_and_what_it_can(amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        begun = raw.begun
        assert (begun.version_major, begun.version_minor, "en_US" in begun.locales.split()) == (0, 9, True)
        assert "PLAIN" in begun.mechanisms.split()
        properties = begun.server_properties
        assert {"product", "version", "platform", "capabilities"} <= set(properties)
        capabilities = {
            "publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked", "per_consumer_qos",
            "authentication_failure_close",
        }  # fmt: skip
        assert {name for name, has in properties["capabilities"].items() if has} >= capabilities
        assert (raw.tune.channel_max, raw.tune.frame_max, raw.tune.heartbeat) == (2047, 131072, 60)


FOREIGN = [b"AMQP\0\0\x09\0", b"AMQP\0\1\0\0", b"AMQP\3\1\0\0", b"AMQP\0\0\x08\0", b"GET / HTTP/1.1\r\n\r\n", b"\x16\3\1\2\0\1\0\1\xfc", b"\x10\x0d\0\4MQTT\4\0\0\0\0\1a"]


@pytest.mark.parametrize("greeting", FOREIGN, ids=repr)
def test_another_protocol_is_answered_with_the_one_that_is_spoken(amqp_broker, greeting):
    with amqp_raw.Connection(amqp_broker, opened=False) as raw:
        raw.write(greeting)
        assert raw.reads_to_end()[0] == b"AMQP\0\0\x09\x01"


def test_a_vhost_that_does_not_exist_is_refused(amqp, amqp_broker):
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="NOT_ALLOWED - vhost absent not found"):
        amqp.connect(virtual_host="absent")
    for name in ("absent", "", "//", "é"):
        with amqp_raw.Connection(amqp_broker, opened=False) as raw:
            raw.start()
            raw.send(CONNECTION.TuneOk(2047, 131072, 0), 0)
            assert amqp_raw.said(raw.call(CONNECTION.Open(name), 0)) == ("connection", 530, f"NOT_ALLOWED - vhost {name} not found", 10, 40)


def test_a_wrong_login_is_refused_with_a_word_to_who_asked_for_one(guarded_broker):
    for response in ("\0guest\0wrong", "\0nobody\0guest", "\0guest\0"):
        with amqp_raw.Connection(guarded_broker, opened=False) as raw:
            assert amqp_raw.said(raw.start(response=response))[:3] == ("connection", 403, LOGIN.format("PLAIN"))
    with contextlib.closing(Client(guarded_broker)) as client, pytest.raises(pika.exceptions.ProbableAuthenticationError):
        client.connect(credentials=pika.PlainCredentials("guest", "wrong"))
    with contextlib.closing(Client(guarded_broker)) as client:
        assert client.connect(credentials=pika.PlainCredentials("guest", "guest")).is_open


def test_a_wrong_login_is_refused_by_closing_to_who_did_not(guarded_broker):
    with amqp_raw.Connection(guarded_broker, opened=False) as raw, pytest.raises((EOFError, ConnectionError)):
        raw.start(capabilities={}, response="\0guest\0wrong")


def login(mechanism, response):
    return frame.marshal(CONNECTION.StartOk({"capabilities": amqp_raw.CAPABILITIES}, mechanism, response, "en_US"), 0)


NO_LOGIN = {
    "a mechanism that is not offered": login("CURIOUS", "\0guest\0guest"),
    "no mechanism": login("", ""),
    "PLAIN without its separators": login("PLAIN", "guest"),
    "PLAIN without a response": login("PLAIN", ""),
    "open before start-ok": frame.marshal(CONNECTION.Open("/"), 0),
    "a channel before start-ok": frame.marshal(CHANNEL.Open(), 1),
    "a header frame before start-ok": amqp_raw.frame_bytes(amqp_raw.HEADER, 1, bytes(14)),
    "octets without meaning": b"\x09" * 40,
    "a frame that is too large": struct.pack(">BHI", 1, 0, 1 << 30),
}


def test_where_a_login_must_stand_nothing_else_is_taken(amqp, amqp_broker):
    # All at once: RabbitMQ takes its time, three seconds, before it closes on who is not logged in.
    with contextlib.ExitStack() as stack:
        waiting = {}
        for title, sent in NO_LOGIN.items():
            raw = waiting[title] = stack.enter_context(amqp_raw.Connection(amqp_broker, opened=False))
            raw.write(b"AMQP\0\0\x09\x01")
            raw.expect(CONNECTION.Start, 0)
            raw.write(sent)
        for title, raw in waiting.items():
            with contextlib.suppress(EOFError, ConnectionError):
                assert isinstance(raw.receive()[1], CONNECTION.Close), title
                raw.send(CONNECTION.CloseOk(), 0)
                raw.reads_to_end()
    assert amqp.connect().is_open


LIMITS = {"a frame_max below 4096": (2047, 4095), "a larger frame_max": (2047, 1 << 20), "a larger channel_max": (2048, 131072)}


def test_limits_beyond_the_servers_end_the_connection(amqp_broker):
    with contextlib.ExitStack() as stack:
        waiting = {}
        for title, chosen in LIMITS.items():
            raw = waiting[title] = stack.enter_context(amqp_raw.Connection(amqp_broker, opened=False))
            raw.start()
            raw.send(CONNECTION.TuneOk(*chosen, 0), 0)
            raw.send(CONNECTION.Open("/"), 0)
        for title, raw in waiting.items():
            with contextlib.suppress(EOFError, ConnectionError):
                closed = amqp_raw.said(raw.receive()[1])
                assert closed[:2] == ("connection", 530) and closed[2].startswith("NOT_ALLOWED - negotiated "), (title, closed)


def test_smaller_limits_are_taken(amqp, amqp_broker):
    for frame_max, channel_max in ((4096, 1), (131072, 2047), (8192, 5)):
        connection = amqp.connect(frame_max=frame_max, channel_max=channel_max)
        channel = connection.channel()
        queue = amqp.queue(channel)
        channel.basic_publish("", queue, b"x" * 20_000)
        assert take(channel, queue) == [b"x" * 20_000]
        connection.close()


def test_no_more_channels_are_opened_than_was_agreed(amqp_broker):
    with amqp_raw.Connection(amqp_broker, channel_max=3) as raw:
        for channel in (2, 3):
            assert isinstance(raw.call(CHANNEL.Open(), channel), CHANNEL.OpenOk)
        closed = amqp_raw.said(raw.call(CHANNEL.Open(), 4))
        assert closed[:2] in (("connection", 530), ("connection", 504)), closed


def test_all_channels_of_a_connection_may_be_open(amqp, amqp_broker):
    with amqp_raw.Connection(amqp_broker, channels=()) as raw:
        for channel in range(1, 2048):
            raw.send(CHANNEL.Open(), channel)
        assert {raw.receive()[0] for _ in range(2047)} == set(range(1, 2048))
        queue = raw.call(commands.Queue.Declare(exclusive=True), 2047).queue
        raw.publish(b"m", key=queue, channel=1000)
        raw.send(CHANNEL.Close(200, "", 0, 0), 1000)
        raw.expect(CHANNEL.CloseOk, 1000)
        assert raw.call(commands.Queue.Declare(queue=queue, passive=True), 3).message_count == 1
        raw.send(CONNECTION.Close(200, "", 0, 0), 0)
        raw.expect(CONNECTION.CloseOk, 0)


def test_a_channel_that_was_closed_may_be_opened_again(amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        for _ in range(50):
            assert isinstance(raw.call(CHANNEL.Close(200, "", 0, 0)), CHANNEL.CloseOk)
            assert isinstance(raw.call(CHANNEL.Open()), CHANNEL.OpenOk)
        raw.call(CHANNEL.Close(200, "", 0, 0))
        assert amqp_raw.said(raw.call(commands.Basic.Qos(0, 1)))[:3] == ("connection", 504, "CHANNEL_ERROR - expected 'channel.open'")


def test_a_connection_without_heartbeats_from_its_client_is_ended(amqp_broker):
    with amqp_raw.Connection(amqp_broker, heartbeat=1) as raw:
        said, seconds = raw.reads_to_end(8)
        beats = said.count(amqp_raw.frame_bytes(amqp_raw.HEARTBEAT, 0, b""))
        assert beats >= 1 and 1.9 <= seconds <= 4, (said, seconds)


def test_heartbeats_and_anything_else_keep_a_connection(amqp_broker):
    with amqp_raw.Connection(amqp_broker, heartbeat=1) as raw:
        start = time.monotonic()
        while time.monotonic() < start + 2:
            raw.send(heartbeat.Heartbeat(), 0)
            time.sleep(0.4)
        while time.monotonic() < start + 4:
            raw.send(commands.Basic.Qos(0, 1))
            raw.expect(commands.Basic.QosOk)
            time.sleep(0.4)


def test_without_a_heartbeat_interval_there_are_none(amqp_broker):
    with amqp_raw.Connection(amqp_broker, heartbeat=0, timeout=2.5) as raw, pytest.raises(TimeoutError):
        raw.exactly(1)


def test_a_client_that_closes_is_answered(amqp_broker):
    with amqp_raw.Connection(amqp_broker, channels=(1, 2, 3)) as raw:
        raw.send(CONNECTION.Close(200, "goodbye", 0, 0), 0)
        raw.expect(CONNECTION.CloseOk, 0)


def test_flow_is_answered_and_access_requests_are_granted(amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        assert raw.call(CHANNEL.Flow(True)).active is True
        raw.write(amqp_raw.frame_bytes(amqp_raw.METHOD, 1, struct.pack(">HH", 30, 10) + b"\5/data\x1f"))
        assert raw.exactly(14) == amqp_raw.frame_bytes(amqp_raw.METHOD, 1, struct.pack(">HHH", 30, 11, 1))
        raw.send(CONNECTION.UpdateSecret("secret", "why"), 0)
        raw.expect(CONNECTION.UpdateSecretOk, 0)


def test_frames_may_come_octet_by_octet(amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        queue = raw.call(commands.Queue.Declare(exclusive=True)).queue
        sent = frame.marshal(commands.Basic.Publish(0, "", queue, False, False), 1) + amqp_raw.content(b"slowly", chunk=2)
        for octet in sent + frame.marshal(commands.Basic.Get(0, queue, True), 1):
            raw.write(bytes([octet]))
        assert raw.message(commands.Basic.GetOk)[2] == b"slowly"


def test_methods_and_contents_of_channels_may_be_interleaved(amqp_broker):
    with amqp_raw.Connection(amqp_broker, channels=(1, 2)) as raw:
        queue = raw.call(commands.Queue.Declare(exclusive=True)).queue
        pieces = [
            [frame.marshal(commands.Basic.Publish(0, "", queue, False, False), channel)] + split(amqp_raw.content(text, channel, chunk=3))
            for channel, text in ((1, b"first message"), (2, b"second message"))
        ]
        for pair in zip(*pieces):
            raw.write(b"".join(pair))
        raw.call(commands.Basic.Qos(0, 1), 2)
        raw.send(commands.Basic.Consume(queue=queue, no_ack=True))
        raw.expect(commands.Basic.ConsumeOk)
        assert sorted(raw.message()[2] for _ in range(2)) == [b"first message", b"second message"]


def split(raw):
    frames = []
    while raw:
        end = 8 + struct.unpack_from(">I", raw, 3)[0]
        frames.append(raw[:end])
        raw = raw[end:]
    return frames


def test_clients_may_come_and_go(amqp, amqp_broker):
    keeper = amqp.channel()
    queue = amqp.queue(keeper)
    for number in range(30):
        channel = amqp.channel(confirms=True)
        channel.basic_publish("", queue, b"%d" % number)
        channel.connection.close()
    assert ready(keeper, queue) == 30


def test_connections_may_be_secured(certificates):
    address = f"amqps://127.0.0.1:0?cert={certificates.path('server')}&key={certificates.key('server')}"
    running = brokers.Martlet(listen=[address])
    try:
        running.port = running.ports["amqps"]
        context = ssl.create_default_context(cafile=certificates.authority)
        client = Client(running)
        channel = client.channel(client.connect(ssl_options=pika.SSLOptions(context, "localhost")))
        queue = client.queue(channel)
        channel.basic_publish("", queue, b"x" * 1_000_000)
        assert take(channel, queue) == [b"x" * 1_000_000]
        client.close()
    finally:
        assert running.stop()[0] == 0


def test_a_server_that_stops_says_so(amqp_broker):
    if amqp_broker.name == "rabbitmq":
        pytest.skip("its node is shared by all tests")
    running = amqp_brokers.Martlet()
    with amqp_raw.Connection(running) as raw:
        running.process.terminate()
        assert amqp_raw.said(raw.receive()[1]) == ("connection", 320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", 0, 0)
        raw.send(CONNECTION.CloseOk(), 0)
        raw.reads_to_end()
    assert running.process.wait(10) == 0
