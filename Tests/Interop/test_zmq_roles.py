"""`martlet zmq stream` with plain TCP at the other end, and client, server, radio and dish with each other: few libzmq are built with those."""

import re
import socket

import pytest

import brokers
from brokers import martlet
from test_zmq_tools import tool  # noqa: F401  (a fixture)
from zmq_peers import SECONDS


def connect(endpoint):
    host, port = re.fullmatch(r"tcp://(.*):(\d+)", endpoint).groups()
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def test_a_stream_serves_plain_tcp(tool):
    running = tool("stream", "--bind", "tcp://127.0.0.1:*", "-m", "welcome")
    with connect(running.endpoint()) as one, one.makefile("rb") as lines:
        assert lines.readline() == b"welcome\n"
        peer = running.wait_error(rb"([0-9a-f]+) has come\n")[1]
        one.sendall(b"hello\r\n")
        assert running.wait_lines(1) == [peer + b"\thello"]
    running.wait_error(peer + rb" has gone\n")


def test_a_stream_answers_and_ends_a_connection(tool):
    running = tool("stream", "--bind", "tcp://127.0.0.1:*")
    with connect(running.endpoint()) as one, one.makefile("rb") as lines:
        peer = running.wait_error(rb"([0-9a-f]+) has come\n")[1]
        running.say(peer + b"\tto you")
        assert lines.readline() == b"to you\n"
        running.say(peer)
        assert lines.read() == b""


def test_a_stream_connects(tool):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        running = tool("stream", "--connect", f"tcp://127.0.0.1:{listener.getsockname()[1]}", "-m", "GET", "-n", 1)
        peer, _ = listener.accept()
        with peer:
            assert peer.makefile("rb").readline() == b"GET\n"
            peer.sendall(b"answer\n")
            assert running.wait_lines(1)[0].endswith(b"\tanswer")


def test_clients_are_answered_by_their_number(tool):
    server = tool("server", "--bind", "tcp://127.0.0.1:*")
    place = server.endpoint()
    clients = [tool("client", "--connect", place) for _ in range(2)]
    for number, client in enumerate(clients):
        client.say(b"question\t%d" % number)
        name, text = server.wait_lines(number + 1)[number].split(b"\t", 1)
        assert text == b"question\t%d" % number
        server.say(name + b"\tanswer %d" % number)
        assert client.wait_lines(1) == [b"answer %d" % number]


def test_a_server_with_one_answer_for_all(tool):
    server = tool("server", "--bind", "tcp://127.0.0.1:*", "-m", "yes", "-n", 3)
    client = tool("client", "--connect", server.endpoint(), "-m", "well?", "-n", 3)
    assert client.wait_lines(3) == [b"yes"] * 3
    assert client.process.wait(SECONDS) == 0 and server.process.wait(SECONDS) == 0


def test_a_dish_hears_its_groups(tool):
    dish = tool("dish", "--bind", "tcp://127.0.0.1:*", "--topic", "news", "--topic", "sport", "-n", 3)
    radio = tool("radio", "--connect", dish.endpoint(), "--topic", "news", "--topic", "weather", "-W", SECONDS)
    radio.say(b"one", b"two", b"three")
    assert dish.wait_lines(3) == [b"news\tone", b"news\ttwo", b"news\tthree"]
    radio.end()
    assert dish.process.wait(SECONDS) == 0


@pytest.mark.parametrize("role", ["radio", "dish"])
def test_groups_have_to_be_said(role):
    done = martlet("zmq", role, "--bind", f"tcp://127.0.0.1:{brokers.free_port()}")
    assert done.returncode == 64 and "--topic GROUP" in done.stderr
