"""Every refusal has RabbitMQ's code, whole text, class and method, and ends what it must and no more: martlet and rabbitmq-server alike."""

import socket
import struct

import pytest
from pamqp import commands, frame

import amqp_raw
from amqp_pika import ready, refused, take

BASIC, CHANNEL, CONFIRM, CONNECTION, EXCHANGE, QUEUE, TX = (
    commands.Basic, commands.Channel, commands.Confirm, commands.Connection, commands.Exchange, commands.Queue, commands.Tx)  # fmt: skip
DEFAULT = "ACCESS_REFUSED - operation not permitted on the default exchange"


def no_exchange(name):
    return f"NOT_FOUND - no exchange '{name}' in vhost '/'"


def no_queue(name):
    return f"NOT_FOUND - no queue '{name}' in vhost '/'"


def unlike(what, argument, received, current):
    return f"PRECONDITION_FAILED - inequivalent arg '{argument}' for {what} in vhost '/': received {received} but current is {current}"


# The method, and what its channel is closed with. @e is a direct exchange bound to @q, @i one with an alternate, @q a queue.
CHANNEL_ERRORS = [
    (EXCHANGE.Declare(exchange="@e", exchange_type="fanout"), 406, unlike("exchange '@e'", "type", "'fanout'", "'direct'")),
    (EXCHANGE.Declare(exchange="@e", exchange_type="direct", durable=True), 406, unlike("exchange '@e'", "durable", "'true'", "'false'")),
    (EXCHANGE.Declare(exchange="@e", exchange_type="direct", auto_delete=True), 406, unlike("exchange '@e'", "auto_delete", "'true'", "'false'")),
    (EXCHANGE.Declare(exchange="@e", exchange_type="direct", internal=True), 406, unlike("exchange '@e'", "internal", "'true'", "'false'")),
    (EXCHANGE.Declare(exchange="@e", exchange_type="topic", durable=True, internal=True), 406, unlike("exchange '@e'", "type", "'topic'", "'direct'")),
    (EXCHANGE.Declare(exchange="@e", exchange_type="direct", arguments={"alternate-exchange": "a"}), 406,
     unlike("exchange '@e'", "alternate-exchange", "the value 'a' of type 'longstr'", "none")),
    (EXCHANGE.Declare(exchange="@i", exchange_type="direct", arguments={"alternate-exchange": "a"}), 406,
     unlike("exchange '@i'", "alternate-exchange", "'a'", "'amq.fanout'")),
    (EXCHANGE.Declare(exchange="@i", exchange_type="direct"), 406,
     unlike("exchange '@i'", "alternate-exchange", "none", "the value 'amq.fanout' of type 'longstr'")),
    (EXCHANGE.Declare(exchange="amq.direct", exchange_type="direct"), 406, unlike("exchange 'amq.direct'", "durable", "'false'", "'true'")),
    (EXCHANGE.Declare(exchange="absent", exchange_type="direct", passive=True), 404, no_exchange("absent")),
    (EXCHANGE.Declare(exchange="amq.mine", exchange_type="direct"), 403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"),
    (EXCHANGE.Declare(exchange="amq.mine", exchange_type="direct", passive=True), 404, no_exchange("amq.mine")),
    (EXCHANGE.Declare(exchange="", exchange_type="direct"), 403, DEFAULT),
    (EXCHANGE.Declare(exchange="", exchange_type="direct", passive=True), 403, DEFAULT),
    (EXCHANGE.Delete(exchange=""), 403, DEFAULT),
    (EXCHANGE.Delete(exchange="amq.topic"), 403, "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed"),
    (EXCHANGE.Delete(exchange="@e", if_unused=True), 406, "PRECONDITION_FAILED - exchange '@e' in vhost '/' in use"),
    (EXCHANGE.Bind(destination="@e", source="absent", routing_key="k"), 404, no_exchange("absent")),
    (EXCHANGE.Bind(destination="absent", source="@e", routing_key="k"), 404, no_exchange("absent")),
    (EXCHANGE.Bind(destination="@e", source="", routing_key="k"), 403, DEFAULT),
    (EXCHANGE.Bind(destination="", source="@e", routing_key="k"), 403, DEFAULT),
    (EXCHANGE.Unbind(destination="@e", source="", routing_key="k"), 403, DEFAULT),
    (QUEUE.Declare(queue="@q", durable=True), 406, unlike("queue '@q'", "durable", "'true'", "'false'")),
    (QUEUE.Declare(queue="@q", auto_delete=True), 406, unlike("queue '@q'", "auto_delete", "'true'", "'false'")),
    (QUEUE.Declare(queue="absent", passive=True), 404, no_queue("absent")),
    (QUEUE.Declare(queue="amq.mine"), 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"),
    (QUEUE.Declare(queue="amq.mine", passive=True), 404, no_queue("amq.mine")),
    (QUEUE.Bind(queue="absent", exchange="@e", routing_key="k"), 404, no_queue("absent")),
    (QUEUE.Bind(queue="@q", exchange="absent", routing_key="k"), 404, no_exchange("absent")),
    (QUEUE.Bind(queue="absent", exchange="missing", routing_key="k"), 404, no_exchange("missing")),
    (QUEUE.Bind(queue="@q", exchange="", routing_key="@q"), 403, DEFAULT),
    (QUEUE.Bind(queue="", exchange="@e", routing_key="k"), 404, "NOT_FOUND - no previously declared queue"),
    (QUEUE.Unbind(queue="@q", exchange="", routing_key="@q"), 403, DEFAULT),
    (QUEUE.Purge(queue="absent"), 404, no_queue("absent")),
    (QUEUE.Purge(queue=""), 404, "NOT_FOUND - no previously declared queue"),
    (QUEUE.Delete(queue="@q", if_empty=True), 406, "PRECONDITION_FAILED - queue '@q' in vhost '/' not empty"),
    (BASIC.Consume(queue="absent"), 404, no_queue("absent")),
    (BASIC.Consume(queue=""), 404, "NOT_FOUND - no previously declared queue"),
    (BASIC.Get(queue="absent"), 404, no_queue("absent")),
    (BASIC.Get(queue=""), 404, "NOT_FOUND - no previously declared queue"),
    (BASIC.Ack(7), 406, "PRECONDITION_FAILED - unknown delivery tag 7"),
    (BASIC.Ack(7, True), 406, "PRECONDITION_FAILED - unknown delivery tag 7"),
    (BASIC.Ack(0), 406, "PRECONDITION_FAILED - unknown delivery tag 0"),
    (BASIC.Nack(7), 406, "PRECONDITION_FAILED - unknown delivery tag 7"),
    (BASIC.Reject(1 << 40), 406, f"PRECONDITION_FAILED - unknown delivery tag {1 << 40}"),
    (TX.Commit(), 406, "PRECONDITION_FAILED - channel is not transactional"),
    (TX.Rollback(), 406, "PRECONDITION_FAILED - channel is not transactional"),
]  # fmt: skip

CONNECTION_ERRORS = [
    (EXCHANGE.Declare(exchange="@e.2", exchange_type="curious"), 503, "COMMAND_INVALID - unknown exchange type 'curious'"),
    (CHANNEL.Open(), 504, "CHANNEL_ERROR - second 'channel.open' seen"),
    (CHANNEL.Flow(False), 540, "NOT_IMPLEMENTED - active=false"),
    (BASIC.Qos(1, 0), 540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)"),
    (BASIC.Recover(False), 540, "NOT_IMPLEMENTED - requeue=false"),
]


def in_words(command):
    fields = ", ".join(f"{key}={value!r}" for key, value in dict(command).items() if value not in (None, False, 0, {}) and key != "ticket")
    return f"{command.name}({fields})"


def filled(command, names):
    return type(command)(**{key: named(value, names) if isinstance(value, str) else value for key, value in dict(command).items()})


def named(text, names):
    for short, name in names.items():
        text = text.replace(f"@{short}", name)
    return text


@pytest.fixture
def names(amqp):
    """The exchanges and the queue that the tables name."""
    channel = amqp.channel(confirms=True)
    made = {
        "e": amqp.exchange(channel, auto_delete=False),
        "i": amqp.exchange(channel, auto_delete=False, arguments={"alternate-exchange": "amq.fanout"}),
        "q": amqp.queue(channel, exclusive=False),
    }
    channel.queue_bind(made["q"], made["e"], "k")
    channel.basic_publish("", made["q"], b"m")
    yield made
    channel = amqp.channel()
    channel.exchange_delete(made["e"])
    channel.exchange_delete(made["i"])
    channel.queue_delete(made["q"])


@pytest.mark.parametrize("command, code, text", CHANNEL_ERRORS, ids=lambda value: in_words(value) if isinstance(value, frame.base.Frame) else "")
def test_a_channel_is_closed_by(amqp_broker, names, command, code, text):
    with amqp_raw.Connection(amqp_broker, channels=(1, 2)) as raw:
        closed = amqp_raw.said(raw.call(filled(command, names)))
        assert closed == ("channel", code, named(text, names), command.index >> 16, command.index & 0xFFFF)
        raw.send(CHANNEL.CloseOk())
        assert isinstance(raw.call(BASIC.Qos(0, 1), 2), BASIC.QosOk), "the other channel goes on"
        assert isinstance(raw.call(CHANNEL.Open()), CHANNEL.OpenOk), "the number is free"


@pytest.mark.parametrize("command, code, text", CONNECTION_ERRORS, ids=lambda value: in_words(value) if isinstance(value, frame.base.Frame) else "")
def test_a_connection_is_closed_by(amqp, amqp_broker, names, command, code, text):
    other = amqp.channel()
    with amqp_raw.Connection(amqp_broker, channels=(1, 2)) as raw:
        closed = amqp_raw.said(raw.call(filled(command, names)))
        assert closed == ("connection", code, named(text, names), command.index >> 16, command.index & 0xFFFF)
        raw.send(CONNECTION.CloseOk(), 0)
        assert raw.reads_to_end()[0] == b""
    assert ready(other, names["q"]) == 1, "other connections go on"


@pytest.mark.parametrize("first, second, text", [
    (TX.Select(), CONFIRM.Select(), "PRECONDITION_FAILED - cannot switch from tx to confirm mode"),
    (CONFIRM.Select(), TX.Select(), "PRECONDITION_FAILED - cannot switch from confirm to tx mode"),
], ids=["tx", "confirm"])  # fmt: skip
def test_a_channel_has_transactions_or_confirms(amqp_broker, first, second, text):
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.call(first)
        raw.call(first)
        assert amqp_raw.said(raw.call(second)) == ("channel", 406, text, second.index >> 16, second.index & 0xFFFF)


@pytest.mark.parametrize("transactional", [False, True])
def test_publishing_to_no_exchange_closes_the_channel(amqp_broker, transactional):
    with amqp_raw.Connection(amqp_broker) as raw:
        if transactional:
            raw.call(TX.Select())
        raw.publish(b"m", "absent", "k")
        assert amqp_raw.said(raw.receive()[1]) == ("channel", 404, "NOT_FOUND - no exchange 'absent' in vhost '/'", 60, 40)


def test_after_its_close_a_channel_hears_nothing_until_close_ok(amqp_broker, names):
    with amqp_raw.Connection(amqp_broker) as raw:
        closed = raw.call(QUEUE.Declare(queue="absent", passive=True))
        assert amqp_raw.said(closed)[1] == 404
        for _ in range(3):
            raw.publish(b"late", key=names["q"])
            raw.send(QUEUE.Purge(queue=names["q"]))
        raw.send(CHANNEL.CloseOk())
        raw.call(CHANNEL.Open())
        assert raw.call(QUEUE.Declare(queue=names["q"], passive=True)).message_count == 1


def test_a_channels_error_leaves_its_siblings_alone(amqp, names):
    connection = amqp.connect()
    channels = [connection.channel() for _ in range(5)]
    consumer_tags = [channel.basic_consume(names["q"], print) for channel in channels[:1]]
    for at, channel in enumerate(channels[1:4]):
        with refused(404, f"NOT_FOUND - no queue 'absent{at}' in vhost '/'"):
            channel.queue_declare(f"absent{at}", passive=True)
    assert channels[0].is_open and channels[4].is_open and consumer_tags
    queue = amqp.queue(channels[4])
    channels[4].basic_publish("", queue, b"m")
    assert take(channels[4], queue) == [b"m"]
    assert amqp.queue(connection.channel())


publish = frame.marshal(BASIC.Publish(0, "", "q", False, False), 1)


def content_header(size=1, kind=60, flags=0, rest=b""):
    return amqp_raw.frame_bytes(amqp_raw.HEADER, 1, struct.pack(">HHQH", kind, 0, size, flags) + rest)


def method(kind, number, rest=b""):
    return amqp_raw.frame_bytes(amqp_raw.METHOD, 1, struct.pack(">HH", kind, number) + rest)


def body_frame(body=b"abc"):
    return amqp_raw.frame_bytes(amqp_raw.BODY, 1, body)


# What is sent on a connection with channel 1 open, and the codes that are right. RabbitMQ says 501 of what is wrong within a frame, where the
# specification has 502, and ends some without a word (0); its texts here are Erlang's terms, so that only the others are asked for.
WITHIN = (501, 502, 541, 0)
BAD_FRAMES = {
    "a method on a channel that is not open": (frame.marshal(QUEUE.Declare(queue="q"), 5), (504,), "CHANNEL_ERROR - expected 'channel.open'"),
    "a queue method on channel 0": (frame.marshal(QUEUE.Declare(queue="q"), 0), (503, 504), ""),
    "a connection method on channel 1": (frame.marshal(CONNECTION.Close(200, "bye", 0, 0), 1), (503,), "COMMAND_INVALID - "),
    "a method that only servers send": (
        frame.marshal(QUEUE.DeclareOk(queue="q", message_count=0, consumer_count=0), 1), (503,), "COMMAND_INVALID - "),
    "a header without a method": (content_header(), (505,), "UNEXPECTED_FRAME - expected method frame, got non method frame instead"),
    "a body without a method": (body_frame(), (505,), "UNEXPECTED_FRAME - expected method frame, got non method frame instead"),
    "a method for a header": (publish + method(50, 10), (505,), "UNEXPECTED_FRAME - expected content header"),
    "a body for a header": (publish + body_frame(), (505,), "UNEXPECTED_FRAME - expected content header"),
    "a header of another class": (publish + content_header(kind=50), (505,), "UNEXPECTED_FRAME - "),
    "a method for a body": (
        publish + content_header(10) + frame.marshal(QUEUE.Declare(queue="q"), 1), (505,),
        "UNEXPECTED_FRAME - expected content body, got non content body frame instead"),
    "a wrong frame end": (amqp_raw.frame_bytes(amqp_raw.METHOD, 1, struct.pack(">HH", 20, 10) + b"\0", b"\0"), (501,), ""),
    "a frame of no known type": (amqp_raw.frame_bytes(9, 1, b"abc"), (501,), ""),
    "a frame larger than agreed": (struct.pack(">BHI", amqp_raw.BODY, 1, 1 << 20), (501,), ""),
    "a frame of four gigabytes": (struct.pack(">BHI", amqp_raw.BODY, 1, 0xFFFFFFFF), (501,), ""),
    "an empty method": (amqp_raw.frame_bytes(amqp_raw.METHOD, 1, b""), WITHIN, ""),
    "a method cut short": (method(50, 10), WITHIN, ""),
    "a method with more than its arguments": (method(50, 10, b"\0\0\1q\0" + struct.pack(">I", 0) + b"more"), WITHIN, ""),
    "a table longer than its method": (method(50, 10, b"\0\0\1q\0" + struct.pack(">I", 500) + b"\1at\1"), WITHIN, ""),
    "a table with a field of no known type": (method(50, 10, b"\0\0\1q\0" + struct.pack(">I", 5) + b"\1aZxx"), WITHIN, ""),
    "properties cut short": (publish + content_header(flags=0x8000, rest=b"\xffab") + body_frame(b"m"), WITHIN, ""),
    "a class that does not exist": (method(99, 10), (503, 540, 0), ""),
    "a method that does not exist": (method(50, 99), (503, 540, 0), ""),
    "a heartbeat on a channel": (amqp_raw.frame_bytes(amqp_raw.HEARTBEAT, 1, b""), (501, 503, 504, 505), ""),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", (501,), ""),
}  # fmt: skip
NAMES = {
    501: "FRAME_ERROR", 502: "SYNTAX_ERROR", 503: "COMMAND_INVALID", 504: "CHANNEL_ERROR", 505: "UNEXPECTED_FRAME", 540: "NOT_IMPLEMENTED", 541: "INTERNAL_ERROR",
}  # fmt: skip


@pytest.mark.parametrize("title", BAD_FRAMES)
def test_its_connection_alone_is_ended_by(amqp, amqp_broker, title):
    sent, codes, text = BAD_FRAMES[title]
    other = amqp.channel()
    queue = amqp.queue(other)
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.write(sent)
        try:
            closed = raw.receive()[1]
        except (EOFError, ConnectionError):
            assert 0 in codes, "closed without a word"
        else:
            assert isinstance(closed, CONNECTION.Close) and closed.reply_code in codes, amqp_raw.said(closed)
            assert closed.reply_text.startswith(text or NAMES[closed.reply_code]), amqp_raw.said(closed)
    other.basic_publish("", queue, b"m")
    assert take(other, queue) == [b"m"]


def test_more_body_than_announced_ends_the_connection(amqp_broker, amqp):
    if amqp_broker.name == "rabbitmq":
        pytest.skip("it waits for ever")
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.write(publish + content_header(2) + body_frame() + body_frame())
        got = amqp_raw.said(raw.receive()[1])
        assert got[:2] in (("connection", 505), ("connection", 501)), got


def test_a_client_that_leaves_in_the_middle_of_anything_harms_nobody(amqp, amqp_broker):
    other = amqp.channel()
    queue = amqp.queue(other)
    whole = publish + amqp_raw.content(b"x" * 5000, chunk=1000)
    for cut in (1, 6, 7, 8, 20, len(publish), len(publish) + 5, len(whole) - 1):
        with amqp_raw.Connection(amqp_broker) as raw:
            raw.write(whole[:cut])
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    other.basic_publish("", queue, b"m")
    assert take(other, queue) == [b"m"]
