"""`martlet amqp …` and `martlet bench amqp`, against martlet and against Debian's rabbitmq-server, with pika at the other end."""

import contextlib
import json
import re
import signal
import subprocess

import pika
import pytest

import brokers
from amqp_brokers import VHOST, Forwarder, Martlet
from amqp_pika import Consumer, refused, take, wait_ready
from brokers import martlet
from programs import Program


@pytest.fixture
def tool(amqp_broker):
    """Runs a command that ends by itself: its result, which must have been successful unless `code` says otherwise."""

    def run(command, *words, code=0, **more):
        done = martlet("amqp", command, "--url", f"amqp://{amqp_broker.host}:{amqp_broker.port}", *map(str, words), **more)
        assert done.returncode == code, done.stderr
        assert len(done.stderr.splitlines()) == (1 if code else 0), done.stderr
        return done.stderr if code else done.stdout

    return run


@pytest.fixture
def queue(amqp):
    """An empty queue that every connection may use."""
    channel = amqp.channel()
    name = amqp.queue(channel, exclusive=False)
    yield name
    amqp.connect().channel().queue_delete(name)


def running(amqp_broker, command, *words):
    return Program(brokers.binary(), "amqp", command, "--url", f"amqp://{amqp_broker.host}:{amqp_broker.port}", *words)


# publish


def test_publish_sends_a_message_with_its_properties(tool, amqp, queue):
    properties = "--content-type text/plain --content-encoding utf-8 --correlation-id c --reply-to r --message-id m --type t --app-id a --user-id guest"
    headers = ["--header", "room=kitchen", "--header", "floor:=2", "--header", "on:=true"]
    assert tool("publish", "--queue", queue, "-m", "21.5 °C", "--persistent", "--priority", "7", "--timestamp", "99", *properties.split(), *headers) == ""
    method, found, body = amqp.channel().basic_get(queue, auto_ack=True)
    assert (method.exchange, method.routing_key, body.decode()) == ("", queue, "21.5 °C")
    assert (found.delivery_mode, found.priority, found.timestamp, found.content_type, found.content_encoding) == (2, 7, 99, "text/plain", "utf-8")
    assert (found.correlation_id, found.reply_to, found.message_id, found.type, found.app_id, found.user_id) == ("c", "r", "m", "t", "a", "guest")
    assert found.headers == {"room": "kitchen", "floor": 2, "on": True}


def test_publish_without_words_about_it_sets_no_property(tool, amqp, queue):
    tool("publish", "--queue", queue, "-m", "x")
    _, found, _ = amqp.channel().basic_get(queue, auto_ack=True)
    assert found == pika.BasicProperties()


def test_publish_sends_a_message_a_line_in_order(tool, amqp, queue):
    lines = [f"line {number}" for number in range(5000)]
    tool("publish", "--queue", queue, "-l", input="\n".join(lines), timeout=60)
    assert [body.decode() for body in take(amqp.channel(), queue)] == lines


def test_publish_sends_files_standard_input_nothing_and_the_same_often(tool, amqp, queue, tmp_path):
    large = "z" * 300_000  # more than one frame
    file = tmp_path / "body"
    file.write_text(large)
    tool("publish", "--queue", queue, "-f", file)
    tool("publish", "--queue", queue, "-s", input=large)
    tool("publish", "--queue", queue, "-m", "", "-n", "3")
    assert [body.decode() for body in take(amqp.channel(), queue)] == [large, large, "", "", ""]
    assert "missing" in tool("publish", "--queue", queue, "-f", tmp_path / "missing", code=1)


def test_publish_says_what_the_server_refuses(tool, amqp):
    missing = amqp.name()
    assert "312 NO_ROUTE" in tool("publish", "--queue", missing, "-m", "x", "--mandatory", code=1)
    assert tool("publish", "--queue", missing, "-m", "x") == ""
    assert f"NOT_FOUND - no exchange '{missing}'" in tool("publish", "--exchange", missing, "-m", "x", code=1)


# consume


def test_consume_prints_and_acknowledges(amqp_broker, amqp, queue):
    with running(amqp_broker, "consume", "--queue", queue) as consumer:
        channel = amqp.channel(confirms=True)
        for number in range(300):
            channel.basic_publish("", queue, f"message {number}".encode())
        consumer.prints("message 299\n")
        assert consumer.output.decode().splitlines() == [f"message {number}" for number in range(300)]
        assert consumer.stop(signal.SIGINT) == 0, consumer.errors
    wait_ready(amqp.channel(), queue, 0)


@pytest.mark.parametrize("ack", ["1", "7", "50", "auto"])
def test_consume_leaves_after_its_count_and_takes_no_more(tool, amqp, queue, ack):
    channel = amqp.channel(confirms=True)
    for number in range(40):
        channel.basic_publish("", queue, str(number).encode())
    count = 40 if ack == "auto" else 25  # without acknowledgements all that was sent is gone
    assert tool("consume", "--queue", queue, "-n", count, "--ack", ack).split() == [str(number) for number in range(count)]
    wait_ready(channel, queue, 40 - count)
    assert take(channel, queue) == [str(number).encode() for number in range(count, 40)]


def test_consume_gives_back_what_it_has_not_printed(amqp_broker, amqp, queue):
    channel = amqp.channel(confirms=True)
    for _ in range(50):
        channel.basic_publish("", queue, b"x" * 100_000)
    words = [brokers.binary(), "amqp", "consume", "--url", f"amqp://{amqp_broker.host}:{amqp_broker.port}", "--queue", queue, "--prefetch", "10"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=brokers.environment()) as consumer:
        assert consumer.stdout.read(10) == b"x" * 10
        consumer.stdout.close()
        assert (consumer.wait(20), consumer.stderr.read()) == (0, b"")
    # The first lot at least has not left: a pipe holds less.
    assert len(take(channel, queue)) >= 40


def test_consume_has_a_queue_of_its_own_behind_an_exchange(amqp_broker, amqp):
    channel = amqp.channel(confirms=True)
    exchange = amqp.exchange(channel, "topic")
    with running(amqp_broker, "consume", "--exchange", exchange, "--key", "a.*", "--key", "b.#", "-v", "-n", "2") as consumer:
        brokers.wait_until(lambda: routed(channel, exchange, "a.1"))
        channel.basic_publish(exchange, "c.1", b"no")
        channel.basic_publish(exchange, "b.1.2", b"two")
        assert consumer.wait() == 0, consumer.errors
        assert consumer.output.decode().splitlines()[0] == "a.1 probe"
        assert "no" not in consumer.output.decode()


def routed(channel, exchange, key):
    try:
        channel.basic_publish(exchange, key, b"probe", mandatory=True)
        return True
    except pika.exceptions.UnroutableError:
        return False


def test_consume_prints_json(tool, amqp, queue):
    channel = amqp.channel(confirms=True)
    channel.basic_publish("", queue, "21.5 °C".encode(), pika.BasicProperties(content_type="text/plain", delivery_mode=2, headers={"a": 1, "b": [True, None]}))
    channel.basic_publish("", queue, b"\xff\x00")
    first, second = [json.loads(line) for line in tool("consume", "--queue", queue, "-n", "2", "--json").splitlines()]
    assert first == {
        "exchange": "", "routing_key": queue, "redelivered": False, "body": "21.5 °C",
        "properties": {"persistent": True, "content_type": "text/plain", "headers": {"a": 1, "b": [True, None]}},
    }  # fmt: skip
    assert (second["body_base64"], second["properties"]) == ("/wA=", {})


def test_consume_gives_up_after_its_time(tool, queue):
    assert "the time of -W is up" in tool("consume", "--queue", queue, "-n", "1", "-W", "1", code=1)


def test_consume_says_what_the_server_refuses(amqp_broker, tool, amqp, queue):
    missing = amqp.name()
    assert f"NOT_FOUND - no queue '{missing}'" in tool("consume", "--queue", missing, code=1)
    Consumer(amqp.channel(), queue)
    assert "in exclusive use" in tool("consume", "--queue", queue, "--exclusive", code=77)
    with running(amqp_broker, "consume", "--queue", queue) as consumer:
        brokers.wait_until(lambda: amqp.channel().queue_declare(queue, passive=True).method.consumer_count == 2)
        amqp.channel().queue_delete(queue)
        assert consumer.wait() == 1
        assert len(consumer.errors.splitlines()) == 1


# a connection that is lost


def test_publish_fails_when_its_connection_is_lost(amqp_broker, queue):
    with contextlib.closing(Forwarder(amqp_broker)) as forwarder:
        with running(forwarder, "publish", "--queue", queue, "-l") as publisher:
            publisher.write(b"one\n")
            brokers.wait_until(lambda: forwarder.accepted)
            forwarder.cut()
            # Its input is still open.
            assert publisher.wait() == 1
            assert "was lost" in publisher.errors.decode() and len(publisher.errors.splitlines()) == 1


def test_consume_connects_again(amqp_broker, amqp, queue):
    channel = amqp.channel(confirms=True)
    with contextlib.closing(Forwarder(amqp_broker)) as forwarder:
        with running(forwarder, "consume", "--queue", queue) as consumer:
            channel.basic_publish("", queue, b"before")
            consumer.prints("before\n")
            forwarder.cut()
            consumer.says("the connection is lost; attempt 1 to connect again in")
            channel.basic_publish("", queue, b"after")
            consumer.prints("after\n")
            assert consumer.stop() == 0
            assert consumer.output.decode().splitlines()[-1] == "after"


# get


def test_get_takes_a_message_and_fails_without_one(tool, amqp, queue):
    channel = amqp.channel(confirms=True)
    for text in (b"one", b"two", b"three"):
        channel.basic_publish("", queue, text)
    assert tool("get", "--queue", queue) == "one\n"
    assert tool("get", "--queue", queue, "-n", "9", "-v") == f"{queue} two\n{queue} three\n"
    assert f'queue "{queue}" is empty' in tool("get", "--queue", queue, code=1)


def test_get_can_only_look(tool, amqp, queue):
    channel = amqp.channel(confirms=True)
    for text in (b"one", b"two", b"three"):
        channel.basic_publish("", queue, text)
    assert tool("get", "--queue", queue, "-n", "2", "--requeue") == "one\ntwo\n"
    wait_ready(channel, queue, 3)
    looked = [json.loads(line) for line in tool("get", "--queue", queue, "-n", "9", "--requeue", "--json").splitlines()]
    assert [(message["body"], message["redelivered"]) for message in looked] == [("one", True), ("two", True), ("three", False)]
    wait_ready(channel, queue, 3)


# declare, delete, bind, unbind, purge


def test_queues_are_made_looked_at_purged_and_deleted(tool, amqp):
    name, channel = amqp.name(), amqp.channel(confirms=True)
    assert tool("declare", "--queue", name, "--durable") == f"{name}: 0 messages, 0 consumers\n"
    channel.queue_declare(name, durable=True)
    for _ in range(3):
        channel.basic_publish("", name, b"x")
    assert json.loads(tool("declare", "--queue", name, "--passive", "--json")) == {"queue": name, "messages": 3, "consumers": 0}
    assert "inequivalent arg 'durable'" in tool("declare", "--queue", name, code=1)
    assert tool("purge", "--queue", name) == f"{name}: 3 messages deleted\n"
    channel.basic_publish("", name, b"x")
    assert "not empty" in tool("delete", "--queue", name, "--if-empty", code=1)
    assert json.loads(tool("delete", "--queue", name, "--json")) == {"queue": name, "messages": 1}
    assert f"NOT_FOUND - no queue '{name}'" in tool("declare", "--queue", name, "--passive", code=1)
    named = json.loads(tool("declare", "--queue", "", "--auto-delete", "--json"))["queue"]
    assert named.startswith("amq.gen-")
    tool("delete", "--queue", named)


@pytest.mark.parametrize("kind", ["direct", "fanout", "topic", "headers"])
def test_exchanges_are_made_bound_and_deleted(tool, amqp, queue, kind):
    name, channel = amqp.name(), amqp.channel(confirms=True)
    assert tool("declare", "--exchange", name, "--type", kind) == ""
    key = {"topic": "a.*"}.get(kind, "a.b")
    words = ["--exchange", name, "--queue", queue, "--key", key]
    if kind == "headers":
        words += ["--argument", "x-match=all", "--argument", "room=kitchen", "--argument", "floor:=2"]
    headers = pika.BasicProperties(headers={"room": "kitchen", "floor": 2})
    assert tool("bind", *words) == ""
    channel.basic_publish(name, "a.b", b"bound", headers)
    wait_ready(channel, queue, 1)
    assert "in use" in tool("delete", "--exchange", name, "--if-unused", code=1)
    assert tool("unbind", *words) == ""
    channel.basic_publish(name, "a.b", b"unbound", headers)
    assert take(channel, queue) == [b"bound"]
    assert tool("delete", "--exchange", name, "--if-unused") == ""
    assert f"NOT_FOUND - no exchange '{name}'" in tool("declare", "--exchange", name, "--passive", code=1)


def test_an_exchange_is_bound_to_an_exchange(tool, amqp, queue):
    name, channel = amqp.name(), amqp.channel(confirms=True)
    tool("declare", "--exchange", name, "--type", "fanout", "--internal", "--auto-delete")
    tool("bind", "--exchange", name, "--queue", queue)
    tool("bind", "--exchange", "amq.topic", "--destination", name, "--key", f"{name}.#")
    channel.basic_publish("amq.topic", f"{name}.x", b"through")
    assert take(channel, queue, 1) == [b"through"]
    tool("unbind", "--exchange", "amq.topic", "--destination", name, "--key", f"{name}.#")
    channel.basic_publish("amq.topic", f"{name}.x", b"gone")
    assert take(channel, queue) == []
    tool("delete", "--exchange", name)


# all of them


def test_a_server_that_is_not_there_is_69():
    done = martlet("amqp", "get", "--url", f"amqp://127.0.0.1:{brokers.free_port()}", "--queue", "x")
    assert done.returncode == 69 and len(done.stderr.splitlines()) == 1


@pytest.fixture(params=["martlet", "rabbitmq"])
def guarded(request):
    """A server that lets in guest with password guest alone."""
    if request.param == "rabbitmq":
        yield request.getfixturevalue("rabbitmq")
        return
    running = Martlet("--user", "guest:guest")
    yield running
    assert running.stop()[0] == 0


def test_a_user_that_may_not_come_in_is_77(guarded):
    done = martlet("amqp", "get", "--url", f"amqp://mallory:secret@127.0.0.1:{guarded.port}", "--queue", "x")
    assert done.returncode == 77 and len(done.stderr.splitlines()) == 1 and "secret" not in done.stderr


def test_amqps_checks_the_certificate(serve, certificates):
    server = serve(listen=(f"amqps://127.0.0.1:0?cert={certificates.path('server')}&key={certificates.key('server')}",))
    url = f"amqps://127.0.0.1:{server.ports['amqps']}"
    trust = ["--cafile", str(certificates.authority)]
    assert martlet("amqp", "declare", "--url", url, "--queue", "hello", *trust).stdout == "hello: 0 messages, 0 consumers\n"
    assert martlet("amqp", "publish", "--url", url, "--queue", "hello", "-m", "x", "--insecure").returncode == 0
    assert martlet("amqp", "get", "--url", url, "--queue", "hello", *trust).stdout == "x\n"
    untrusted = martlet("amqp", "get", "--url", url, "--queue", "hello")
    assert untrusted.returncode == 69 and "certificate" in untrusted.stderr and len(untrusted.stderr.splitlines()) == 1
    assert martlet("amqp", "get", "--url", url.replace("amqps", "amqp"), "--queue", "hello", *trust).returncode == 64
    done = martlet("bench", "amqp", url, "--count", "100", "--json", *trust)
    assert (done.returncode, json.loads(done.stdout)["received"]) == (0, 100), done.stderr
    assert martlet("bench", "amqp", url, "--count", "100").returncode == 1


def test_the_url_names_the_virtual_host(rabbitmq):
    url = f"amqp://guest:guest@127.0.0.1:{rabbitmq.port}"
    assert martlet("amqp", "declare", "--url", f"{url}/{VHOST}", "--queue", "elsewhere").returncode == 0
    assert "no queue 'elsewhere' in vhost '/'" in martlet("amqp", "purge", "--url", url, "--queue", "elsewhere").stderr
    assert martlet("amqp", "delete", "--url", f"{url}/{VHOST}", "--queue", "elsewhere").returncode == 0
    done = martlet("amqp", "declare", "--url", f"{url}/nowhere", "--queue", "x")
    assert done.returncode == 1 and "nowhere" in done.stderr


# bench


def bench(amqp_broker, *words):
    done = martlet("bench", "amqp", f"amqp://{amqp_broker.host}:{amqp_broker.port}", "--json", *words, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.parametrize("ack", ["auto", "1", "50"])
@pytest.mark.parametrize("confirm", [None, "100"])
@pytest.mark.parametrize("publishers,consumers,queues", [(1, 1, 1), (4, 4, 4), (3, 2, 5), (2, 5, 1)])
def test_bench_counts_every_message(amqp_broker, ack, confirm, publishers, consumers, queues):
    words = ["--publishers", publishers, "--consumers", consumers, "--queues", queues, "--ack", ack] + (["--confirm", confirm] if confirm else [])
    result = bench(amqp_broker, "--count", "2000", *map(str, words))
    assert (result["sent"], result["received"], result["errors"]) == (2000, 2000, 0)
    assert result["acknowledged"] <= (2000 if confirm else 0)
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["p999_us"] <= result["max_us"]
    assert result["sent_per_s"] > 0 and result["recv_per_s"] > 0


@pytest.mark.parametrize("exchange,copies", [("default", 1), ("direct", 1), ("fanout", 6), ("topic", 1), ("headers", 1)])
def test_bench_routes_by_every_kind_of_exchange(amqp_broker, exchange, copies):
    bindings = [] if exchange == "default" else ["--bindings", "3"]
    result = bench(amqp_broker, "--count", "600", "--exchange", exchange, "--queues", "6", "--consumers", "4", "--publishers", "2", *bindings)
    assert (result["sent"], result["received"], result["errors"]) == (600, 600 * copies, 0)


def test_bench_sends_bodies_of_several_frames(amqp_broker):
    result = bench(amqp_broker, "--count", "20", "--size", "300000", "--ack", "1", "--persistent", "--confirm", "5")
    assert (result["sent"], result["received"], result["errors"]) == (20, 20, 0) and result["p50_us"] > 0


def test_bench_keeps_a_rate(amqp_broker):
    result = bench(amqp_broker, "--rate", "500", "--publishers", "2", "--duration", "2", "--warm-up", "0.3")
    assert 400 < result["sent_per_s"] < 600 and 400 < result["recv_per_s"] < 600


def test_bench_measures_confirms_without_consumers(amqp_broker):
    result = bench(amqp_broker, "--consumers", "0", "--confirm", "50", "--count", "1000")
    assert result["acknowledged"] == 1000 and result["p50_us"] > 0


class Recorder(Forwarder):
    """Keeps what passes."""

    def __init__(self, server):
        self.seen = bytearray()
        super().__init__(server)

    def _copy(self, source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                self.seen += piece
                target.sendall(piece)


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_bench_leaves_nothing_behind(amqp_broker, amqp, is_interrupted):
    with contextlib.closing(Recorder(amqp_broker)) as recorder:
        words = ["--duration", "60", "--warm-up", "0"] if is_interrupted else ["--count", "100"]
        url = f"amqp://127.0.0.1:{recorder.port}"
        with Program(brokers.binary(), "bench", "amqp", url, "--exchange", "topic", "--queues", "5", "--rate", "1000", *words) as bench:
            if is_interrupted:
                brokers.wait_until(lambda: recorder.seen.count(b"<\0<") > 100)  # basic.deliver
                bench.process.send_signal(signal.SIGINT)
            assert bench.wait() == 0, bench.errors
    assert [line.split()[0] for line in bench.output.decode().splitlines()] == ["load", "sent", "received", "latency", "errors"]
    queues = {name.decode() for name in re.findall(rb"bench-[0-9a-z]+-q[0-9]", recorder.seen)}
    assert len(queues) == 5
    for name in queues:
        with refused(404, f"NOT_FOUND - no queue '{name}' in vhost '/'"):
            amqp.channel().queue_declare(name, passive=True)
    exchange = re.search(rb"bench-[0-9a-z]+-topic", recorder.seen).group().decode()
    with refused(404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"):
        amqp.channel().exchange_declare(exchange, passive=True)


def test_bench_says_that_nobody_answers_or_that_it_may_not_come_in(guarded):
    nobody = martlet("bench", "amqp", f"amqp://127.0.0.1:{brokers.free_port()}")
    assert nobody.returncode == 69 and len(nobody.stderr.splitlines()) == 1
    refused = martlet("bench", "amqp", f"amqp://mallory:secret@127.0.0.1:{guarded.port}")
    assert refused.returncode == 1 and "ACCESS_REFUSED" in refused.stderr and len(refused.stderr.splitlines()) == 1
