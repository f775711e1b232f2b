"""What martlet limits, and how it says so: full queues hold their publishers, large messages and silent connections are refused."""

import select
import time

import pytest
from pamqp import commands

import amqp_brokers
import amqp_raw
from amqp_pika import Client, Consumer, ready, settle, wait

CONNECTION = commands.Connection


@pytest.fixture
def start():
    started = []

    def start(*settings, **more):
        started.append(amqp_brokers.Martlet(*(word for setting in settings for word in ("--set", setting)), **more))
        return started[-1]

    yield start
    for running in started:
        assert running.stop()[0] == 0, "\n".join(running.lines[-20:])


def until(raw, kind):
    """What comes before the next frame of this kind, and that."""
    before = []
    while True:
        _, got = raw.receive()
        if isinstance(got, kind):
            return before, got
        before.append(got)


@pytest.mark.parametrize("setting", ["amqp.queueMessagesMax=1000", "amqp.queueBytesMax=1000000", "memory=1048576"])
def test_a_full_queue_holds_its_publishers_and_says_so_until_there_is_room(start, setting):
    server = start(setting, loops=1)
    client = Client(server)
    channel = client.channel()
    queue = client.queue(channel, exclusive=False)
    body = b"x" * 1000
    with amqp_raw.Connection(server) as publisher:
        publisher.call(commands.Confirm.Select())
        publisher.socket.settimeout(0.2)
        sent = 0
        with pytest.raises(TimeoutError):
            # What the kernel takes for a held publisher is bounded, too.
            for sent in range(1, 200_000):
                publisher.publish(body, key=queue)
        publisher.socket.settimeout(10)
        before, blocked = until(publisher, CONNECTION.Blocked)
        assert blocked.reason in ("a queue is full", "low on memory")
        held = ready(channel, queue)
        assert 300 < held <= 1100, held
        time.sleep(0.3)
        assert ready(channel, queue) == held, "nothing is read from a held publisher"
        got = []
        channel.basic_qos(prefetch_count=100)
        channel.basic_consume(queue, lambda channel, method, _, body: (got.append(body), channel.basic_ack(method.delivery_tag)))
        # What the last read brought to a nearly full queue may be refused, and then the publisher is told.
        isnack = lambda frame: isinstance(frame, commands.Basic.Nack)
        nacked, unblocked, deadline = sum(map(isnack, before)), False, time.monotonic() + 20
        while len(got) + nacked < sent - 1 or not unblocked:
            channel.connection.process_data_events(0.05)
            while publisher.unread or select.select([publisher.socket], [], [], 0)[0]:
                _, frame = publisher.receive()
                nacked += isnack(frame)
                unblocked = unblocked or isinstance(frame, CONNECTION.Unblocked)
            assert time.monotonic() < deadline, f"{len(got)}, and {nacked} refused, of {sent}; unblocked: {unblocked}"
        assert set(got) == {body}
    client.close()


def test_consumers_and_other_publishers_go_on_while_one_is_held(start):
    server = start("amqp.queueMessagesMax=100", loops=1)
    client = Client(server)
    channel = client.channel()
    full, other = client.queue(channel, exclusive=False), client.queue(channel)
    with amqp_raw.Connection(server) as publisher:
        for _ in range(200):
            publisher.publish(b"m", key=full)
        until(publisher, CONNECTION.Blocked)
        channel.basic_publish("", other, b"m")
        assert ready(channel, other) == 1
        assert len([channel.basic_get(full, auto_ack=True) for _ in range(50)]) == 50
        until(publisher, CONNECTION.Unblocked)
    client.close()


def test_who_did_not_ask_for_it_is_held_without_a_word(start):
    server = start("amqp.queueMessagesMax=100", loops=1)
    client = Client(server)
    channel = client.channel()
    queue = client.queue(channel, exclusive=False)
    with amqp_raw.Connection(server, capabilities={}, timeout=0.5) as publisher:
        for _ in range(200):
            publisher.publish(b"m", key=queue)
        with pytest.raises(TimeoutError):
            publisher.receive()
        assert ready(channel, queue) <= 100
        channel.queue_purge(queue)
        publisher.timeout = 10
        publisher.socket.settimeout(10)
        assert isinstance(publisher.call(commands.Basic.Qos(0, 1)), commands.Basic.QosOk)
    client.close()


def test_deleting_a_full_queue_releases_its_publishers(start):
    server = start("amqp.queueMessagesMax=100", loops=1)
    client = Client(server)
    channel = client.channel()
    queue = client.queue(channel, exclusive=False)
    with amqp_raw.Connection(server) as publisher:
        for _ in range(200):
            publisher.publish(b"m", key=queue)
        until(publisher, CONNECTION.Blocked)
        channel.queue_delete(queue)
        until(publisher, CONNECTION.Unblocked)
        assert isinstance(publisher.call(commands.Basic.Qos(0, 1)), commands.Basic.QosOk)
    client.close()


def test_publishers_that_leave_while_they_are_held_hold_up_nobody(start):
    server = start("amqp.queueMessagesMax=100", loops=1)
    client = Client(server)
    channel = client.channel()
    queue = client.queue(channel, exclusive=False)
    for _ in range(3):
        with amqp_raw.Connection(server) as publisher:
            for _ in range(200):
                publisher.publish(b"m", key=queue)
            until(publisher, CONNECTION.Blocked)
    consumer = Consumer(client.channel(), queue, auto_ack=True)
    channel.basic_publish("", queue, b"the last")
    wait(consumer.channel, lambda: b"the last" in consumer.bodies)
    client.close()


def test_a_message_larger_than_allowed_ends_its_channel_alone(start):
    server = start("amqp.messageSizeMax=2000")
    with amqp_raw.Connection(server, channels=(1, 2)) as raw:
        queue = raw.call(commands.Queue.Declare(exclusive=True)).queue
        raw.publish(b"x" * 2000, key=queue)
        raw.publish(b"x" * 2001, key=queue)
        closed = amqp_raw.said(raw.receive()[1])
        assert closed[:2] == ("channel", 406) and closed[2].startswith("PRECONDITION_FAILED - message size") and closed[3:] == (60, 40), closed
        raw.send(commands.Channel.CloseOk())
        assert raw.call(commands.Queue.Declare(queue=queue, passive=True), 2).message_count == 1


def test_a_connection_that_does_not_open_in_time_is_ended(start):
    server = start("amqp.openTimeout=300ms")
    for greeting in (b"", b"AMQP", b"AMQP\0\0\x09\x01"):
        with amqp_raw.Connection(server, opened=False) as raw:
            raw.write(greeting)
            _, seconds = raw.reads_to_end(5)
            assert 0.2 <= seconds <= 2, (greeting, seconds)
    with amqp_raw.Connection(server) as raw:
        time.sleep(0.5)
        assert isinstance(raw.call(commands.Basic.Qos(0, 1)), commands.Basic.QosOk)


def test_what_is_negotiated_is_what_is_set(start):
    server = start("amqp.frameMax=8192", "amqp.channelMax=10", "amqp.heartbeat=7s")
    with amqp_raw.Connection(server) as raw:
        assert (raw.tune.frame_max, raw.tune.channel_max, raw.tune.heartbeat) == (8192, 10, 7)


@pytest.mark.parametrize("mechanism, response", [("ANONYMOUS", "somebody"), ("ANONYMOUS", ""), ("EXTERNAL", ""), ("PLAIN", "\0anybody\0anything")])
def test_without_users_everybody_comes_in(start, mechanism, response):
    with amqp_raw.Connection(start(), opened=False) as raw:
        raw.open(mechanism=mechanism, response=response)
        assert raw.call(commands.Queue.Declare(exclusive=True)).queue


@pytest.mark.parametrize("mechanism", ["ANONYMOUS", "EXTERNAL"])
def test_with_users_nobody_comes_in_without_a_password(mechanism):
    server = amqp_brokers.Martlet("--user", "guest:guest")
    with amqp_raw.Connection(server, opened=False) as raw:
        text = f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        assert amqp_raw.said(raw.start(mechanism=mechanism, response=""))[:3] == ("connection", 403, text)
    assert server.stop()[0] == 0


def test_what_is_out_and_not_acknowledged_counts_as_full(start):
    server = start("amqp.queueMessagesMax=100", loops=1)
    client = Client(server)
    channel = client.channel()
    queue = client.queue(channel, exclusive=False)
    consumer = Consumer(channel, queue)
    with amqp_raw.Connection(server) as publisher:
        for _ in range(300):
            publisher.publish(b"m", key=queue)
        wait(channel, lambda: consumer.tags)
        until(publisher, CONNECTION.Blocked)
        settle(channel)
        assert len(consumer.tags) <= 100
        channel.basic_ack(0, multiple=True)
        until(publisher, CONNECTION.Unblocked)
    client.close()
