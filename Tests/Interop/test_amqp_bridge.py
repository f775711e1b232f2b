"""AMQP and MQTT meet in amq.topic: mosquitto's clients and pika on one server."""

import pika
import pytest

import amqp_brokers
import mosquitto_clients
import raw
from amqp_pika import Client, Consumer, take


@pytest.fixture(scope="module", params=[1, 2], ids=lambda loops: f"loops{loops}")
def fabric(request):
    # What MQTT's `$SYS` says every 10 s is in amq.topic, too, where `#` is everything.
    running = amqp_brokers.Martlet("--set", "mqtt.systemTopicsInterval=0s", loops=request.param, mqtt=True)
    running.amqp, running.mqtt = running.ports["amqp"], running.ports["mqtt"]
    yield running
    assert running.stop()[0] == 0


class At:
    """The same server at another of its ports."""

    def __init__(self, server, port):
        self.host, self.port, self.process = server.host, port, server.process


@pytest.fixture
def mqtt(fabric):
    return At(fabric, fabric.mqtt)


@pytest.fixture
def amqp(fabric):
    client = Client(At(fabric, fabric.amqp))
    yield client
    client.close()


def bound(amqp, channel, pattern):
    queue = amqp.queue(channel)
    channel.queue_bind(queue, "amq.topic", pattern)
    return queue


# An MQTT topic, and the routing key that is the same address.
ADDRESSES = [
    ("a/b", "a.b"), ("a", "a"), ("news/de/sport", "news.de.sport"), ("v1.2/x", "v1%2E2.x"), ("a/b.c/d", "a.b%2Ec.d"), ("50%/x", "50%25.x"), ("50%25/x", "50%.x"), ("a.b/c%d", "a%2Eb.c%25d"), ("caf%C3%A9", "caf%25C3%25A9"), ("%2E/x", "%252E.x"), ("%252E/%25252E", "%25252E.%2525252E"),
    ("a//b", "a..b"), ("/a", ".a"), ("a/", "a."), ("é/東京", "é.東京"), ("with space/x", "with space.x"),
]  # fmt: skip


@pytest.mark.parametrize("topic, key", ADDRESSES)
def test_mosquitto_pub_reaches_a_queue_bound_to_amq_topic(amqp, mqtt, topic, key):
    channel = amqp.channel()
    everything, exactly, other = Consumer(channel, bound(amqp, channel, "#"), auto_ack=True), bound(amqp, channel, key), bound(amqp, channel, "other.#")
    mosquitto_clients.publish(mqtt, "-t", topic, "-m", "hello", "-q", "1")
    assert everything.wait(1) == [b"hello"]
    method, properties, _ = everything.deliveries[0]
    assert (method.exchange, method.routing_key, properties.delivery_mode) == ("amq.topic", key, 2)
    assert take(channel, exactly) == [b"hello"] and take(channel, other) == []


@pytest.mark.parametrize("topic, key", [*ADDRESSES, ("a%2Fb/c", "a/b.c"), ("%252F/c", "%2F.c")])
def test_a_message_published_to_amq_topic_reaches_mosquitto_sub(amqp, mqtt, topic, key):
    channel = amqp.channel(confirms=True)
    with mosquitto_clients.Subscriber(mqtt, "#", qos=1) as everything, mosquitto_clients.Subscriber(mqtt, topic, qos=1) as exactly:
        channel.basic_publish("amq.topic", key, b"hello", pika.BasicProperties(delivery_mode=2), mandatory=True)
        assert everything.take(1) == [(topic, 1, "hello")] and exactly.take(1) == [(topic, 1, "hello")]


@pytest.mark.parametrize("key", [key for _, key in ADDRESSES] + ["a/b.c", "%2F.c", "%252F.c", "100%25.%2F%2E", "%2E%", "%2B.%23.%00", "", ".", "$SYS.x", "a.+.b", "#"])
def test_a_key_passes_amq_topic_unchanged_between_amqps_clients(amqp, key):
    channel = amqp.channel(confirms=True)
    everything = Consumer(channel, bound(amqp, channel, "#"), auto_ack=True)
    channel.basic_publish("amq.topic", key, b"hello")
    everything.wait(1)
    assert everything.deliveries[0][0].routing_key == key


@pytest.mark.parametrize("pattern, matching", [("a.*", ["a/b", "a/c"]), ("#.c", ["a/c", "b/c", "c"]), ("a.#", ["a", "a/b", "a/c", "a/b/d"]), ("*.*", ["a/b", "a/c", "b/c"])])
def test_topic_patterns_take_what_mqtts_clients_publish(amqp, mqtt, pattern, matching):
    channel = amqp.channel()
    queue = bound(amqp, channel, pattern)
    with raw.Connection(mqtt) as publisher:
        publisher.connect()
        for number, topic in enumerate(("a", "a/b", "a/c", "b/c", "c", "a/b/d"), 1):
            publisher.publish(topic, topic.encode(), 1, number)
            publisher.expect(raw.PUBACK)
    assert [body.decode() for body in take(channel, queue)] == [topic for topic in ("a", "a/b", "a/c", "b/c", "c", "a/b/d") if topic in matching]


@pytest.mark.parametrize("filter, matching", [("a/+", ["a.b", "a.c"]), ("a/#", ["a", "a.b", "a.c", "a.b.d"]), ("+/c", ["a.c", "b.c"]), ("#", ["a", "a.b", "a.c", "b.c", "c", "a.b.d"])])
def test_topic_filters_take_what_amqps_clients_publish(amqp, mqtt, filter, matching):
    channel = amqp.channel(confirms=True)
    with raw.Connection(mqtt) as subscriber:
        subscriber.connect()
        subscriber.subscribe(filter, 1)
        for key in ("a", "a.b", "a.c", "b.c", "c", "a.b.d"):
            channel.basic_publish("amq.topic", key, key.encode())
        assert [subscriber.message()[1].decode() for _ in matching] == matching


@pytest.mark.parametrize("key", ["a.+.b", "a.#", "+", "#", "", "a.\0.b", "$SYS.x"])
def test_a_key_that_is_no_topic_harms_no_subscriber(amqp, mqtt, key):
    channel = amqp.channel(confirms=True)
    with raw.Connection(mqtt) as subscriber:
        subscriber.connect()
        subscriber.subscribe("#", 1)
        channel.basic_publish("amq.topic", key, b"odd")
        channel.basic_publish("amq.topic", "a.b", b"plain")
        topics = []
        while "a/b" not in topics:
            topic, *_ = subscriber.message()
            topics.append(topic)
        for topic in topics:
            assert topic and not set("+#\0") & set(topic), f"{topic!r} is no topic name"


def test_quality_follows_the_delivery_mode(amqp, mqtt):
    channel = amqp.channel(confirms=True)
    consumer = Consumer(channel, bound(amqp, channel, "q.#"), auto_ack=True)
    with mosquitto_clients.Subscriber(mqtt, "q/#", qos=2) as subscriber:
        for mode in (1, 2):
            channel.basic_publish("amq.topic", f"q.{mode}", b"m", pika.BasicProperties(delivery_mode=mode))
        assert [(topic, qos) for topic, qos, _ in subscriber.take(2)] == [("q/1", 0), ("q/2", 1)]
    for qos in (0, 1, 2):
        mosquitto_clients.publish(mqtt, "-t", "q/from", "-m", f"{qos}", "-q", f"{qos}")
    consumer.wait(5)
    assert [properties.delivery_mode for _, properties, _ in consumer.deliveries] == [1, 2, 1, 2, 2]


def test_large_and_empty_messages_pass_both_ways(amqp, mqtt):
    channel = amqp.channel(confirms=True)
    queue = bound(amqp, channel, "large.in")
    bodies = [b"", b"x" * 200_000]
    with raw.Connection(mqtt) as client:
        client.connect()
        client.subscribe("large/out", 1)
        for number, body in enumerate(bodies, 1):
            client.publish("large/in", body, 1, number)
            client.expect(raw.PUBACK)
            channel.basic_publish("amq.topic", "large.out", body)
            assert client.message()[:2] == ("large/out", body)
    assert take(channel, queue) == bodies


def test_a_message_that_only_mqtt_takes_is_not_returned(amqp, mqtt):
    channel = amqp.channel(confirms=True)
    with mosquitto_clients.Subscriber(mqtt, "taken/+") as subscriber:
        channel.basic_publish("amq.topic", "taken.here", b"m", mandatory=True)
        assert subscriber.take(1) == [("taken/here", 0, "m")]
    with pytest.raises(pika.exceptions.UnroutableError):
        channel.basic_publish("amq.topic", "untaken.here", b"m", mandatory=True)


def test_an_exchange_bound_to_amq_topic_passes_on_what_mqtt_publishes(amqp, mqtt):
    channel = amqp.channel()
    exchange, queue = amqp.exchange(channel, "topic", auto_delete=False), amqp.queue(channel)
    channel.exchange_bind(exchange, "amq.topic", "sensors.#")
    channel.queue_bind(queue, exchange, "sensors.*.high")
    mosquitto_clients.publish(mqtt, "-t", "sensors/1/high", "-m", "a", "-q", "1")
    mosquitto_clients.publish(mqtt, "-t", "sensors/1/low", "-m", "b", "-q", "1")
    method, _, body = channel.basic_get(queue, auto_ack=True)
    assert (method.exchange, method.routing_key, body) == ("amq.topic", "sensors.1.high", b"a") and take(channel, queue) == []
    channel.exchange_delete(exchange)


def test_another_vhosts_amq_topic_is_not_mqtts(mqtt):
    running = amqp_brokers.Martlet("--set", f"vhosts={amqp_brokers.VHOST}", loops=2, mqtt=True)
    client = Client(running)
    channel = client.channel(client.connect(virtual_host=amqp_brokers.VHOST), confirms=True)
    with raw.Connection(At(running, running.ports["mqtt"])) as subscriber:
        subscriber.connect()
        subscriber.subscribe("#", 1)
        channel.basic_publish("amq.topic", "a.b", b"m")
        assert subscriber.is_quiet(0.3)
    client.close()
    assert running.stop()[0] == 0
