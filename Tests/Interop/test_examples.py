"""The course's programs: each example beside its twin, beside a short Python peer, and beside `martlet tcp echo|connect`, on the course's port."""

import itertools
import re
import sys
from pathlib import Path

import pytest

import brokers
from programs import Program, example, martlet

PEERS = brokers.ROOT / "Tests/Interop/peers"
EXAMPLES = brokers.ROOT / "Examples"

# Lines of the course's Python listing, without blank ones and comments. The course has no listing of a pair of peers: that is our Python peer's.
LISTINGS = {
    "01-tcp-echo-server": 14,
    "02-tcp-echo-client": 8,
    "05-async-tcp-server": 25,
    "07-peer-to-peer": 15,
}


def python(name, port):
    return Program(sys.executable, PEERS / f"course_{name}.py", "127.0.0.1", port)


def lines(program):
    return program.output.decode().splitlines()


@pytest.mark.parametrize("name", LISTINGS)
def test_an_example_is_no_longer_than_its_listing(name):
    text = "\n".join(path.read_text() for path in sorted((EXAMPLES / name).glob("*.swift")))
    code = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("//")]
    assert 0 < len(code) <= LISTINGS[name]


def test_every_example_is_in_the_table():
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.name[0].isdigit())
    table = (EXAMPLES / "README.md").read_text()
    assert [name for name in folders if f"]({name}/" not in table] == []


def test_the_readme_has_the_example_that_compiles():
    """The code that a reader copies is that of 05-async-tcp-server, with the place written out."""
    code = (EXAMPLES / "05-async-tcp-server/main.swift").read_text().split("import MartletSockets\n")[1]
    readme = (brokers.ROOT / "README.md").read_text()
    assert "```swift\nimport MartletSockets\n" + code.replace("Arguments.place", '"127.0.0.1:65432"') + "```" in readme


TESTED = {
    "MartletHTTP": ("HTTPReadmeTests", 2, [("\\(origin.dropLast())", "http://localhost:8000"), ("\\(origin)", "http://localhost:8000")]),
    "MartletZMQ": ("ZMQReadmeTests", 1, [("\\(endpoint)", "tcp://*:5555")]),
}


@pytest.mark.parametrize("library", TESTED)
def test_the_readme_has_the_code_that_is_tested(library):
    suite, count, places = TESTED[library]
    tested = (brokers.ROOT / f"Tests/Libraries/{suite}.swift").read_text()
    for place, written in places:
        tested = tested.replace(place, written)
    tested = [line.strip() for line in tested.splitlines()]
    blocks = re.findall(rf"```swift\nimport {library}\n\n(.*?)```", (brokers.ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == count
    for block in blocks:
        lines = [line.strip() for line in block.splitlines()]
        assert any(tested[start:start + len(lines)] == lines for start in range(len(tested))), block


# The course's servers, how they say that they are ready, and what they print for each chunk.
SERVERS = {
    "example": (lambda port: Program(example("tcp-echo-server")), "listening", "Received: Hello, world"),
    "python": (lambda port: python("tcp_server", port), "listening", "received Hello, world"),
    "martlet": (lambda port: martlet("tcp", "echo", "--model", "blocking"), None, None),
}
CLIENTS = {
    "example": (lambda port: Program(example("tcp-echo-client")), "Received echo: Hello, world\n"),
    "python": (lambda port: python("tcp_client", port), "echo Hello, world\n"),
    "martlet": (lambda port: martlet("tcp", "connect"), "Hello, world"),
}


@pytest.mark.parametrize("server,client", list(itertools.product(SERVERS, CLIENTS)))
def test_the_course_s_server_and_client(course_port, server, client):
    start_server, ready, received = SERVERS[server]
    start_client, printed = CLIENTS[client]
    with start_server(course_port) as running:
        if ready:
            running.prints(ready)
        else:
            brokers.wait_for_port(course_port)
        with start_client(course_port) as asking:
            if client == "martlet":
                asking.write(b"Hello, world")
                asking.end_input()
            assert asking.wait() == 0, asking.errors
            assert asking.output.decode() == printed
        if received:
            assert received in lines(running) or running.prints(received)
            # One client, and the end: as in the course.
            assert running.wait() == 0, running.errors


@pytest.mark.parametrize("server", ["example", "python"])
@pytest.mark.parametrize("clients", ["example", "python"])
def test_the_course_s_asyncio_server_serves_many(course_port, server, clients):
    start = (lambda: Program(example("async-tcp-server"))) if server == "example" else (lambda: python("async_server", course_port))
    with start() as running:
        running.prints("(?i)serving")
        # The first stays: whoever waits for it would not serve the others.
        with martlet("tcp", "connect", f"127.0.0.1:{course_port}") as first:
            first.write(b"first")
            first.prints("first")
            for _ in range(3):
                start_client, printed = CLIENTS[clients]
                with start_client(course_port) as client:
                    assert client.wait() == 0, client.errors
                    assert client.output.decode() == printed
            first.write(b" again")
            first.prints("first again")
            first.end_input()
            assert first.wait() == 0
        if server == "example":
            running.prints("(Closing connection with 127.0.0.1:\\d+\\n(.|\n)*){4}")
            received = [line.split(": ", 1)[1] for line in lines(running) if line.startswith("Received from 127.0.0.1:")]
            assert received == ["first", "Hello, world", "Hello, world", "Hello, world", " again"]


@pytest.mark.parametrize("waits,finds", list(itertools.product(["example", "python"], repeat=2)))
def test_two_peers_find_each_other(course_port, waits, finds):
    start = {"example": lambda: Program(example("peer-to-peer")), "python": lambda: python("peer", course_port)}
    with start[waits]() as first:
        brokers.wait_until(lambda: brokers.listens(course_port))
        with start[finds]() as second:
            first.prints(r"(?i)Peer:? 127.0.0.1[: ]\d+\n(said )?Hello, 127.0.0.1:65432\n")
            own = first.prints(r"(?i)Peer:? 127.0.0.1[: ](\d+)").group(1).decode()
            second.prints(rf"(?i)Peer:? 127.0.0.1[: ]65432\n(said )?Hello, 127.0.0.1:{own}\n")
            assert second.wait() == 0, second.errors


def test_examples_take_a_place_of_their_own():
    port = str(brokers.free_port())
    with Program(example("tcp-echo-server"), "--port", port) as server:
        server.prints(f"127.0.0.1:{port}")
        with Program(example("tcp-echo-client"), "--port", port, "--host", "localhost") as client:
            assert client.wait() == 0, client.errors
        assert server.wait() == 0


def test_an_example_that_nobody_answers_says_why():
    with Program(example("tcp-echo-client"), "--port", str(brokers.free_port())) as client:
        assert client.wait() != 0
        assert "refused" in client.errors.decode()
