"""Queues live and die as AMQP 0-9-1 and RabbitMQ say: the same tests against martlet and rabbitmq-server."""

import time

import pytest

from amqp_pika import Consumer, ready, refused, settle, take, wait, wait_ready

LOCKED = (
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{}' in vhost '/'. It could be originally declared on another connection "
    "or the exclusive property value does not match that of the original declaration."
)


@pytest.fixture
def channel(amqp):
    return amqp.channel(confirms=True)


def publish(channel, queue, *bodies):
    for body in bodies:
        channel.basic_publish("", queue, body)


def absent(amqp, queue):
    with refused(404, f"NOT_FOUND - no queue '{queue}' in vhost '/'"):
        amqp.channel().queue_declare(queue, passive=True)
    return True


def test_declaring_says_the_name_the_messages_and_the_consumers(amqp, channel):
    name = amqp.name()
    said = channel.queue_declare(name, exclusive=True).method
    assert (said.queue, said.message_count, said.consumer_count) == (name, 0, 0)
    publish(channel, name, b"a", b"b", b"c")
    said = channel.queue_declare(name, exclusive=True).method
    assert (said.message_count, said.consumer_count) == (3, 0)
    channel.basic_qos(prefetch_count=1)
    consumers = [Consumer(channel, name) for _ in range(2)]
    wait(channel, lambda: len(consumers[0].bodies + consumers[1].bodies) == 2)
    said = channel.queue_declare(name, passive=True).method
    assert (said.message_count, said.consumer_count) == (1, 2), "what is delivered and not acknowledged is not counted"


def test_a_queue_without_a_name_gets_one_of_the_server(amqp, channel):
    names = [channel.queue_declare("", exclusive=True).method.queue for _ in range(3)]
    assert len(set(names)) == 3 and all(name.startswith("amq.gen-") and len(name) == len("amq.gen-") + 22 for name in names), names
    channel.queue_declare(names[0], passive=True)
    with refused(403, f"ACCESS_REFUSED - queue name '{names[0]}' contains reserved prefix 'amq.*'"):
        channel.queue_declare(names[0], exclusive=True)


def test_an_empty_name_means_the_queue_last_declared_on_the_channel(amqp, channel):
    exchange, first = amqp.exchange(channel), amqp.queue(channel)
    last = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", exchange)
    channel.basic_publish(exchange, last, b"m")
    assert take(channel, "") == [b"m"] and take(channel, first) == []
    channel.queue_declare(first, exclusive=True)
    publish(channel, first, b"n", b"o")
    assert channel.queue_purge("").method.message_count == 2
    channel.queue_delete("")
    assert absent(amqp, first)


def test_a_queue_has_the_order_of_its_messages(amqp, channel):
    queue = amqp.queue(channel)
    sent = [b"%d" % number for number in range(300)]
    publish(channel, queue, *sent)
    assert take(channel, queue) == sent


def test_an_exclusive_queue_is_its_connections_alone(amqp, channel):
    queue = amqp.queue(channel)
    channel.connection.channel().queue_declare(queue, exclusive=True)
    for attempt in (
        lambda other: other.queue_declare(queue, exclusive=True),
        lambda other: other.queue_declare(queue),
        lambda other: other.queue_declare(queue, passive=True),
        lambda other: other.queue_bind(queue, "amq.direct", "k"),
        lambda other: other.queue_purge(queue),
        lambda other: other.queue_delete(queue),
        lambda other: other.basic_get(queue),
        lambda other: other.basic_consume(queue, print),
    ):
        with refused(405, LOCKED.format(queue)):
            attempt(amqp.channel())
    publish(amqp.channel(confirms=True), queue, b"anyone may publish")
    assert take(channel, queue) == [b"anyone may publish"]


def test_an_exclusive_queue_goes_with_its_connection_not_with_its_channel(amqp, channel):
    owner = amqp.channel()
    queue = amqp.queue(owner, durable=True)
    connection = owner.connection
    owner.close()
    connection.channel().queue_declare(queue, passive=True)
    connection.close()
    assert absent(amqp, queue)
    channel.queue_declare(queue, exclusive=True)


def test_a_queue_that_is_not_exclusive_cannot_become_it(amqp, channel):
    queue = amqp.queue(channel, exclusive=False)
    with refused(405, LOCKED.format(queue)):
        amqp.channel().queue_declare(queue, exclusive=True)
    channel.queue_delete(queue)


@pytest.mark.parametrize("gone", ["cancelled", "channel closed", "connection closed"])
def test_an_auto_delete_queue_goes_with_its_last_consumer(amqp, channel, gone):
    other, queue = amqp.channel(), amqp.name()
    channel.queue_declare(queue, auto_delete=True)
    first, second = Consumer(channel, queue), Consumer(other, queue)
    channel.basic_cancel(first.tag)
    channel.queue_declare(queue, passive=True)
    {"cancelled": lambda: other.basic_cancel(second.tag), "channel closed": other.close, "connection closed": other.connection.close}[gone]()
    assert absent(amqp, queue)


def test_an_auto_delete_queue_stays_while_it_has_had_no_consumer(amqp, channel):
    queue = amqp.name()
    maker = amqp.channel()
    maker.queue_declare(queue, auto_delete=True)
    publish(channel, queue, b"m")
    maker.connection.close()
    assert take(channel, queue) == [b"m"], "basic.get is no consumer"
    channel.queue_declare(queue, passive=True)
    channel.queue_delete(queue)


@pytest.mark.parametrize("flags", [{}, {"durable": True}, {"auto_delete": True}, {"durable": True, "auto_delete": True}], ids=str)
def test_declaring_with_the_same_arguments_changes_nothing(amqp, channel, flags):
    queue = amqp.name()
    channel.queue_declare(queue, **flags)
    publish(channel, queue, b"m")
    assert amqp.channel().queue_declare(queue, **flags).method.message_count == 1
    for argument in ("durable", "auto_delete"):
        now = flags.get(argument, False)
        text = f"received '{str(not now).lower()}' but current is '{str(now).lower()}'"
        with refused(406, f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/': {text}"):
            amqp.channel().queue_declare(queue, **{**flags, argument: not now})
    channel.queue_delete(queue)


def test_a_passive_declaration_only_asks(amqp, channel):
    queue = amqp.queue(channel)
    assert channel.queue_declare(queue, passive=True, durable=True, auto_delete=True).method.queue == queue
    with refused(404, "NOT_FOUND - no queue 'not there' in vhost '/'"):
        channel.queue_declare("not there", passive=True, durable=True)


def test_deleting_says_how_many_messages_went_and_may_be_repeated(amqp, channel):
    queue = amqp.queue(channel)
    publish(channel, queue, b"a", b"b")
    assert channel.queue_delete(queue).method.message_count == 2
    assert channel.queue_delete(queue).method.message_count == 0
    assert absent(amqp, queue)


def test_a_queue_is_deleted_only_if_unused_or_empty_where_that_is_asked(amqp, channel):
    queue = amqp.queue(channel, exclusive=False)
    publish(channel, queue, b"m")
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"):
        amqp.channel().queue_delete(queue, if_empty=True)
    consumer = Consumer(channel, queue)
    consumer.wait(1)
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"):
        amqp.channel().queue_delete(queue, if_unused=True)
    channel.basic_cancel(consumer.tag)
    channel.basic_ack(consumer.tags[0])
    channel.queue_delete(queue, if_unused=True, if_empty=True)
    assert absent(amqp, queue)


def test_a_deleted_queue_takes_its_bindings_along(amqp, channel):
    exchange, queue = amqp.exchange(channel, "fanout", auto_delete=False), amqp.queue(channel)
    channel.queue_bind(queue, exchange)
    channel.queue_delete(queue)
    channel.exchange_delete(exchange, if_unused=True)


def test_purging_says_how_many_messages_went_and_spares_those_that_are_out(amqp, channel):
    queue = amqp.queue(channel)
    publish(channel, queue, *(b"%d" % number for number in range(5)))
    (method, *_) = channel.basic_get(queue)
    assert channel.queue_purge(queue).method.message_count == 4 and ready(channel, queue) == 0
    channel.basic_nack(method.delivery_tag)
    wait_ready(channel, queue, 1)
    assert channel.queue_purge(queue).method.message_count == 1
    assert channel.queue_purge(queue).method.message_count == 0


def test_unbinding_ends_routing_and_asks_for_nothing_to_be_there(amqp, channel):
    exchange, queue = amqp.exchange(channel, auto_delete=False), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "k")
    channel.queue_unbind(queue, exchange, "k")
    channel.queue_unbind(queue, exchange, "k")
    channel.queue_unbind("not there", exchange, "k")
    channel.queue_unbind(queue, "not there", "k")
    channel.basic_publish(exchange, "k", b"m")
    assert take(channel, queue) == []
    channel.exchange_delete(exchange)


def test_arguments_that_mean_nothing_here_are_taken(amqp, channel):
    queue = amqp.queue(channel, arguments={"x-anything": "y", "another": 7, "x-queue-type": "classic"})
    publish(channel, queue, b"m")
    assert amqp.queue(channel, queue=queue, arguments={"x-anything": "else", "x-queue-type": "classic"}) == queue
    assert take(channel, queue) == [b"m"]


@pytest.mark.parametrize("argument, first, second", [("x-queue-mode", "lazy", "default"), ("x-queue-version", 1, 2)])
def test_arguments_that_change_nothing_here_must_still_be_the_same(amqp, channel, argument, first, second):
    queue, plain = amqp.queue(channel, arguments={argument: first}), amqp.queue(channel)
    kind = "longstr" if isinstance(first, str) else "signedint"
    for name, given, received, current in (
        (queue, {argument: second}, f"'{second}'", f"'{first}'"),
        (queue, {}, "none", f"the value '{first}' of type '{kind}'"),
        (plain, {argument: first}, f"the value '{first}' of type '{kind}'", "none"),
    ):
        text = f"inequivalent arg '{argument}' for queue '{name}' in vhost '/': received {received} but current is {current}"
        with refused(406, f"PRECONDITION_FAILED - {text}"):
            channel.connection.channel().queue_declare(name, exclusive=True, arguments=given)
    assert amqp.queue(channel, queue=queue, arguments={argument: first}) == queue


def test_a_queue_that_expires_goes_when_nobody_uses_it(amqp):
    name, channel = amqp.name(), amqp.channel()
    channel.queue_declare(name, arguments={"x-expires": 1000})
    channel.basic_consume(name, lambda *_: None, consumer_tag="c")
    time.sleep(1.5)
    channel.basic_cancel("c")
    assert channel.queue_declare(name, passive=True).method.message_count == 0
    time.sleep(2)
    assert absent(amqp, name)


@pytest.mark.parametrize("value, reason", [(0, "{value_zero,0}"), (-1, "{value_negative,-1}"), ("1", '"expected integer, got longstr"')])
def test_how_long_a_queue_stays_must_make_sense(amqp, value, reason):
    name = amqp.name()
    with refused(406, f"PRECONDITION_FAILED - invalid arg 'x-expires' for queue '{name}' in vhost '/': {reason}"):
        amqp.channel().queue_declare(name, arguments={"x-expires": value})


REFUSED = {
    "x-message-ttl": 1000, "x-dead-letter-exchange": "amq.direct", "x-dead-letter-routing-key": "k", "x-max-priority": 5,
    "x-max-length": 5, "x-max-length-bytes": 5, "x-overflow": "reject-publish", "x-single-active-consumer": True,
}  # fmt: skip


@pytest.mark.parametrize("argument", REFUSED)
def test_what_the_server_does_not_do_is_refused_by_its_name(amqp, amqp_broker, argument):
    if amqp_broker.name == "rabbitmq":
        pytest.skip("it does")
    name = amqp.name()
    with refused(406, f"PRECONDITION_FAILED - invalid arg '{argument}' for queue '{name}' in vhost '/': not supported"):
        amqp.channel().queue_declare(name, arguments={argument: REFUSED[argument]})
    assert absent(amqp, name)


@pytest.mark.parametrize("kind", ["quorum", "stream"])
def test_queues_are_classic(amqp, amqp_broker, kind):
    if amqp_broker.name == "rabbitmq":
        pytest.skip("it has others")
    name = amqp.name()
    with refused(406, f"PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue '{name}' in vhost '/': only classic queues are supported"):
        amqp.channel().queue_declare(name, durable=True, arguments={"x-queue-type": kind})


def test_consumers_have_no_priorities(amqp, amqp_broker, channel):
    if amqp_broker.name == "rabbitmq":
        pytest.skip("they have")
    queue = amqp.queue(channel)
    with refused(406, f"PRECONDITION_FAILED - invalid arg 'x-priority' for queue '{queue}' in vhost '/': not supported"):
        channel.basic_consume(queue, print, arguments={"x-priority": 5})


def test_a_queue_may_be_declared_deleted_and_declared_again_at_once(amqp, channel):
    queue = amqp.name()
    for number in range(20):
        assert channel.queue_declare(queue, durable=bool(number % 2)).method.message_count == 0
        publish(channel, queue, b"m")
        assert channel.queue_delete(queue).method.message_count == 1


def test_many_queues_of_one_connection_go_with_it(amqp, channel):
    owner = amqp.channel()
    queues = [amqp.queue(owner) for _ in range(100)]
    owner.connection.close()
    assert all(absent(amqp, queue) for queue in (queues[0], queues[50], queues[99]))


def test_a_consumer_takes_what_waits_when_it_comes(amqp, channel):
    queue = amqp.queue(channel)
    publish(channel, queue, b"a", b"b")
    consumer = Consumer(channel, queue, auto_ack=True)
    consumer.wait(2)
    publish(channel, queue, b"c")
    assert consumer.wait(3) == [b"a", b"b", b"c"]
    settle(channel)
    assert ready(channel, queue) == 0
