"""The ZeroMQ examples, each side as ours and in Python with pyzmq, on the course's and the guide's ports."""

import itertools
import sys

import pytest

import brokers
from programs import Program, example

EXAMPLES = brokers.ROOT / "Examples"
PEER = brokers.ROOT / "Tests/Interop/peers/zmq_course.py"
# Of each program of the course: its port, and the lines of its Python listings, without blank ones and comments.
LISTINGS = {"16-zmq-request-reply": 16, "17-zmq-publish-subscribe": 21}
LANGUAGES = ["example", "python"]
pairs = pytest.mark.parametrize("one,other", list(itertools.product(LANGUAGES, repeat=2)))


@pytest.fixture
def start(course_port):
    """Starts a role of an example. The course's ports are for one test at a time."""
    running = []

    def begin(language, name, port, role, *words):
        ours = [example(name), role, *words]
        # What only our programs take is an option.
        theirs = [word for word in words if not str(word).startswith("--")]
        running.append(Program(*(ours if language == "example" else [sys.executable, PEER, role, port, *theirs])))
        return running[-1]

    yield begin
    for program in running:
        program.kill()


def lines(program):
    return program.output.decode().splitlines()


@pytest.mark.parametrize("name", LISTINGS)
def test_an_example_is_no_longer_than_its_listings(name):
    code = [line for line in (EXAMPLES / name / "main.swift").read_text().splitlines() if line.strip() and not line.strip().startswith("//")]
    assert 0 < len(code) <= LISTINGS[name]


@pairs
@pytest.mark.parametrize("first", ["replier", "requester"])
def test_request_and_reply(start, one, other, first):
    both = [(one, "replier"), (other, "requester")]
    programs = {role: start(language, "zmq-request-reply", 5678, role) for language, role in (both if first == "replier" else reversed(both))}
    assert programs["requester"].wait() == 0 and programs["replier"].wait() == 0
    assert lines(programs["requester"]) == ["Echo: General Kenobi"]
    assert lines(programs["replier"]) == ["Echo: Hello There"]


@pairs
def test_a_subscriber_hears_its_topic(start, one, other):
    publisher = start(one, "zmq-publish-subscribe", 5680, "publisher")
    subscriber = start(other, "zmq-publish-subscribe", 5680, "subscriber", "2")
    subscriber.prints(r"2-Update! >> #\d+[^\n]*\n2-Update! >> #\d+[^\n]*\n")
    assert all(line.startswith("2-Update! >> #") for line in lines(subscriber))
    assert publisher.process.poll() is None


@pytest.mark.parametrize("ventilates,works,collects", list(itertools.product(LANGUAGES, repeat=3)))
def test_a_pipeline(start, ventilates, works, collects):
    count = 30
    workers = [start(works, "zmq-pipeline", 5690, "worker") for _ in range(2)]
    sink = start(collects, "zmq-pipeline", 5690, "sink", count)
    ventilator = start(ventilates, "zmq-pipeline", 5690, "ventilator", *([2, count] if ventilates == "example" else [count]))
    assert sink.wait() == 0 and ventilator.wait() == 0, sink.errors
    assert sorted(int(line.split()[1]) for line in lines(sink)) == list(range(1, count + 1))
    received = [[line for line in lines(worker) if line.startswith("Received: ")] for worker in workers]
    assert sum(map(len, received)) == count
    if ventilates == "example":
        assert [len(one) for one in received] == [count // 2, count // 2]


@pairs
def test_a_lazy_pirate_goes_on_when_its_server_comes_again(start, one, other):
    server = start(one, "zmq-lazy-pirate", 5555, "server", 2)
    words = [5, "--timeout", 3000] if other == "example" else [5, 3000]
    client = start(other, "zmq-lazy-pirate", 5555, "client", *words)
    client.prints("replied.*2")
    assert server.wait() == 0
    server = start(one, "zmq-lazy-pirate", 5555, "server", 3)
    assert client.wait() == 0, client.errors
    replied = [line for line in lines(client) if "replied" in line]
    assert [line.strip(")")[-1] for line in replied] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_lazy_pirate_gives_up(start, language):
    client = start(language, "zmq-lazy-pirate", 5555, "client", *([5, "--timeout", 100] if language == "example" else [5, 100]))
    assert client.wait() == 0
    assert "abandon" in lines(client)[-1]


@pairs
def test_paranoid_pirates_outlive_their_workers(start, one, other):
    start("example", "zmq-paranoid-pirate", 5555, "queue", "--heartbeat", 200)

    def worker(count):
        if one == "example":
            return start(one, "zmq-paranoid-pirate", 5555, "worker", count, "--heartbeat", 200)
        return start(one, None, 5555, "pirate", count, 200)

    first = worker(2)
    words = [6, "--timeout", 3000] if other == "example" else [6, 3000]
    client = start(other, "zmq-lazy-pirate", 5555, "client", *words)
    # It dies with the third request, which the client asks again, and another one answers.
    assert first.wait() == 0, first.errors
    second = worker(100)
    assert client.wait() == 0, client.errors
    replied = [line for line in lines(client) if "replied" in line]
    assert [line.strip(")")[-1] for line in replied] == ["1", "2", "3", "4", "5", "6"]
    assert second.process.poll() is None


def test_a_worker_finds_a_queue_that_comes_again(start):
    queue = start("example", "zmq-paranoid-pirate", 5555, "queue", "--heartbeat", 100)
    worker = start("example", "zmq-paranoid-pirate", 5555, "worker", 100, "--heartbeat", 100)

    def ask():
        client = start("python", None, 5555, "client", 1, 5000)
        assert client.wait() == 0
        return lines(client)

    assert ask() == ["replied 1"]
    queue.kill()
    worker.prints("Nothing heard from the queue")
    start("example", "zmq-paranoid-pirate", 5555, "queue", "--heartbeat", 100)
    assert ask() == ["replied 1"]


def test_an_example_takes_a_port_of_its_own(start):
    port = brokers.free_port()
    replier = start("example", "zmq-request-reply", port, "replier", "--port", port)
    requester = start("python", None, port, "requester")
    assert requester.wait() == 0 and replier.wait() == 0
