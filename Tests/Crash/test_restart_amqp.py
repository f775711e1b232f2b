"""What AMQP promises to be there after a restart is there, and nothing else."""

import time

import pika
import pytest

import amqp_raw
from amqp_pika import Consumer, ready, take, wait_ready
from pamqp import commands

PERSISTENT = pika.BasicProperties(delivery_mode=2)


@pytest.fixture
def channel(amqp):
    return amqp.channel(confirms=True)


def declare(channel, *queues, **more):
    for queue in queues:
        channel.queue_declare(queue, durable=True, **more)


def publish(channel, key, *bodies, exchange="", properties=PERSISTENT):
    for body in bodies:
        channel.basic_publish(exchange, key, body, properties, mandatory=True)


def exists(amqp, declare):
    """Whether a passive declaration finds it."""
    try:
        declare(amqp.channel())
        return True
    except pika.exceptions.ChannelClosedByBroker as closed:
        assert closed.reply_code == 404
        return False


def has_queue(amqp, name):
    return exists(amqp, lambda channel: channel.queue_declare(name, passive=True))


def has_exchange(amqp, name):
    return exists(amqp, lambda channel: channel.exchange_declare(name, passive=True))


def test_confirmed_messages_are_there_in_their_order_with_all_they_had(server, amqp, channel):
    declare(channel, "q")
    properties = pika.BasicProperties(
        delivery_mode=2, content_type="a/b", content_encoding="c", headers={"n": 5, "t": {"deep": [1, "x", None]}}, priority=3, correlation_id="id", reply_to="r",
        message_id="m", timestamp=1700000000, type="t", app_id="a")  # fmt: skip
    publish(channel, "q", *(b"%d" % number for number in range(300)))
    publish(channel, "q", b"x" * 300_000, b"", properties=properties)
    server.again()
    channel = amqp.channel()
    assert ready(channel, "q") == 302
    assert take(channel, "q", 300) == [b"%d" % number for number in range(300)]
    for body in (b"x" * 300_000, b""):
        method, had, got = channel.basic_get("q", auto_ack=True)
        assert (method.exchange, method.routing_key, got) == ("", "q", body)
        assert vars(had) == vars(properties)


def test_transient_messages_are_gone(server, amqp, channel):
    declare(channel, "q")
    for number in range(20):
        publish(channel, "q", b"%d" % number, properties=pika.BasicProperties(delivery_mode=1 + number % 2))
    publish(channel, "q", b"last")
    server.again()
    assert take(amqp.channel(), "q") == [b"%d" % number for number in range(1, 20, 2)] + [b"last"]


def test_durable_queues_and_exchanges_are_there_and_others_are_not(server, amqp, channel):
    for durable in (True, False):
        channel.queue_declare(f"queue-{durable}", durable=durable)
        channel.queue_declare(f"exclusive-{durable}", durable=durable, exclusive=True)
        for kind in ("direct", "fanout", "topic", "headers"):
            channel.exchange_declare(f"{kind}-{durable}", kind, durable=durable)
    publish(channel, "queue-True", b"settles")
    server.again()
    assert has_queue(amqp, "queue-True") and not has_queue(amqp, "queue-False")
    assert not has_queue(amqp, "exclusive-True") and not has_queue(amqp, "exclusive-False")
    for kind in ("direct", "fanout", "topic", "headers"):
        assert has_exchange(amqp, f"{kind}-True") and not has_exchange(amqp, f"{kind}-False")
        amqp.channel().exchange_declare(f"{kind}-True", kind, durable=True)
    amqp.channel().queue_declare("queue-True", durable=True)


def test_their_arguments_and_flags_are_there(server, amqp, channel):
    channel.exchange_declare("other", "fanout", durable=True)
    channel.exchange_declare("e", "direct", durable=True, internal=True, arguments={"alternate-exchange": "other"})
    declare(channel, "q", arguments={"x-expires": 600_000})
    publish(channel, "q", b"settles")
    server.again()
    amqp.channel().exchange_declare("e", "direct", durable=True, internal=True, arguments={"alternate-exchange": "other"})
    declare(amqp.channel(), "q", arguments={"x-expires": 600_000})
    for different in ({"internal": False, "arguments": {"alternate-exchange": "other"}}, {"internal": True}):
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
            amqp.channel().exchange_declare("e", "direct", durable=True, **different)
        assert caught.value.reply_code == 406
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        declare(amqp.channel(), "q", arguments={"x-expires": 1000})
    assert caught.value.reply_code == 406


def test_bindings_route_as_before(server, amqp, channel):
    declare(channel, "direct", "topic", "headers", "through", "other")
    for kind in ("direct", "topic", "headers"):
        arguments = {"alternate-exchange": "e.other"} if kind == "direct" else None
        channel.exchange_declare(f"e.{kind}", kind, durable=True, arguments=arguments)
    channel.exchange_declare("e.other", "fanout", durable=True)
    channel.queue_bind("direct", "e.direct", "red")
    channel.queue_bind("direct", "e.direct", "green")
    channel.queue_bind("direct", "amq.direct", "blue")
    channel.queue_bind("topic", "e.topic", "a.*.#")
    channel.queue_bind("headers", "e.headers", "", {"x-match": "any", "a": 1, "b": "two"})
    channel.queue_bind("other", "e.other")
    channel.queue_bind("through", "e.headers", "", {"x-match": "all", "a": 1, "b": "two"})
    channel.exchange_bind("e.topic", "e.direct", "red")
    publish(channel, "direct", b"settles")
    server.again()
    channel = amqp.channel(confirms=True)
    assert take(channel, "direct") == [b"settles"]
    sent = [("e.direct", "red"), ("e.direct", "green"), ("e.direct", "none"), ("amq.direct", "blue"), ("e.topic", "a.b.c"), ("e.topic", "b.a")]
    for exchange, key in sent:
        channel.basic_publish(exchange, key, f"{exchange} {key}".encode(), PERSISTENT)
    for headers in ({"a": 1}, {"a": 1, "b": "two"}, {"c": 1}):
        channel.basic_publish("e.headers", "", repr(headers).encode(), pika.BasicProperties(headers=headers))
    assert take(channel, "direct") == [b"e.direct red", b"e.direct green", b"amq.direct blue"]
    assert take(channel, "topic") == [b"e.topic a.b.c"]
    assert take(channel, "other") == [b"e.direct none"]
    assert take(channel, "headers") == [b"{'a': 1}", b"{'a': 1, 'b': 'two'}"]
    assert take(channel, "through") == [b"{'a': 1, 'b': 'two'}"]


def test_exchanges_bound_to_exchanges_route_through(server, amqp, channel):
    declare(channel, "q")
    for name in ("first", "second", "third"):
        channel.exchange_declare(name, "topic", durable=True)
    channel.exchange_bind("second", "first", "a.#")
    channel.exchange_bind("third", "second", "#.b")
    channel.queue_bind("q", "third", "*.*")
    publish(channel, "q", b"settles")
    server.again()
    channel = amqp.channel(confirms=True)
    assert take(channel, "q") == [b"settles"]
    for key in ("a.b", "a.c", "b.b", "a.x.b"):
        channel.basic_publish("first", key, key.encode(), PERSISTENT)
    assert take(channel, "q") == [b"a.b"]


def test_what_was_deleted_unbound_or_purged_stays_so(server, amqp, channel):
    declare(channel, "kept", "deleted", "purged")
    channel.exchange_declare("gone", "fanout", durable=True)
    channel.queue_bind("kept", "gone")
    channel.queue_bind("kept", "amq.direct", "a")
    channel.queue_bind("kept", "amq.direct", "b")
    channel.queue_bind("deleted", "amq.direct", "b")
    for queue in ("kept", "deleted", "purged"):
        publish(channel, queue, b"before")
    server.again()
    channel = amqp.channel(confirms=True)
    channel.queue_unbind("kept", "amq.direct", "a")
    channel.queue_delete("deleted")
    channel.queue_purge("purged")
    channel.exchange_delete("gone")
    publish(channel, "kept", b"settles")
    server.again()
    assert not has_queue(amqp, "deleted") and not has_exchange(amqp, "gone")
    channel = amqp.channel(confirms=True)
    channel.basic_publish("amq.direct", "b", b"b", PERSISTENT)
    with pytest.raises(pika.exceptions.UnroutableError):
        publish(channel, "a", b"a", exchange="amq.direct")
    assert take(channel, "kept") == [b"before", b"settles", b"b"]
    assert take(channel, "purged") == []
    declare(channel, "deleted")
    assert take(channel, "deleted") == []


def test_unacknowledged_messages_come_back_in_their_place_and_say_so(server, amqp, channel):
    declare(channel, "q")
    publish(channel, "q", *(b"%d" % number for number in range(10)))
    channel.basic_qos(prefetch_count=6)
    consumer = Consumer(channel, "q")
    consumer.wait(6)
    for index in (0, 2, 3):
        channel.basic_ack(consumer.tags[index])
    consumer.wait(9)
    server.again()
    channel = amqp.channel()
    again = Consumer(channel, "q")
    assert again.wait(7) == [b"1", b"4", b"5", b"6", b"7", b"8", b"9"]
    assert again.redelivered[:6] == [True] * 6, "they were delivered before"
    again.stays_at(7)


def test_what_was_acknowledged_does_not_come_back_though_it_was_on_the_disk(server, amqp, channel):
    declare(channel, "q")
    publish(channel, "q", *(b"%d" % number for number in range(100)))
    server.again()
    channel = amqp.channel()
    assert take(channel, "q", 50, auto_ack=True) == [b"%d" % number for number in range(50)]
    ready(channel, "q")
    server.again()
    channel = amqp.channel()
    assert take(channel, "q") == [b"%d" % number for number in range(50, 100)]
    ready(channel, "q")
    server.again()
    assert take(amqp.channel(), "q") == []


def test_a_message_in_several_queues_is_acknowledged_in_each(server, amqp, channel):
    queues = [f"q{number}" for number in range(5)]
    declare(channel, *queues)
    for queue in queues:
        channel.queue_bind(queue, "amq.fanout")
    publish(channel, "", *(b"%d" % number for number in range(10)), exchange="amq.fanout")
    for index, queue in enumerate(queues):
        assert len(take(channel, queue, index * 2)) == index * 2
    ready(channel, "q0")
    server.again()
    channel = amqp.channel()
    for index, queue in enumerate(queues):
        assert take(channel, queue) == [b"%d" % number for number in range(index * 2, 10)]


def test_a_committed_transaction_is_there_and_one_that_was_not_is_not(server, amqp, channel):
    declare(channel, "q", "done")
    publish(channel, "done", b"1", b"2")
    committed, open = amqp.channel(), amqp.channel()
    for one in (committed, open):
        one.tx_select()
    for number in range(50):
        committed.basic_publish("", "q", b"%d" % number, PERSISTENT)
        open.basic_publish("", "q", b"never", PERSISTENT)
    committed.basic_ack(committed.basic_get("done")[0].delivery_tag)
    open.basic_ack(open.basic_get("done")[0].delivery_tag)
    committed.tx_commit()
    ready(channel, "q")
    server.again()
    channel = amqp.channel()
    assert take(channel, "q") == [b"%d" % number for number in range(50)]
    method, _, body = channel.basic_get("done")
    assert (body, method.redelivered) == (b"2", True)


def test_a_transaction_that_the_end_interrupts_is_whole_or_not_there(server, amqp, channel):
    declare(channel, "q0", "q1", "settles")
    publish(channel, "settles", b"settles")
    open = amqp_raw.Connection(server.amqp)
    open.call(commands.Tx.Select())
    for number in range(40):
        open.publish(b"%d" % number, key=f"q{number % 2}", delivery_mode=2)
    open.send(commands.Tx.Commit())
    time.sleep(0.002)
    server.stop(settled=0)
    try:
        committed = isinstance(open.receive()[1], commands.Tx.CommitOk)
    except (OSError, EOFError):
        committed = False
    server.start()
    channel = amqp.channel()
    counts = [len(take(channel, "q0")), len(take(channel, "q1"))]
    assert counts in ([[20, 20]] if committed else [[20, 20], [0, 0]])


def test_a_connection_publishes_and_consumes_on_what_was_there(server, amqp, channel):
    """Names that recovery gives to queues must not meet those of later ones."""
    for round in range(4):
        declare(channel, *(f"q{index}" for index in range(round * 3 + 3)))
        for index in range(round * 3 + 3):
            publish(channel, f"q{index}", b"%d" % round)
        server.again()
        channel = amqp.channel(confirms=True)
    for index in range(12):
        assert take(channel, f"q{index}") == [b"%d" % round for round in range(index // 3, 4)]


def test_a_queue_nobody_used_for_too_long_goes_after_a_restart_too(server, amqp, channel):
    declare(channel, "q", arguments={"x-expires": 1000})
    publish(channel, "q", b"settles")
    server.again()
    deadline = time.monotonic() + 5
    while has_queue(amqp, "q"):
        assert time.monotonic() < deadline
        time.sleep(1.5)  # asking is using it


def test_eight_restarts_leave_what_they_found(server, amqp, channel):
    if server.amqp.name == "rabbitmq":
        pytest.skip("takes minutes")
    declare(channel, "q")
    for number in range(8):
        publish(channel, "q", b"%d" % number)
        server.again(loops=(1, 2, 4)[number % 3])
        channel = amqp.channel(confirms=True)
        wait_ready(channel, "q", number + 1)
    assert take(channel, "q") == [b"%d" % number for number in range(8)]
