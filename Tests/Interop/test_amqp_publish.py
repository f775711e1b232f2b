"""Publishing: returns, confirms, transactions, bodies and properties: the same tests against martlet and rabbitmq-server."""

import struct

import pika
import pytest
from pamqp import commands, header

import amqp_raw
from amqp_pika import Consumer, ended, ready, refused, take, wait, wait_ready


@pytest.fixture
def channel(amqp):
    return amqp.channel()


def heard(channel):
    """Returns and confirms in the order they came."""
    events = []
    channel.add_on_return_callback(lambda _, method, properties, body: events.append((method.reply_code, method.reply_text, body)))
    return events


def test_a_mandatory_message_that_no_queue_takes_comes_back(amqp, channel):
    exchange = amqp.exchange(channel, auto_delete=False)
    back = []
    channel.add_on_return_callback(lambda _, *returned: back.append(returned))
    properties = pika.BasicProperties(message_id="17", headers={"n": 5}, delivery_mode=2)
    channel.basic_publish(exchange, "nowhere", b"body", properties, mandatory=True)
    channel.basic_publish(exchange, "nowhere", b"dropped", properties)
    wait(channel, lambda: back)
    method, got, body = back[0]
    assert (method.reply_code, method.reply_text, method.exchange, method.routing_key) == (312, "NO_ROUTE", exchange, "nowhere")
    assert (got.message_id, got.headers, got.delivery_mode, body) == ("17", {"n": 5}, 2, b"body")
    channel.exchange_delete(exchange)
    assert len(back) == 1


def test_a_mandatory_message_that_a_queue_takes_stays(amqp, channel):
    queue = amqp.queue(channel)
    back = heard(channel)
    channel.basic_publish("", queue, b"m", mandatory=True)
    assert take(channel, queue) == [b"m"] and back == []


def test_immediate_is_not_implemented(amqp, amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.send(commands.Basic.Publish(0, "", "q", False, True))
        raw.write(amqp_raw.content(b"m"))
        assert amqp_raw.said(raw.receive()[1]) == ("connection", 540, "NOT_IMPLEMENTED - immediate=true", 60, 40)


def test_confirms_count_from_one_and_name_each_message_once(amqp, channel, amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        queue = raw.call(commands.Queue.Declare(exclusive=True)).queue
        raw.publish(b"before", key=queue)
        assert isinstance(raw.call(commands.Confirm.Select()), commands.Confirm.SelectOk)
        for _ in range(3):
            raw.publish(b"one by one", key=queue)
            raw.expect(commands.Basic.Ack)
        for number in range(500):
            raw.publish(b"%d" % number, key=queue if number % 2 else "nowhere")
        tags = 3
        waiting = set(range(4, 504))
        while waiting:
            got = raw.expect(commands.Basic.Ack)
            named = {tag for tag in waiting if tag <= got.delivery_tag} if got.multiple else {got.delivery_tag}
            assert named and named <= waiting, f"{got.delivery_tag} (multiple {got.multiple}) was confirmed before"
            waiting -= named
            tags += len(named)
        assert tags == 503
        raw.publish(b"last", key=queue)
        got = raw.expect(commands.Basic.Ack)
        assert got.delivery_tag == 504


@pytest.mark.parametrize("durable", [False, True], ids=["transient", "persistent"])
def test_a_confirmed_message_is_in_its_queue(amqp, channel, durable):
    publisher = amqp.channel(confirms=True)
    queue = amqp.queue(channel, durable=durable)
    for number in range(20):
        publisher.basic_publish("", queue, b"m", pika.BasicProperties(delivery_mode=2 if durable else 1))
        assert ready(channel, queue) == number + 1


def test_what_comes_back_comes_before_its_confirm(amqp, amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.call(commands.Confirm.Select())
        raw.publish(b"body", key="nowhere", mandatory=True)
        method, _, body = raw.message(commands.Basic.Return)
        assert (method.reply_code, method.reply_text, body) == (312, "NO_ROUTE", b"body")
        assert raw.expect(commands.Basic.Ack).delivery_tag == 1


def test_confirm_select_may_be_repeated_and_go_unanswered(amqp, amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.send(commands.Confirm.Select(True))
        raw.publish(b"a", key="nowhere")
        assert raw.expect(commands.Basic.Ack).delivery_tag == 1
        raw.call(commands.Confirm.Select())
        raw.publish(b"b", key="nowhere")
        assert raw.expect(commands.Basic.Ack).delivery_tag == 2, "the count goes on"


def test_a_transaction_is_invisible_until_its_commit(amqp, channel):
    queue, other = amqp.queue(channel), amqp.channel(channel.connection)
    channel.tx_select()
    sent = [b"%d" % number for number in range(10)]
    for body in sent:
        channel.basic_publish("", queue, body)
    assert ready(other, queue) == 0
    channel.tx_commit()
    assert take(other, queue) == sent
    channel.basic_publish("", queue, b"next")
    assert ready(other, queue) == 0
    channel.tx_commit()
    assert take(other, queue) == [b"next"]


def test_a_rollback_drops_what_was_published(amqp, channel):
    queue = amqp.queue(channel)
    channel.tx_select()
    channel.basic_publish("", queue, b"dropped")
    channel.tx_rollback()
    channel.basic_publish("", queue, b"kept")
    channel.tx_commit()
    assert take(channel, queue) == [b"kept"]


@pytest.mark.parametrize("how", ["channel", "connection"])
def test_a_transaction_that_is_not_committed_is_dropped_with_its_channel(amqp, channel, how):
    publisher = amqp.channel()
    queue = amqp.queue(channel)
    publisher.tx_select()
    publisher.basic_publish("", queue, b"dropped")
    (publisher if how == "channel" else publisher.connection).close()
    assert take(channel, queue) == []


def test_acknowledgements_are_part_of_the_transaction(amqp, channel):
    queue = amqp.queue(channel)
    for body in (b"a", b"b", b"c"):
        channel.basic_publish("", queue, body)
    other = amqp.channel(channel.connection)
    other.tx_select()
    tags = [other.basic_get(queue)[0].delivery_tag for _ in range(3)]
    other.basic_ack(tags[0])
    other.tx_commit()
    other.basic_ack(tags[1])
    other.tx_rollback()
    other.basic_ack(tags[1])
    other.tx_commit()
    other.basic_ack(tags[2])
    other.close()
    assert take(channel, queue) == [b"c"], "acknowledged, but not committed"


def test_a_rejection_takes_effect_at_the_commit(amqp, channel):
    queue = amqp.queue(channel)
    channel.basic_publish("", queue, b"a")
    other = amqp.channel(channel.connection)
    other.tx_select()
    tag = other.basic_get(queue)[0].delivery_tag
    other.basic_reject(tag, requeue=True)
    assert ready(channel, queue) == 0
    other.tx_commit()
    wait_ready(channel, queue, 1)


def test_a_transaction_returns_what_cannot_be_routed_at_the_commit(amqp, amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.call(commands.Tx.Select())
        raw.publish(b"body", key="nowhere", mandatory=True)
        raw.send(commands.Tx.Commit())
        assert raw.message(commands.Basic.Return)[2] == b"body"
        raw.expect(commands.Tx.CommitOk)


@pytest.mark.parametrize("size", [0, 1, 4096 - 8, 4096 - 7, 131072 - 8, 131072 - 7, 1 << 20, 16 << 20])
def test_a_body_of_any_size_arrives_unchanged(amqp, channel, size):
    queue = amqp.queue(channel)
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    consumer = Consumer(channel, queue, auto_ack=True)
    channel.basic_publish("", queue, body)
    assert consumer.wait(1, 30)[0] == body


def test_frames_keep_to_the_size_that_was_agreed(amqp, channel, amqp_broker):
    queue, body = amqp.queue(channel, exclusive=False), bytes(range(256)) * 64
    channel.basic_publish("", queue, body)
    wait_ready(channel, queue, 1)
    with amqp_raw.Connection(amqp_broker, frame_max=4096) as raw:
        raw.send(commands.Basic.Get(0, queue, True))
        got, sizes = b"", []
        while len(got) < len(body):
            head = raw.exactly(7)
            kind, _, size = struct.unpack(">BHI", head)
            payload = raw.exactly(size + 1)[:-1]
            sizes.append(size + 8)
            got += payload if kind == amqp_raw.BODY else b""
        assert got == body and max(sizes) <= 4096 and len(sizes) <= 2 + -(-len(body) // (4096 - 8)), sizes
    channel.queue_delete(queue)


# Every type of a field, in the octets of the wire: a name and a value.
FIELDS = {
    "boolean": b"t\1", "int8": b"b\xff", "uint8": b"B\xff", "int16": b"s\x80\0", "uint16": b"u\xff\xff", "int32": b"I\x80\0\0\0", "uint32": b"i\xff\xff\xff\xff",
    "int64": b"l\x80" + bytes(7), "float": b"f\x3f\x80\0\0", "double": b"d\x3f\xf0" + bytes(6), "decimal": b"D\2\0\0\1\x3a", "text": b"S\0\0\0\3\xc3\xa91",
    "empty": b"S\0\0\0\0", "octets": b"x\0\0\0\3\0\xff\1", "time": b"T\0\0\0\0\x65\0\0\0", "void": b"V", "array": b"A\0\0\0\7I\0\0\0\1t\0", "bare": b"A\0\0\0\0",
    "table": b"F\0\0\0\x0b\1aF\0\0\0\4\1bt\1", "hollow": b"F\0\0\0\0",
}  # fmt: skip


def test_headers_of_every_type_arrive_unchanged(amqp, amqp_broker):
    table = b"".join(bytes([len(name)]) + name.encode() + value for name, value in FIELDS.items())
    properties = struct.pack(">HI", 1 << 13, len(table)) + table
    assert carried(amqp_broker, properties) == properties


PROPERTIES = [
    (15, b"\x0atext/plain"), (14, b"\4gzip"), (13, b"\0\0\0\4\1at\1"), (12, b"\2"), (11, b"\x09"), (10, b"\2id"), (9, b"\5reply"), (8, b"\5" + b"60000"),
    (7, b"\2m1"), (6, b"\0\0\0\0\x65\0\0\0"), (5, b"\4type"), (4, b"\5guest"), (3, b"\3app"), (2, b"\2c1"),
]  # fmt: skip


def carried(broker, properties):
    """Publishes a content header with these octets; those with which it is delivered."""
    with amqp_raw.Connection(broker) as raw:
        queue = raw.call(commands.Queue.Declare(exclusive=True)).queue
        raw.send(commands.Basic.Publish(0, "", queue, False, False))
        raw.write(amqp_raw.frame_bytes(amqp_raw.HEADER, 1, struct.pack(">HHQ", 60, 0, 1) + properties) + amqp_raw.frame_bytes(amqp_raw.BODY, 1, b"m"))
        raw.send(commands.Basic.Consume(queue=queue, no_ack=True))
        raw.expect(commands.Basic.ConsumeOk)
        raw.expect(commands.Basic.Deliver)
        kind, _, size = struct.unpack(">BHI", raw.exactly(7))
        assert kind == amqp_raw.HEADER
        return raw.exactly(size + 1)[12:-1]


@pytest.mark.parametrize("chosen", [*([bit] for bit, _ in PROPERTIES if bit != 8), [], [bit for bit, _ in PROPERTIES if bit != 8]], ids=lambda bits: f"bits{bits}")
def test_properties_arrive_unchanged_each_alone_and_all_together(amqp, amqp_broker, chosen):
    present = [(bit, value) for bit, value in PROPERTIES if bit in chosen]
    properties = struct.pack(">H", sum(1 << bit for bit, _ in present)) + b"".join(value for _, value in present)
    assert carried(amqp_broker, properties) == properties


def test_the_user_id_must_be_the_publishers(amqp, channel):
    queue = amqp.queue(channel)
    channel.basic_publish("", queue, b"m", pika.BasicProperties(user_id="guest"))
    assert channel.basic_get(queue, auto_ack=True)[1].user_id == "guest"
    with refused(406, "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"):
        channel.basic_publish("", queue, b"m", pika.BasicProperties(user_id="bob"))
        ready(channel, queue)


def test_publishing_to_an_exchange_that_is_gone_ends_the_channel_alone(amqp, channel):
    exchange, sibling = amqp.exchange(channel), amqp.channel(channel.connection)
    queue = amqp.queue(sibling)
    channel.exchange_delete(exchange)
    with refused(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        channel.basic_publish(exchange, "k", b"m")
        ready(channel, queue)
    sibling.basic_publish("", queue, b"m")
    assert take(sibling, queue) == [b"m"]


def test_messages_of_one_channel_keep_their_order_over_exchanges_and_sizes(amqp, channel):
    exchange, queue = amqp.exchange(channel, "topic"), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "a.#")
    sent = [b"%05d" % number + b"x" * (number * 7919 % 5000) for number in range(1000)]
    for number, body in enumerate(sent):
        channel.basic_publish(*((exchange, f"a.{number}") if number % 3 else ("", queue)), body)
    consumer = Consumer(channel, queue, auto_ack=True)
    assert consumer.wait(len(sent)) == sent


def test_what_is_published_is_delivered_at_once_on_the_same_channel(amqp, channel):
    queue = amqp.queue(channel)
    for number in range(50):
        channel.basic_publish("", queue, b"%d" % number)
        assert take(channel, queue) == [b"%d" % number]


def test_a_prefetch_size_is_not_implemented(amqp, channel):
    with ended(540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)"):
        channel.basic_qos(prefetch_size=1)


def test_a_consumer_hears_the_exchange_and_the_key_of_the_publisher(amqp, channel):
    exchange, queue = amqp.exchange(channel, "topic"), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "#")
    channel.basic_publish(exchange, "the.key", b"m")
    consumer = Consumer(channel, queue)
    consumer.wait(1)
    method = consumer.deliveries[0][0]
    assert (method.exchange, method.routing_key, method.redelivered, method.consumer_tag) == (exchange, "the.key", False, consumer.tag)
    channel.queue_purge(queue)


def test_a_header_frame_of_its_own_is_the_whole_of_an_empty_message(amqp, amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        queue = raw.call(commands.Queue.Declare(exclusive=True)).queue
        for _ in range(2):
            raw.publish(b"", key=queue)
        raw.send(commands.Basic.Consume(queue=queue, no_ack=True))
        raw.expect(commands.Basic.ConsumeOk)
        for _ in range(2):
            raw.expect(commands.Basic.Deliver)
            assert raw.expect(header.ContentHeader).body_size == 0
