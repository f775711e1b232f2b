"""Exchanges route as AMQP 0-9-1 and RabbitMQ's extensions say: the same tests against martlet and rabbitmq-server."""

import itertools
import struct

import pika
import pytest
from pamqp import commands

import amqp_raw
from amqp_brokers import VHOST
from amqp_pika import ready, refused, take


@pytest.fixture
def channel(amqp):
    return amqp.channel(confirms=True)


def published(channel, exchange, key="", headers=None):
    """Publishes the key (or the headers) as the body; whether a queue took it."""
    body = repr(headers).encode() if headers is not None else key.encode()
    try:
        channel.basic_publish(exchange, key, body, pika.BasicProperties(headers=headers), mandatory=True)
        return True
    except pika.exceptions.UnroutableError:
        return False


def test_the_default_exchange_routes_to_the_queue_of_that_name(amqp, channel):
    first, second = amqp.queue(channel), amqp.queue(channel)
    assert published(channel, "", first) and not published(channel, "", amqp.name())
    assert take(channel, first) == [first.encode()] and take(channel, second) == []


def test_a_direct_exchange_routes_by_equal_keys(amqp, channel):
    exchange = amqp.exchange(channel)
    both, one = amqp.queue(channel), amqp.queue(channel)
    for queue, key in ((both, "red"), (both, "green"), (one, "red"), (one, "")):
        channel.queue_bind(queue, exchange, key)
    assert [published(channel, exchange, key) for key in ("red", "green", "blue", "Red", "re", "red.", "")] == [True, True, False, False, False, False, True]
    assert take(channel, both) == [b"red", b"green"] and take(channel, one) == [b"red", b""]


@pytest.mark.parametrize("kind, keys", [("direct", ["k", "k"]), ("fanout", ["k", "l"]), ("topic", ["#", "a.*", "*.b", "a.b"])])
def test_a_queue_gets_a_message_once_however_many_bindings_match(amqp, channel, kind, keys):
    exchange, queue = amqp.exchange(channel, kind), amqp.queue(channel)
    for key in keys:
        channel.queue_bind(queue, exchange, key)
    published(channel, exchange, "a.b" if kind == "topic" else "k")
    assert len(take(channel, queue)) == 1


def test_a_fanout_exchange_ignores_the_key(amqp, channel):
    exchange, queues = amqp.exchange(channel, "fanout"), [amqp.queue(channel) for _ in range(3)]
    for queue, key in zip(queues, ("", "a", "b")):
        channel.queue_bind(queue, exchange, key)
    for key in ("a", "c"):
        assert published(channel, exchange, key)
    assert [take(channel, queue) for queue in queues] == [[b"a", b"c"]] * 3


def matches(pattern, words):
    """A topic's rule, as the specification words it: * is one word, # none or more."""
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(matches(pattern[1:], words[at:]) for at in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and matches(pattern[1:], words[1:])


@pytest.mark.parametrize("predeclared", [False, True], ids=["declared", "amq.topic"])
def test_a_topic_exchange_routes_by_patterns(amqp, channel, predeclared):
    exchange = "amq.topic" if predeclared else amqp.exchange(channel, "topic")
    patterns = ["", "#", "*", "a", "a.b", "a.*", "*.b", "a.#", "#.b", "a.*.c", "a.#.c", "#.b.#", "*.#", "#.*", "#.#", "*.*", "a..b", "a.", ".a", "*.", "a.*.#", "A", "a#", "*a", "a/b", "%.#"]
    keys = ["", "a", "b", "a.b", "a.c", "b.b", "a.b.c", "a.c", "a.b.b.c", "a.b.c.d", "a..b", "a.", ".a", ".", "A", "a#", "xa", "a.*", "#", "*", "b.a.b", "a/b", "a%2Fb.c", "%"]
    queues = {pattern: amqp.queue(channel) for pattern in patterns}
    for pattern, queue in queues.items():
        channel.queue_bind(queue, exchange, pattern)
    if predeclared:
        keys.remove("")  # MQTT, which shares amq.topic, has no address without a level
    for key in keys:
        channel.basic_publish(exchange, key, key.encode())
    for pattern, queue in queues.items():
        # A key without a word is no word, not one empty word.
        expected = [key for key in keys if matches(pattern.split(".") if pattern else [], key.split(".") if key else [])]
        assert [body.decode() for body in take(channel, queue)] == expected, pattern


def test_a_topic_key_has_up_to_255_octets_of_utf8(amqp, channel):
    exchange, queue = amqp.exchange(channel, "topic"), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "#.é.*")
    longest = "x." * 125 + "é.yz"
    assert len(longest.encode()) == 255 and published(channel, exchange, longest) and published(channel, exchange, "é.東京")
    assert [body.decode() for body in take(channel, queue)] == [longest, "é.東京"]


HEADERS = [
    ({"x-match": "all", "a": "1", "b": 2}, [True, False, False, True, False, False]),
    ({"a": "1", "b": 2}, [True, False, False, True, False, False]),
    ({"x-match": "any", "a": "1", "b": 2}, [True, True, True, True, False, False]),
    ({"x-match": "all"}, [True] * 6),
    ({"x-match": "any"}, [False] * 6),
    ({"x-match": "all", "a": None}, [True, True, False, True, True, False]),
    ({"x-match": "all", "x-skipped": "y", "b": 2}, [True, False, True, True, False, False]),
    ({"x-match": "all-with-x", "x-skipped": "y", "b": 2}, [False, False, False, True, False, False]),
    ({"x-match": "any-with-x", "x-skipped": "y"}, [False, False, False, True, False, False]),
]


@pytest.mark.parametrize("arguments, expected", HEADERS, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_headers_exchange_routes_by_the_headers_of_the_message(amqp, channel, arguments, expected):
    exchange, queue = amqp.exchange(channel, "headers"), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "the key is not looked at", arguments)
    messages = [{"a": "1", "b": 2}, {"a": "1"}, {"b": 2}, {"a": "1", "b": 2, "c": "3", "x-skipped": "y"}, {"a": 1, "b": "2"}, {"A": "1"}]
    assert [published(channel, exchange, headers=headers) for headers in messages] == expected
    assert len(take(channel, queue)) == sum(expected)


NUMBERS = {
    b"b": b"\x02", b"B": b"\x02", b"s": b"\0\x02", b"u": b"\0\x02", b"I": b"\0\0\0\x02", b"i": b"\0\0\0\x02", b"l": b"\0\0\0\0\0\0\0\x02", b"L": b"\0\0\0\0\0\0\0\x02",
    b"T": b"\0\0\0\0\0\0\0\x02", b"f": struct.pack(">f", 2), b"d": struct.pack(">d", 2),
}  # fmt: skip
TEXTS = {b"S": b"\0\0\0\x012", b"x": b"\0\0\0\x012"}
LONE = {b"t": b"\x01", b"D": b"\0\0\0\0\x02"}


class Encoded(bytes):
    """A field's value as it goes on the wire."""


@pytest.mark.parametrize("same", [NUMBERS, TEXTS, LONE], ids=["numbers", "texts", "others"])
def test_headers_are_equal_by_value_whatever_their_type(amqp, channel, monkeypatch, same):
    encode = pika.data.encode_value

    def encode_value(pieces, value):
        if not isinstance(value, Encoded):
            return encode(pieces, value)
        pieces.append(bytes(value))
        return len(value)

    monkeypatch.setattr(pika.data, "encode_value", encode_value)
    everything = {letter: Encoded(letter + value) for letter, value in {**NUMBERS, **TEXTS, **LONE}.items()}
    for letter in same:
        exchange, queue = amqp.exchange(channel, "headers"), amqp.queue(channel)
        channel.queue_bind(queue, exchange, "", {"x-match": "all", "field": everything[letter]})
        found = {other for other, value in everything.items() if published(channel, exchange, headers={"field": value})}
        assert found == ({letter} if same is LONE else set(same)), letter


def test_a_message_without_headers_matches_only_what_asks_for_none(amqp, channel):
    exchange, queues = amqp.exchange(channel, "headers"), [amqp.queue(channel) for _ in range(2)]
    channel.queue_bind(queues[0], exchange, "", {"x-match": "all"})
    channel.queue_bind(queues[1], exchange, "", {"x-match": "all", "a": None})
    assert published(channel, exchange)
    assert [len(take(channel, queue)) for queue in queues] == [1, 0]


@pytest.mark.parametrize(
    "name, kind",
    [("amq.direct", "direct"), ("amq.fanout", "fanout"), ("amq.topic", "topic"), ("amq.headers", "headers"), ("amq.match", "headers")],
)
def test_predeclared_exchanges_are_there_and_route(amqp, channel, name, kind):
    channel.exchange_declare(name, kind, durable=True)
    queue, key = amqp.queue(channel), amqp.name("key")
    arguments = {"x-match": "all", "only": key} if kind == "headers" else None
    channel.queue_bind(queue, name, key, arguments)
    channel.basic_publish(name, key, b"m", pika.BasicProperties(headers={"only": key}))
    assert b"m" in take(channel, queue)


def test_an_internal_exchange_takes_messages_from_exchanges_alone(amqp, channel):
    inside, outside, queue = amqp.exchange(channel, "fanout", internal=True), amqp.exchange(channel), amqp.queue(channel)
    channel.queue_bind(queue, inside)
    channel.exchange_bind(inside, outside, "k")
    assert published(channel, outside, "k") and take(channel, queue) == [b"k"]
    with refused(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{inside}' in vhost '/'"):
        published(channel, inside, "k")


def test_an_auto_delete_exchange_goes_with_its_last_binding_not_before_its_first(amqp, channel):
    exchange, queue = amqp.exchange(channel), amqp.queue(channel)
    channel.exchange_declare(exchange, passive=True)
    for key in ("a", "b"):
        channel.queue_bind(queue, exchange, key)
    channel.queue_unbind(queue, exchange, "a")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_unbind(queue, exchange, "b")
    with refused(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize("gone", ["queue deleted", "exchange deleted", "exchange unbound", "connection closed"])
def test_an_auto_delete_exchange_goes_when_what_it_is_bound_to_goes(amqp, channel, gone):
    exchange, other = amqp.exchange(channel), amqp.exchange(channel, "fanout", auto_delete=False)
    owner = amqp.channel()
    queue = amqp.queue(owner)
    if gone.startswith("exchange"):
        channel.exchange_bind(other, exchange, "k")
    else:
        owner.queue_bind(queue, exchange, "k")
    {
        "queue deleted": lambda: owner.queue_delete(queue),
        "exchange deleted": lambda: channel.exchange_delete(other),
        "exchange unbound": lambda: channel.exchange_unbind(other, exchange, "k"),
        "connection closed": lambda: owner.connection.close(),
    }[gone]()
    if gone != "exchange deleted":
        channel.exchange_delete(other)
    with refused(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        channel.exchange_declare(exchange, passive=True)


def test_what_an_exchange_cannot_route_goes_to_its_alternate(amqp, channel):
    alternate = amqp.exchange(channel, "fanout")
    exchange = amqp.exchange(channel, arguments={"alternate-exchange": alternate})
    bound, rest = amqp.queue(channel), amqp.queue(channel)
    channel.queue_bind(bound, exchange, "k")
    channel.queue_bind(rest, alternate)
    assert published(channel, exchange, "k") and published(channel, exchange, "other")
    assert take(channel, bound) == [b"k"] and take(channel, rest) == [b"other"]
    method, properties, _ = channel.basic_get(rest) if published(channel, exchange, "third") else (None, None, None)
    assert (method.exchange, method.routing_key) == (exchange, "third")


def test_alternates_follow_one_another_and_a_circle_ends(amqp, channel):
    names = [amqp.name("circle") for _ in range(3)]
    for at, name in enumerate(names):
        channel.exchange_declare(name, "direct", auto_delete=True, arguments={"alternate-exchange": names[(at + 1) % 3]})
    queue = amqp.queue(channel)
    channel.queue_bind(queue, names[2], "k")
    assert published(channel, names[0], "k") and not published(channel, names[0], "nowhere")
    assert take(channel, queue) == [b"k"]


def test_an_alternate_that_does_not_exist_is_as_none(amqp, channel):
    exchange = amqp.exchange(channel, arguments={"alternate-exchange": amqp.name("absent")})
    channel.queue_bind(amqp.queue(channel), exchange, "k")
    assert not published(channel, exchange, "other")


def test_exchanges_bind_to_exchanges_each_by_its_own_rule(amqp, channel):
    source, topic, fanout = amqp.exchange(channel, "topic"), amqp.exchange(channel, "topic"), amqp.exchange(channel, "fanout")
    first, second = amqp.queue(channel), amqp.queue(channel)
    channel.exchange_bind(topic, source, "a.#")
    channel.exchange_bind(fanout, topic, "#.z")
    channel.queue_bind(first, topic, "*.b")
    channel.queue_bind(second, fanout)
    assert [published(channel, source, key) for key in ("a.b", "b.b", "a.z", "a.x")] == [True, False, True, False]
    assert take(channel, first) == [b"a.b"] and take(channel, second) == [b"a.z"]
    channel.exchange_unbind(fanout, topic, "#.z")
    assert not published(channel, source, "a.z")


def test_a_circle_of_exchanges_delivers_once(amqp, channel):
    names, queue = [amqp.exchange(channel, "fanout", auto_delete=False) for _ in range(3)], amqp.queue(channel)
    for source, destination in itertools.product(names, names):
        channel.exchange_bind(destination, source)
    for name in names:
        channel.queue_bind(queue, name)
    assert published(channel, names[0], "k") and take(channel, queue) == [b"k"]
    for name in names:
        channel.exchange_delete(name)


def test_a_deleted_exchange_takes_its_bindings_along(amqp, channel):
    exchange, queue = amqp.exchange(channel), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "k")
    channel.exchange_delete(exchange)
    channel.exchange_declare(exchange, auto_delete=True)
    assert not published(channel, exchange, "k")
    channel.exchange_delete(exchange)
    channel.exchange_delete(exchange)


def test_an_exchange_in_use_is_not_deleted_if_that_is_asked(amqp, channel):
    exchange, queue = amqp.exchange(channel, auto_delete=False), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "k")
    other = amqp.channel()
    with refused(406, f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"):
        other.exchange_delete(exchange, if_unused=True)
    channel.queue_unbind(queue, exchange, "k")
    channel.exchange_delete(exchange, if_unused=True)


def test_bindings_are_a_set_and_unbinding_names_one_exactly(amqp, channel):
    exchange, queue = amqp.exchange(channel, "headers", auto_delete=False), amqp.queue(channel)
    red, green = {"x-match": "all", "colour": "red"}, {"x-match": "all", "colour": "green"}
    for arguments in (red, red, green):
        channel.queue_bind(queue, exchange, "k", arguments)
    channel.queue_unbind(queue, exchange, "k", red)
    channel.queue_unbind(queue, exchange, "k")
    channel.queue_unbind(queue, exchange, "other", green)
    assert [published(channel, exchange, headers={"colour": colour}) for colour in ("red", "green")] == [False, True]
    channel.exchange_delete(exchange)


@pytest.mark.parametrize("kind", ["fanout", "headers"])
def test_bindings_differ_by_their_keys_where_no_key_is_looked_at(amqp, channel, kind):
    exchange, queue = amqp.exchange(channel, kind, auto_delete=False), amqp.queue(channel)
    for key in ("a", "b"):
        channel.queue_bind(queue, exchange, key)
    channel.queue_unbind(queue, exchange, "a")
    assert published(channel, exchange, "c") and take(channel, queue) == [b"c"]
    channel.queue_unbind(queue, exchange, "b")
    assert not published(channel, exchange, "c")
    channel.exchange_delete(exchange)


@pytest.mark.parametrize("wanted, given", [(b"b\5", b"l" + bytes(7) + b"\5"), (b"I\xff\xff\xff\xff", b"s\xff\xff"), (b"f\x3f\xc0\0\0", b"d\x3f\xf8" + bytes(6))], ids=repr)
def test_a_number_in_a_header_is_the_same_in_every_width(amqp_broker, wanted, given):
    with amqp_raw.Connection(amqp_broker) as raw:
        queue = raw.call(commands.Queue.Declare(exclusive=True)).queue
        table = b"\1n" + wanted
        arguments = bytes([len(queue)]) + queue.encode() + b"\x0bamq.headers\0\0" + struct.pack(">I", len(table)) + table
        raw.write(amqp_raw.frame_bytes(amqp_raw.METHOD, 1, struct.pack(">HHH", 50, 20, 0) + arguments))
        raw.expect(commands.Queue.BindOk)
        for value in (given, b"S\0\0\0\0015"):
            table = b"\1n" + value
            properties = struct.pack(">HI", 1 << 13, len(table)) + table
            raw.send(commands.Basic.Publish(0, "amq.headers", "", True, False))
            raw.write(amqp_raw.frame_bytes(amqp_raw.HEADER, 1, struct.pack(">HHQ", 60, 0, 0) + properties))
        raw.message(commands.Basic.Return)
        raw.send(commands.Basic.Get(0, queue, True))
        assert raw.message(commands.Basic.GetOk)[0].message_count == 0


def test_an_unknown_x_match_is_refused(amqp, channel):
    exchange, queue = amqp.exchange(channel, "headers"), amqp.queue(channel)
    with refused(406, 'PRECONDITION_FAILED - Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x'):
        channel.queue_bind(queue, exchange, "", {"x-match": "some"})


def test_an_alternate_may_come_and_go(amqp, channel):
    alternate, queue = amqp.name("alternate"), amqp.queue(channel)
    exchange = amqp.exchange(channel, arguments={"alternate-exchange": alternate})
    channel.queue_bind(amqp.queue(channel), exchange, "k")
    for _ in range(2):
        assert not published(channel, exchange, "other")
        channel.exchange_declare(alternate, "fanout")
        channel.queue_bind(queue, alternate)
        assert published(channel, exchange, "other") and take(channel, queue) == [b"other"]
        channel.exchange_delete(alternate)
    assert not published(channel, exchange, "other")


def test_declaring_what_is_there_again_changes_nothing(amqp, channel):
    exchange, queue = amqp.exchange(channel, "topic"), amqp.queue(channel)
    channel.queue_bind(queue, exchange, "k")
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    channel.exchange_declare(exchange, "fanout", passive=True)
    assert published(channel, exchange, "k") and ready(channel, queue) == 1


def test_names_of_255_octets_and_any_utf8_are_names(amqp, channel):
    name = amqp.name("é東") + " /#*."
    name += "x" * (255 - len(name.encode()))
    channel.exchange_declare(name, "fanout", auto_delete=True)
    queue = amqp.queue(channel, queue=name)
    channel.queue_bind(queue, name)
    assert queue == name and published(channel, name, "k") and take(channel, name) == [b"k"]


def test_vhosts_are_worlds_of_their_own(amqp, channel):
    name = amqp.queue(channel)
    elsewhere = amqp.channel(amqp.connect(virtual_host=VHOST), confirms=True)
    with refused(404, f"NOT_FOUND - no queue '{name}' in vhost '{VHOST}'"):
        elsewhere.queue_declare(name, passive=True)
    elsewhere = amqp.channel(amqp.connect(virtual_host=VHOST), confirms=True)
    amqp.queue(elsewhere, queue=name)
    assert published(elsewhere, "", name) and ready(channel, name) == 0 and take(elsewhere, name) == [name.encode()]
    with refused(404, f"NOT_FOUND - no exchange 'absent' in vhost '{VHOST}'"):
        published(elsewhere, "absent", "k")
