"""What the AMQP tests do with pika: connections that end with their test, waits that end, and refusals by their code and whole text."""

import contextlib
import time
import uuid

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

SECONDS = 10


class Client:
    """Connections to a broker, which `close` ends, and names that no other test uses."""

    def __init__(self, broker):
        self.broker = broker
        self.connections = []

    def connect(self, host=None, port=None, **more):
        parameters = {"blocked_connection_timeout": SECONDS, "socket_timeout": SECONDS, **more}
        connection = pika.BlockingConnection(pika.ConnectionParameters(host or self.broker.host, port or self.broker.port, **parameters))
        self.connections.append(connection)
        return connection

    def channel(self, connection=None, confirms=False):
        channel = (connection or self.connect()).channel()
        if confirms:
            channel.confirm_delivery()
        return channel

    def name(self, prefix="test"):
        return f"{prefix}.{uuid.uuid4().hex[:12]}"

    def queue(self, channel, **more):
        """A new queue, which its connection owns unless `more` says otherwise."""
        return channel.queue_declare(more.pop("queue", self.name("queue")), **{"exclusive": True, **more}).method.queue

    def exchange(self, channel, kind="direct", **more):
        """A new exchange, which goes with its last binding."""
        name = self.name(kind)
        channel.exchange_declare(name, kind, **{"auto_delete": True, **more})
        return name

    def close(self):
        for connection in self.connections:
            with contextlib.suppress(pika.exceptions.AMQPError):
                if connection.is_open:
                    connection.close()


@contextlib.contextmanager
def refused(code, text):
    """The channel is closed with exactly this."""
    with pytest.raises(ChannelClosedByBroker) as caught:
        yield
    assert (caught.value.reply_code, caught.value.reply_text) == (code, text)


@contextlib.contextmanager
def ended(code, text):
    """The connection is closed with exactly this."""
    with pytest.raises(ConnectionClosedByBroker) as caught:
        yield
    assert (caught.value.reply_code, caught.value.reply_text) == (code, text)


def wait(channel, holds, seconds=SECONDS):
    """Lets what has come be heard until `holds()`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        channel.connection.process_data_events(0.05)


def settle(channel, seconds=0.2):
    """Lets everything be heard that may come unexpectedly: a round trip each way, then a while."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        channel.connection.process_data_events(left)


def take(channel, queue, count=None, **more):
    """The bodies that basic.get finds until there is none, or `count` of them; acknowledged unless `auto_ack=False`."""
    bodies = []
    while count is None or len(bodies) < count:
        method, _, body = channel.basic_get(queue, **{"auto_ack": True, **more})
        if method is None:
            break
        bodies.append(body)
    return bodies


def ready(channel, queue):
    """How many messages wait in the queue."""
    return channel.queue_declare(queue, passive=True).method.message_count


def wait_ready(channel, queue, count, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while (now := ready(channel, queue)) != count:
        assert time.monotonic() < deadline, f"{now} messages, expected {count} within {seconds} s"
        time.sleep(0.02)


class Consumer:
    """A consumer and what it has been given: `deliveries` are (method, properties, body)."""

    def __init__(self, channel, queue, **more):
        self.channel = channel
        self.deliveries = []
        self.tag = channel.basic_consume(queue, lambda _, *delivery: self.deliveries.append(delivery), **more)

    @property
    def bodies(self):
        return [body for *_, body in self.deliveries]

    @property
    def tags(self):
        return [method.delivery_tag for method, *_ in self.deliveries]

    @property
    def redelivered(self):
        return [method.redelivered for method, *_ in self.deliveries]

    def wait(self, count, seconds=SECONDS):
        """Exactly so many deliveries have come; more would fail here or in a comparison later."""
        wait(self.channel, lambda: len(self.deliveries) >= count, seconds)
        assert len(self.deliveries) == count, f"{len(self.deliveries)} deliveries, expected {count}"
        return self.bodies

    def stays_at(self, count, seconds=0.2):
        settle(self.channel, seconds)
        assert len(self.deliveries) == count, f"{len(self.deliveries)} deliveries, expected {count}"
