"""`martlet bench zmq` with both ends its own, and with pyzmq at the other end: that it counts what there is."""

import json
import threading

import pytest
import zmq

import brokers
from brokers import martlet
from programs import Program
from zmq_peers import SECONDS, PyZMQ


def figures(*words, timeout=60):
    done = martlet("bench", "zmq", *map(str, words), "--json", "--quiet", timeout=timeout)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def ordered(result):
    return 0 < result["p50_us"] <= result["p99_us"] <= result["p999_us"] <= result["max_us"]


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:*", "ipc", "inproc://bench"])
@pytest.mark.parametrize("words", [[], ["--senders", 3], ["--receivers", 3], ["--size", 1000]], ids=str)
def test_every_message_is_counted(place, words, tmp_path):
    result = figures(f"ipc://{tmp_path}/bench" if place == "ipc" else place, "--count", 3000, *words)
    assert (result["sent"], result["received"], result["errors"]) == (3000, 3000, 0)
    assert ordered(result) and result["sent_per_s"] > 0 and result["recv_per_s"] > 0


@pytest.mark.parametrize("receivers", [1, 3])
def test_publishers_and_subscribers(receivers):
    # Fewer than the high-water mark: none is dropped.
    result = figures("tcp://127.0.0.1:*", "--pattern", "pub/sub", "--count", 500, "--receivers", receivers)
    assert (result["sent"], result["received"], result["errors"]) == (500, 500 * receivers, 0)


@pytest.mark.parametrize("clients", [1, 4])
def test_requests_of_both_ends(clients):
    result = figures("tcp://127.0.0.1:*", "--pattern", "req/rep", "--role", "both", "--senders", clients, "--count", 400)
    assert (result["sent"], result["received"], result["errors"]) == (400, 400, 0) and ordered(result)


def test_a_rate_is_kept():
    result = figures("tcp://127.0.0.1:*", "--rate", 500, "--duration", 2, "--warm-up", 0.3)
    assert 400 < result["sent_per_s"] < 600 and 400 < result["recv_per_s"] < 600


def test_requests_to_a_replier_of_libzmq():
    with PyZMQ("rep", rcvtimeo=-1) as rep:
        place = rep.bind("tcp://127.0.0.1:*")

        def answer():
            while (request := rep.receive()) != [b"end"]:
                rep.send(*request)
            rep.send(b"")

        answering = threading.Thread(target=answer)
        answering.start()
        result = figures(place, "--pattern", "req/rep", "--count", 200, "--senders", 2)
        assert (result["sent"], result["received"], result["errors"]) == (200, 200, 0) and ordered(result)
        with PyZMQ("req") as req:
            req.connect(place)
            req.send(b"end")
            req.receive()
        answering.join()


@pytest.mark.parametrize("pattern,kind", [("push/pull", "pull"), ("pub/sub", "sub")])
def test_it_sends_to_libzmq(pattern, kind):
    count = 900
    with PyZMQ(kind, **({"subscribe": b""} if kind == "sub" else {})) as receiver:
        place = receiver.bind("tcp://127.0.0.1:*")
        results = []
        benching = threading.Thread(target=lambda: results.append(figures(place, "--pattern", pattern, "--role", "send", "--count", count)))
        benching.start()
        if kind == "sub":
            # libzmq's bound SUB says what it wants only while it is used.
            receiver.set("rcvtimeo", 50)
            first = None
            while first is None:
                try:
                    first = receiver.receive()
                except zmq.Again:
                    assert benching.is_alive()
            receiver.set("rcvtimeo", SECONDS * 1000)
        else:
            first = receiver.receive()
        assert all(len(message[0]) == 64 for message in [first] + [receiver.receive() for _ in range(count - 1)])
        benching.join()
    assert (results[0]["sent"], results[0]["errors"], results[0]["p50_us"]) == (count, 0, None)


@pytest.mark.parametrize("pattern,kind", [("push/pull", "push"), ("pub/sub", "xpub")])
def test_it_receives_from_libzmq(pattern, kind):
    with PyZMQ(kind) as sender:
        place = sender.bind("tcp://127.0.0.1:*")
        results = []
        benching = threading.Thread(target=lambda: results.append(figures(place, "--pattern", pattern, "--role", "receive", "--count", 700)))
        benching.start()
        if kind == "xpub":
            assert sender.receive() == [b"\1"]
        for number in range(700):
            sender.send(b"%d" % number)
        benching.join()
    assert (results[0]["received"], results[0]["sent"], results[0]["errors"], results[0]["p50_us"]) == (700, 0, 0, None)


def test_it_replies_to_libzmq():
    port = brokers.free_port()
    with Program(brokers.binary(), "bench", "zmq", f"tcp://127.0.0.1:{port}", "--pattern", "req/rep", "--role", "receive", "--bind", "--count", 50) as running:
        with PyZMQ("req") as req:
            req.connect(f"tcp://127.0.0.1:{port}")
            for number in range(50):
                req.send(b"%d" % number)
                assert req.receive() == [b"%d" % number]
        assert running.wait() == 0, running.errors
        assert b"received      50," in running.output


def test_through_a_proxy():
    ends = [f"tcp://127.0.0.1:{brokers.free_port()}" for _ in range(2)]
    with Program(brokers.binary(), "zmq", "proxy", "--types", "pull/push", "--frontend", ends[0], "--backend", ends[1]) as proxy:
        result = figures(ends[0], "--from", ends[1], "--senders", 2, "--receivers", 2, "--count", 5000)
        assert (result["sent"], result["received"], result["errors"]) == (5000, 5000, 0)
        proxy.process.terminate()
        assert proxy.wait() == 0 and b"frontend to backend: 5000 messages" in proxy.errors


def test_the_table_is_for_people():
    done = martlet("bench", "zmq", "tcp://127.0.0.1:*", "--count", "1000", timeout=30)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["load", "sent", "received", "latency", "errors"]


def test_nobody_there_is_69():
    done = martlet("bench", "zmq", f"tcp://127.0.0.1:{brokers.free_port()}", "--role", "send", timeout=40)
    assert done.returncode == 69 and len(done.stderr.splitlines()) == 1 and "refused" in done.stderr


@pytest.mark.parametrize(
    "words, text",
    [
        ([], "say one URL"),
        (["nonsense"], "has no scheme"),
        (["ipc://@x", "--pattern", "push/sub"], "one of push/pull, pub/sub, req/rep"),
        (["ipc://@x", "--bind"], "--bind goes with"),
        (["ipc://@x", "--role", "send", "--from", "ipc://@y"], "--from goes with"),
        (["ipc://@x", "--senders", "2", "--receivers", "2"], "put a proxy between"),
    ],
)
def test_what_makes_no_load_is_said(words, text):
    done = martlet("bench", "zmq", *words)
    assert done.returncode == 64 and text in done.stderr and len(done.stderr.splitlines()) == 1
