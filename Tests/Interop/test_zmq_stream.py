"""STREAM, ours and libzmq's, with what knows no ZeroMQ: Python's sockets and curl."""

import contextlib
import socket
import subprocess

import pytest

from programs import SECONDS
from zmq_peers import Ours


@pytest.fixture
def server():
    with Ours("stream", "bind=tcp://127.0.0.1:*") as server:
        host, port = server.endpoint().removeprefix("tcp://").split(":")
        yield server, host, int(port)


def test_curl_gets_a_page(server):
    """A page a connection, and the connection's end behind it."""
    _, host, port = server
    urls = [f"http://{host}:{port}/page/{number}" for number in range(20)]
    pages = subprocess.run(["curl", "--no-progress-meter", "--fail", "--http1.0", *urls], capture_output=True, timeout=SECONDS, check=True).stdout
    assert pages.split() == [f"/page/{number}".encode() for number in range(20)]


def test_a_socket_comes_and_goes(server):
    """Bytes in pieces, several connections at once, an end by the peer, and one by reset."""
    program, host, port = server
    with contextlib.ExitStack() as ends:
        sockets = [ends.enter_context(socket.create_connection((host, port), SECONDS)) for _ in range(10)]
        program.lines(10)
        for piece in (b"GET /", b"a HTTP/1.0\r\n", b"\r\n"):
            for client in sockets[:8]:
                client.sendall(piece)
        for client in sockets[:8]:
            answer = b""
            while chunk := client.recv(100):
                answer += chunk
            assert answer == b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n/a\n"
        sockets[8].close()
        sockets[9].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sockets[9].close()
        assert program.lines(12) == [b"came"] * 10 + [b"went"] * 2
