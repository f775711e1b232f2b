"""`martlet ws serve echo` and `martlet ws connect` with Python's `websockets` at the other end."""

import base64
import json
import os
import pty
import re
import ssl
import subprocess
import threading
import time

import brokers
import pytest
from programs import martlet
from tls_relay import connect_by_tls
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect
from websockets.sync.server import serve as serve_python


class Echo:
    def __init__(self, *words):
        self.program = martlet("ws", "serve", "echo", "--host", "127.0.0.1", "--port", 0, *words)
        self.port = int(self.program.says(r"listening wss? \S+:(\d+)\n").group(1))
        self.url = f"ws://127.0.0.1:{self.port}/"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        running = self.program.process.poll() is None
        code = self.program.stop()
        self.program.__exit__()
        assert running and code == 0, f"{code}: {self.program.errors.decode()}"


@pytest.fixture(scope="module")
def echo():
    with Echo() as running:
        yield running


MESSAGES = ["", "olá", "x" * 125, "y" * 126, "z" * 65_535, "ü" * 40_000, b"", bytes(range(256)) * 300, os.urandom(1 << 19)]


@pytest.mark.parametrize("deflate", ["none", "contexts", "no-contexts", "small-windows"])
def test_messages_come_back(echo, deflate):
    more = {
        "none": {"compression": None},
        "contexts": {},
        "no-contexts": {"extensions": [ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)], "compression": None},
        "small-windows": {"extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)], "compression": None},
    }[deflate]
    with connect(echo.url, max_size=None, **more) as peer:
        assert bool(peer.protocol.extensions) == (deflate != "none")
        for _ in range(2):
            for message in MESSAGES:
                peer.send(message)
                assert peer.recv(timeout=20) == message
        # In fragments, with a ping in between.
        peer.send(iter(["one ", "two ", "three"]))
        peer.ping().wait(20)
        assert peer.recv(timeout=20) == "one two three"


def test_a_client_that_asks_for_contexts_may_have_them():
    # The server's default keeps none, whatever is asked; what it agrees on is in its answer.
    with Echo() as echo, connect(echo.url) as peer:
        answer = peer.response.headers["Sec-WebSocket-Extensions"]
        assert "server_no_context_takeover" in answer and "client_no_context_takeover" in answer


def test_what_is_too_long_is_1009():
    with Echo("--message-max", 1000, "--no-deflate") as echo, connect(echo.url) as peer:
        assert peer.protocol.extensions == []
        peer.send("x" * 1000)
        assert peer.recv(timeout=20) == "x" * 1000
        with pytest.raises(ConnectionClosedError) as closed:
            peer.send("x" * 1001)
            peer.recv(timeout=20)
        assert closed.value.rcvd.code == 1009


def test_the_end_of_the_server_is_1001():
    echo = Echo("-v")
    with connect(echo.url) as peer:
        peer.ping().wait(20)
        assert echo.program.stop() == 0
        with pytest.raises(ConnectionClosed) as closed:
            peer.recv(timeout=20)
        assert closed.value.rcvd.code == 1001
    assert re.search(r"connected 127\.0\.0\.1:\d+ /\n", echo.program.errors.decode())
    echo.program.__exit__()


def test_over_tls(certificates):
    context = ssl.create_default_context(cafile=certificates.authority)
    certificate, key = certificates.path("server"), certificates.key("server")
    with Echo("--cert", certificate, "--key", key) as echo:
        url = f"wss://localhost:{echo.port}/"
        with connect("ws://localhost/", sock=connect_by_tls("localhost", echo.port, context)) as peer:
            peer.send("secret")
            assert peer.recv(timeout=20) == "secret"
        with martlet("ws", "connect", "-m", "ours", "-C", 1, "--cafile", certificates.authority, url) as ours:
            assert ours.wait() == 0 and ours.output == b"ours\n"
        with martlet("ws", "connect", "-m", "ours", url) as ours:
            assert ours.wait() == 69 and b"certificate" in ours.errors


# martlet ws connect


@pytest.fixture
def python_server():
    """A server by Python's `websockets`: its handler, for each test its own."""
    started = []

    def start(handler, **more):
        server = serve_python(handler, "127.0.0.1", 0, **more)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        started.append((server, thread))
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join(10)


def echoing(peer):
    for message in peer:
        peer.send(message)


@pytest.mark.parametrize("words", [[], ["--no-deflate"]], ids=["deflate", "plain"])
def test_lines_are_messages_both_ways(python_server, words):
    with martlet("ws", "connect", "-W", 2, "-v", *words, python_server(echoing)) as ours:
        ours.write("one\nzwei ü\n\n".encode() + b"x" * 100_000 + b"\nlast, without an end")
        ours.end_input()
        ours.prints("last, without an end\n")
        assert ours.wait() == 0
        assert bytes(ours.output) == "one\nzwei ü\n\n".encode() + b"x" * 100_000 + b"\nlast, without an end\n"


def test_json_tells_kinds_and_the_end_apart(python_server):
    def handler(peer):
        peer.send("text\nof two lines")
        peer.send(b"\x00\xff")
        peer.close(4007, "enough")

    with martlet("ws", "connect", "--json", python_server(handler)) as ours:
        code = ours.wait()
        lines = [json.loads(line) for line in ours.output.decode().splitlines()]
    assert lines == [
        {"type": "text", "text": "text\nof two lines"}, {"type": "binary", "base64": base64.b64encode(b"\x00\xff").decode()},
        {"type": "close", "code": 4007, "reason": "enough", "clean": True},
    ]  # fmt: skip
    # 4007 is no normal end.
    assert code == 1


def test_fields_subprotocols_and_binary(python_server):
    heard = []

    def handler(peer):
        heard.append((peer.request.path, peer.request.headers["X-Token"], peer.request.headers["Origin"], peer.subprotocol))
        echoing(peer)

    url = python_server(handler, subprotocols=["b"])
    with martlet("ws", "connect", "-s", "a,b", "-H", "X-Token: 7", "--origin", "https://x.example", "--binary", "-m", "hi", "-C", 1, "--json", url + "p?q=1") as ours:
        assert ours.wait() == 0
        assert json.loads(ours.output.splitlines()[0]) == {"type": "binary", "base64": "aGk="}
    assert heard == [("/p?q=1", "7", "https://x.example", "b")]


def test_exit_codes(python_server):
    for words, code in [
        (["ws://127.0.0.1:1/"], 69), (["http://127.0.0.1:1/"], 64), ([], 64), (["-C", "x", "ws://localhost/"], 64),
        (["-m", "x", python_server(echoing, origins=["https://only.example"])], 77),
    ]:  # fmt: skip
        with martlet("ws", "connect", *words, stdin=None) as ours:
            assert ours.wait() == code, ours.errors
            assert ours.errors.startswith(b"martlet: ") and ours.errors.count(b"\n") == 1


def test_it_comes_back(python_server):
    count = []

    def handler(peer):
        count.append(1)
        peer.send(f"hello {len(count)}")
        if len(count) < 3:
            peer.socket.close()
        else:
            peer.recv()

    with martlet("ws", "connect", "--reconnect", python_server(handler)) as ours:
        ours.prints("hello 3\n")
        ours.write(b"bye\n")
        ours.end_input()
        assert ours.wait() == 0


def test_on_a_terminal_lines_are_edited_and_messages_stand_above(python_server):
    controller, terminal = pty.openpty()
    try:
        with martlet("ws", "connect", python_server(echoing), stdin=terminal, keeps_output=True) as ours:
            # Its output is a pipe, so that the terminal's own editing stays.
            os.write(controller, b"wrong\x15right\n")
            ours.prints("right\n")
        process = subprocess.Popen([brokers.binary(), "ws", "connect", python_server(echoing)], stdin=terminal, stdout=terminal, stderr=terminal)
        seen = b""

        def until(text):
            nonlocal seen
            deadline = time.monotonic() + 20
            while text not in seen:
                assert time.monotonic() < deadline, seen
                seen += os.read(controller, 4096)

        os.write(controller, b"helo\x1b[Dl\x01>\x05!\r")  # left, l; Ctrl-A, >; Ctrl-E, !
        until(b">hello!")
        until(b"\x1b[K>hello!\r\n")
        os.write(controller, b"\x1b[A?\r")  # the line before, and a mark
        until(b"\x1b[K>hello!?\r\n")
        os.write(controller, b"\x04")
        assert process.wait(20) == 0
    finally:
        os.close(controller)
        os.close(terminal)


# martlet bench ws


def bench(url, *words):
    with martlet("bench", "ws", url, "--json", "--quiet", *words, stdin=None) as running:
        code = running.wait(40)
        assert code == 0, running.errors
        return json.loads(running.output)


def test_the_bench_measures_echo_broadcast_and_idle_connections(echo):
    report = bench(echo.url, "-c", 4, "--depth", 4, "--count", 400, "--text", "--deflate", "--size", 500)
    assert report["sent"] == report["received"] == 400 and report["errors"] == 0 and report["p99_us"] > 0
    with martlet("ws", "serve", "chat", "--host", "127.0.0.1", "--port", 0) as chat:
        port = chat.says(r"listening ws \S+:(\d+)\n").group(1)
        report = bench(f"ws://127.0.0.1:{port}", "--mode", "broadcast", "-c", 10, "--count", 100, "--text", "--depth", 4)
        assert report["sent"] == 100 and report["received"] == 1000 and report["errors"] == 0
    report = bench(echo.url, "--mode", "idle", "-c", 50, "--server-pid", echo.program.process.pid)
    assert report["connections"] == 50 and report["bytes_each"] is not None
