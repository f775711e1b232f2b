"""Consuming: order, acknowledgements, prefetch, cancellation: the same tests against martlet and rabbitmq-server."""

import itertools

import pytest
from pamqp import commands

import amqp_raw
from amqp_pika import Consumer, ended, ready, refused, settle, take, wait, wait_ready


@pytest.fixture
def channel(amqp):
    return amqp.channel()


@pytest.fixture
def queue(amqp):
    """A queue of a connection that lives as long as the test."""
    owner = amqp.channel()
    name = amqp.queue(owner, exclusive=False)
    yield name
    amqp.channel().queue_delete(name)


def publish(amqp, queue, *bodies):
    channel = amqp.channel(confirms=True)
    for body in bodies:
        channel.basic_publish("", queue, body)
    channel.connection.close()


def numbers(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]


def get(channel, queue):
    method, _, body = channel.basic_get(queue)
    return method.delivery_tag, method.redelivered, body


def test_deliveries_are_numbered_and_in_order(amqp, channel, queue):
    publish(amqp, queue, *numbers(100))
    consumer = Consumer(channel, queue)
    assert consumer.wait(100) == numbers(100)
    assert consumer.tags == list(range(1, 101)) and not any(consumer.redelivered)
    assert {method.consumer_tag for method, *_ in consumer.deliveries} == {consumer.tag}
    channel.basic_ack(0, multiple=True)


def test_a_consumer_without_a_tag_gets_one_of_the_server(amqp, amqp_broker, queue):
    with amqp_raw.Connection(amqp_broker) as raw:
        tags = [raw.call(commands.Basic.Consume(queue=queue)).consumer_tag for _ in range(3)]
        assert len(set(tags)) == 3 and all(tag.startswith("amq.ctag-") and len(tag) == len("amq.ctag-") + 22 for tag in tags), tags


def test_a_consumer_tag_is_its_channels_own(amqp, channel, queue):
    other = amqp.channel(channel.connection)
    assert [Consumer(one, queue, consumer_tag="mine").tag for one in (channel, other)] == ["mine", "mine"]
    with amqp_raw.Connection(amqp.broker) as raw:
        raw.call(commands.Basic.Consume(queue=queue, consumer_tag="mine"))
        text = "NOT_ALLOWED - attempt to reuse consumer tag 'mine'"
        assert amqp_raw.said(raw.call(commands.Basic.Consume(queue=queue, consumer_tag="mine"))) == ("connection", 530, text, 60, 20)


def test_a_consumer_tag_is_free_after_its_cancellation(amqp, channel, queue):
    for _ in range(3):
        consumer = Consumer(channel, queue, consumer_tag="mine")
        channel.basic_cancel("mine")
    publish(amqp, queue, b"m")
    consumer.stays_at(0)
    assert take(channel, queue) == [b"m"]


def test_consuming_may_go_unanswered(amqp, amqp_broker, queue):
    publish(amqp, queue, b"m")
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.send(commands.Basic.Consume(queue=queue, consumer_tag="mine", no_ack=True, nowait=True))
        method, _, body = raw.message()
        assert (method.consumer_tag, body) == ("mine", b"m")
        raw.send(commands.Basic.Cancel("mine", True))
        assert isinstance(raw.call(commands.Basic.Qos(0, 1)), commands.Basic.QosOk)


def test_without_acknowledgement_a_message_is_gone_when_it_is_delivered(amqp, channel, queue):
    publish(amqp, queue, *numbers(10))
    assert Consumer(channel, queue, auto_ack=True).wait(10) == numbers(10)
    channel.close()
    assert ready(amqp.channel(), queue) == 0


@pytest.mark.parametrize("gone", ["channel closed", "connection closed", "socket reset"])
def test_what_is_not_acknowledged_comes_again_in_its_order_and_says_so(amqp, queue, gone):
    publish(amqp, queue, *numbers(10))
    channel = amqp.channel()
    consumer = Consumer(channel, queue)
    consumer.wait(10)
    channel.basic_ack(consumer.tags[0])
    channel.basic_ack(consumer.tags[4])
    amqp.channel(channel.connection).queue_declare(queue, passive=True)
    if gone == "channel closed":
        channel.close()
    elif gone == "connection closed":
        channel.connection.close()
    else:
        channel.connection._impl._transport._sock.shutdown(2)
    publish(amqp, queue, b"fresh")
    again = Consumer(amqp.channel(), queue)
    left = [number for number in numbers(10) if number not in (b"0", b"4")]
    expected = [*left, b"fresh"]
    again.wait(9)
    assert sorted(again.bodies) == sorted(expected)
    if gone != "socket reset":
        assert again.bodies == expected
    assert [body for body, redelivered in zip(again.bodies, again.redelivered) if redelivered] == left


def test_an_acknowledgement_may_name_all_up_to_a_tag(amqp, channel, queue):
    publish(amqp, queue, *numbers(10))
    consumer = Consumer(channel, queue)
    consumer.wait(10)
    channel.basic_ack(4, multiple=True)
    channel.basic_ack(7)
    channel.basic_ack(6, multiple=True)
    channel.close()
    assert take(amqp.channel(), queue) == [b"7", b"8", b"9"]


def test_tag_zero_with_multiple_names_all_there_are(amqp, channel, queue):
    publish(amqp, queue, *numbers(3))
    Consumer(channel, queue).wait(3)
    channel.basic_ack(0, multiple=True)
    channel.basic_ack(0, multiple=True)
    channel.close()
    assert ready(amqp.channel(), queue) == 0


@pytest.mark.parametrize("method, class_method", [("ack", (60, 80)), ("nack", (60, 120)), ("reject", (60, 90))])
@pytest.mark.parametrize("tag", [7, 1])
def test_an_unknown_delivery_tag_ends_the_channel(amqp, queue, method, class_method, tag):
    publish(amqp, queue, b"m")
    with amqp_raw.Connection(amqp.broker) as raw:
        raw.send(commands.Basic.Get(0, queue))
        raw.message(commands.Basic.GetOk)
        raw.send(commands.Basic.Ack(1))
        command = {"ack": commands.Basic.Ack, "nack": commands.Basic.Nack, "reject": commands.Basic.Reject}[method]
        assert amqp_raw.said(raw.call(command(tag))) == ("channel", 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", *class_method)


def test_tags_are_each_channels_own(amqp, channel, queue):
    publish(amqp, queue, b"a", b"b")
    other = amqp.channel(channel.connection)
    assert [get(channel, queue)[0], get(other, queue)[0]] == [1, 1]
    channel.basic_ack(1)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag 2"):
        other.basic_ack(2)
        ready(other, queue)
    wait_ready(channel, queue, 1)
    assert take(channel, queue) == [b"b"]


def test_a_rejected_message_is_dropped_or_comes_again(amqp, channel, queue):
    publish(amqp, queue, *numbers(4))
    for _ in range(4):
        get(channel, queue)
    channel.basic_reject(1, requeue=False)
    channel.basic_reject(2, requeue=True)
    channel.basic_nack(3, requeue=False)
    channel.basic_nack(4, requeue=True)
    assert [get(channel, queue) for _ in range(2)] == [(5, True, b"1"), (6, True, b"3")]
    assert channel.basic_get(queue)[0] is None


def test_nack_may_name_all_up_to_a_tag(amqp, channel, queue):
    publish(amqp, queue, *numbers(6))
    for _ in range(6):
        get(channel, queue)
    channel.basic_nack(2, multiple=True, requeue=False)
    channel.basic_nack(4, multiple=True, requeue=True)
    channel.basic_nack(0, multiple=True, requeue=True)
    assert take(channel, queue) == numbers(4, start=2)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (3, 1, 2)], ids=str)
def test_what_comes_back_takes_its_old_place(amqp, channel, queue, order):
    publish(amqp, queue, *numbers(5))
    for _ in range(3):
        get(channel, queue)
    for tag in order:
        channel.basic_nack(tag)
    assert [get(channel, queue)[1:] for _ in range(5)] == [(True, b"0"), (True, b"1"), (True, b"2"), (False, b"3"), (False, b"4")]


def test_what_comes_back_goes_before_what_came_later_and_behind_what_came_earlier(amqp, channel, queue):
    publish(amqp, queue, *numbers(4))
    for _ in range(4):
        get(channel, queue)
    channel.basic_nack(3)
    channel.basic_nack(1)
    publish(amqp, queue, b"fresh")
    assert take(channel, queue) == [b"0", b"2", b"fresh"]


def test_recovering_delivers_again_what_is_out(amqp, channel, queue):
    publish(amqp, queue, *numbers(5))
    consumer = Consumer(channel, queue)
    consumer.wait(5)
    channel.basic_ack(2)
    channel.basic_recover(requeue=True)
    consumer.wait(9)
    assert consumer.bodies[5:] == [b"0", b"2", b"3", b"4"] and all(consumer.redelivered[5:]) and consumer.tags[5:] == [6, 7, 8, 9]


def test_recovering_without_requeueing_is_not_implemented(amqp, channel, queue):
    with ended(540, "NOT_IMPLEMENTED - requeue=false"):
        channel.basic_recover(requeue=False)


def test_recovering_may_go_unanswered(amqp, amqp_broker, queue):
    publish(amqp, queue, b"m")
    with amqp_raw.Connection(amqp_broker) as raw:
        raw.call(commands.Basic.Consume(queue=queue))
        raw.message()
        raw.send(commands.Basic.RecoverAsync(True))
        method, _, body = raw.message()
        assert (method.redelivered, body) == (True, b"m")


def test_prefetch_limits_what_a_consumer_has_out(amqp, channel, queue):
    publish(amqp, queue, *numbers(10))
    channel.basic_qos(prefetch_count=3)
    consumer = Consumer(channel, queue)
    consumer.wait(3)
    consumer.stays_at(3)
    channel.basic_ack(2)
    consumer.wait(4)
    channel.basic_nack(3, requeue=False)
    consumer.wait(5)
    channel.basic_ack(0, multiple=True)
    assert consumer.wait(8) == numbers(8)
    consumer.stays_at(8)


def test_each_consumer_of_a_channel_has_the_prefetch_of_its_start(amqp, channel, queue):
    publish(amqp, queue, *numbers(20))
    consumers = []
    for prefetch in (2, 3, 1):
        channel.basic_qos(prefetch_count=prefetch)
        consumers.append(Consumer(channel, queue))
        consumers[-1].wait(prefetch)
    settle(channel)
    assert [len(consumer.bodies) for consumer in consumers] == [2, 3, 1]


def test_a_global_prefetch_is_shared_by_the_consumers_of_the_channel(amqp, channel, queue):
    publish(amqp, queue, *numbers(20))
    channel.basic_qos(prefetch_count=4, global_qos=True)
    consumers = [Consumer(channel, queue) for _ in range(3)]
    total = lambda: sum(len(consumer.bodies) for consumer in consumers)
    wait(channel, lambda: total() == 4)
    settle(channel)
    assert total() == 4
    tag = next(tag for consumer in consumers for tag in consumer.tags)
    channel.basic_ack(tag)
    wait(channel, lambda: total() == 5)
    channel.basic_qos(prefetch_count=6, global_qos=True)
    wait(channel, lambda: total() == 7)
    settle(channel)
    assert total() == 7


def test_both_prefetches_hold_together(amqp, channel, queue):
    publish(amqp, queue, *numbers(20))
    channel.basic_qos(prefetch_count=3)
    channel.basic_qos(prefetch_count=4, global_qos=True)
    consumers = [Consumer(channel, queue) for _ in range(2)]
    settle(channel, 0.4)
    assert sorted(len(consumer.bodies) for consumer in consumers) == [1, 3]


@pytest.mark.parametrize("how", [{}, {"global_qos": True}], ids=["consumer", "channel"])
def test_prefetch_zero_is_no_limit(amqp, channel, queue, how):
    publish(amqp, queue, *numbers(300))
    channel.basic_qos(prefetch_count=1, **how)
    channel.basic_qos(prefetch_count=0, **how)
    assert Consumer(channel, queue).wait(300) == numbers(300)


def test_prefetch_limits_neither_no_ack_nor_get(amqp, channel, queue):
    publish(amqp, queue, *numbers(10))
    channel.basic_qos(prefetch_count=1)
    assert [get(channel, queue)[2] for _ in range(3)] == numbers(3)
    assert Consumer(channel, queue, auto_ack=True).wait(7) == numbers(7, start=3)


def test_consumers_take_turns(amqp, queue):
    channel = amqp.channel()
    consumers = [Consumer(channel, queue, auto_ack=True) for _ in range(3)]
    publish(amqp, queue, *numbers(30))
    wait(channel, lambda: sum(len(consumer.bodies) for consumer in consumers) == 30)
    assert [len(consumer.bodies) for consumer in consumers] == [10, 10, 10]
    shares = [[int(body) % 3 for body in consumer.bodies] for consumer in consumers]
    assert all(len(set(share)) == 1 for share in shares) and len({share[0] for share in shares}) == 3, shares


def test_consumers_of_different_connections_take_turns(amqp, queue):
    channels = [amqp.channel() for _ in range(3)]
    consumers = [Consumer(channel, queue, auto_ack=True) for channel in channels]
    publish(amqp, queue, *numbers(30))
    for consumer in consumers:
        consumer.wait(10)
    assert sorted(itertools.chain(*(consumer.bodies for consumer in consumers))) == sorted(numbers(30))


def test_a_consumer_that_may_take_no_more_is_passed_over(amqp, queue):
    slow, quick = amqp.channel(), amqp.channel()
    slow.basic_qos(prefetch_count=1)
    held = Consumer(slow, queue)
    running = Consumer(quick, queue, auto_ack=True)
    publish(amqp, queue, *numbers(20))
    running.wait(19)
    held.wait(1)
    held.stays_at(1)
    slow.basic_ack(held.tags[0])
    publish(amqp, queue, *numbers(2, start=20))
    held.wait(2)
    running.wait(20)


def test_after_its_cancellation_a_consumer_gets_no_more_and_keeps_what_it_has(amqp, channel, queue):
    publish(amqp, queue, b"a")
    consumer = Consumer(channel, queue)
    consumer.wait(1)
    channel.basic_cancel(consumer.tag)
    publish(amqp, queue, b"b")
    consumer.stays_at(1)
    other = amqp.channel()
    assert take(other, queue) == [b"b"]
    channel.basic_nack(1)
    wait_ready(other, queue, 1)


def test_cancelling_what_is_not_there_is_answered(amqp, amqp_broker):
    with amqp_raw.Connection(amqp_broker) as raw:
        assert raw.call(commands.Basic.Cancel("not there")).consumer_tag == "not there"


def test_get_says_how_many_messages_are_left(amqp, channel, queue):
    publish(amqp, queue, *numbers(3))
    got = [channel.basic_get(queue) for _ in range(3)]
    assert [(method.message_count, method.redelivered, method.exchange, method.routing_key) for method, *_ in got] == [(left, False, "", queue) for left in (2, 1, 0)]
    assert channel.basic_get(queue) == (None, None, None)
    channel.close()
    assert [method.redelivered for method, *_ in [amqp.channel().basic_get(queue, auto_ack=True)]] == [True]


def test_a_consumer_is_told_when_its_queue_goes(amqp, channel, queue):
    gone = []
    channel.add_on_cancel_callback(lambda frame: gone.append(frame.method.consumer_tag))
    tags = [Consumer(channel, queue).tag for _ in range(2)]
    amqp.channel().queue_delete(queue)
    wait(channel, lambda: len(gone) == 2)
    assert sorted(gone) == sorted(tags)
    assert amqp.queue(channel), "the channel goes on"


def test_who_did_not_ask_to_be_told_is_not(amqp, amqp_broker, queue):
    with amqp_raw.Connection(amqp_broker, capabilities={}) as raw:
        raw.call(commands.Basic.Consume(queue=queue, consumer_tag="mine"))
        amqp.channel().queue_delete(queue)
        assert isinstance(raw.call(commands.Basic.Qos(0, 1)), commands.Basic.QosOk)


def test_acknowledging_what_a_deleted_queue_had_delivered_is_allowed(amqp, channel, queue):
    publish(amqp, queue, b"a", b"b")
    consumer = Consumer(channel, queue)
    consumer.wait(2)
    amqp.channel().queue_delete(queue)
    channel.basic_ack(1)
    channel.basic_nack(2)
    assert amqp.queue(channel)


def test_an_exclusive_consumer_is_the_only_one(amqp, channel, queue):
    refusal = f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
    consumer = Consumer(channel, queue, exclusive=True)
    with refused(403, refusal):
        Consumer(amqp.channel(), queue)
    channel.basic_cancel(consumer.tag)
    Consumer(channel, queue)
    with refused(403, refusal):
        Consumer(amqp.channel(), queue, exclusive=True)


def test_a_queue_with_an_exclusive_consumer_can_be_got_from(amqp, channel, queue):
    channel.basic_qos(prefetch_count=1)
    Consumer(channel, queue, exclusive=True)
    publish(amqp, queue, b"a", b"b")
    assert take(amqp.channel(), queue) == [b"b"]


def test_a_message_that_was_out_says_so_to_the_next_consumer(amqp, channel, queue):
    publish(amqp, queue, b"a", b"b")
    channel.basic_qos(prefetch_count=1)
    first = Consumer(channel, queue)
    first.wait(1)
    channel.close()
    second = Consumer(amqp.channel(), queue)
    second.wait(2)
    assert list(zip(second.bodies, second.redelivered)) == [(b"a", True), (b"b", False)]


def test_ten_thousand_messages_pass_in_order_with_acknowledgements_of_fifty(amqp, channel, queue):
    publisher = amqp.channel()
    sent = numbers(10_000)
    for body in sent:
        publisher.basic_publish("", queue, body)
    channel.basic_qos(prefetch_count=100)
    got = []

    def take_it(channel, method, _, body):
        got.append(body)
        if len(got) % 50 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)

    channel.basic_consume(queue, take_it)
    wait(channel, lambda: len(got) == len(sent), 60)
    assert got == sent
    channel.close()
    assert ready(amqp.channel(), queue) == 0
