"""`martlet tcp echo` under each of the four I/O models with the course's bytes, and `martlet bench models`."""

import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

import pytest

import brokers
from programs import Program, martlet

MODELS = ["blocking", "polling", "threads", "loop"]

# The course's client and server, in short: the same bytes, port and order.
CLIENT = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
    s.connect(("127.0.0.1", {port}))
    s.sendall(b"Hello, world")
    data = s.recv(1024)
print(f"Received {{data!r}}")
"""
SERVER = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", {port}))
    s.listen()
    print("listening")
    conn, addr = s.accept()
    with conn:
        while data := conn.recv(1024):
            conn.sendall(data)
"""


class Echo:
    def __init__(self, model, *words):
        self.program = martlet("tcp", "echo", "--model", model, "--port", "0", *words)
        self.port = int(self.program.says(r"listening tcp 127\.0\.0\.1:(\d+)")[1])
        self.pid = self.program.process.pid

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.program:
            pass


@pytest.fixture(params=MODELS)
def echo(request):
    with Echo(request.param, "-v") as running:
        running.model = request.param
        yield running
        assert running.program.stop() == 0, running.program.errors.decode()


def exactly(connection, count):
    got = b""
    while len(got) < count and (piece := connection.recv(65536)):
        got += piece
    return got


@pytest.mark.parametrize("model", MODELS)
def test_the_course_s_client_on_its_port(course_port, model):
    with martlet("tcp", "echo", "--model", model) as server:
        server.says(rf"listening tcp 127\.0\.0\.1:{course_port}\n")
        for _ in range(2):  # `blocking` survives the first client
            done = subprocess.run([sys.executable, "-c", CLIENT.format(port=course_port)], capture_output=True, text=True, timeout=20)
            assert done.stdout == "Received b'Hello, world'\n", done.stderr
        assert server.stop(signal.SIGINT) == 0


def test_the_course_s_server_and_martlet_s_client(course_port):
    with Program(sys.executable, "-c", SERVER.format(port=course_port)) as server:
        server.prints("listening")
        with martlet("tcp", "connect", "--port", course_port) as client:
            client.write(b"Hello, world")
            client.end_input()
            assert client.wait() == 0
            assert bytes(client.output) == b"Hello, world"
        assert server.wait() == 0


def test_three_at_once(echo):
    clients = [echo.connect() for _ in range(3)]
    for number, client in enumerate(clients):
        client.sendall(b"client %d" % number)
    if echo.model == "blocking":  # the second waits until the first is gone, and is then served
        for number, client in enumerate(clients):
            assert exactly(client, 8) == b"client %d" % number
            if number < 2:
                clients[number + 1].settimeout(0.2)
                with pytest.raises(TimeoutError):
                    clients[number + 1].recv(1)
                clients[number + 1].settimeout(20)
            client.close()
    else:
        for number, client in reversed(list(enumerate(clients))):
            assert exactly(client, 8) == b"client %d" % number
    for client in clients:
        client.close()


def test_a_hundred_kilobytes_in_pieces_and_the_end(echo):
    sent = os.urandom(100_000)
    with echo.connect() as client:
        for start in range(0, len(sent), 777):
            client.sendall(sent[start : start + 777])
        client.shutdown(socket.SHUT_WR)
        assert exactly(client, len(sent) + 1) == sent
        assert client.recv(1) == b""


def test_v_says_who_comes_and_goes(echo):
    with echo.connect() as client:
        port = client.getsockname()[1]
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        echo.program.says(rf"connected 127\.0\.0\.1:{port}\n")
    echo.program.says(rf"closed 127\.0\.0\.1:{port}: the peer closed the connection\n")


def test_no_descriptor_is_lost_after_a_storm(echo):
    with echo.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    time.sleep(0.1)
    before = echo.descriptors()
    for round in range(100):
        clients = [echo.connect() for _ in range(5)]
        for number, client in enumerate(clients):
            client.sendall(b"y" * 1000)
            if number == 1:
                client.shutdown(socket.SHUT_WR)
            if number == 2:  # a reset
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
    with echo.connect() as client:  # behind all of them, also where one is served after another
        client.sendall(b"z")
        assert exactly(client, 1) == b"z"
    limit = before + 4  # a sanitizer's symbolizer has pipes; what leaks, leaks a hundred
    deadline = time.monotonic() + 10
    while echo.descriptors() > limit and time.monotonic() < deadline:
        time.sleep(0.05)
    assert echo.descriptors() <= limit


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_clients_wait(echo, number):
    with echo.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert echo.program.stop(number, seconds=10) == 0
        assert client.recv(1) == b""
    # The fixture's stop is for a program that runs.
    echo.program.stop = lambda: 0


def test_threads_are_those_of_the_model():
    counts = {}
    for model in MODELS:
        with Echo(model) as running:
            clients = [running.connect() for _ in range(20)]
            for client in clients if model != "blocking" else clients[:1]:
                client.sendall(b"x")
                assert client.recv(1) == b"x"
            counts[model] = len(os.listdir(f"/proc/{running.pid}/task"))
            for client in clients:
                client.close()
            assert running.program.stop() == 0
    assert counts["threads"] - counts["blocking"] == 20
    assert counts["blocking"] == counts["polling"] == counts["loop"] - 1


def test_tls(certificates):
    with Echo("loop", "--tls-cert", certificates.path("server"), "--tls-key", certificates.key("server")) as running:
        context = ssl.create_default_context(cafile=certificates.authority)
        with context.wrap_socket(running.connect(), server_hostname="localhost") as client:
            assert client.version() == "TLSv1.3"
            client.sendall(b"hello" * 10_000)
            assert exactly(client, 50_000) == b"hello" * 10_000
        assert running.program.stop() == 0


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--model", "fork"], "the models are blocking, polling, threads, loop"),
        (["--model", "threads", "--loops", "2"], "--loops goes with --model loop"),
        (["--tls-cert", "x.pem"], "--tls-cert and --tls-key go together"),
        (["--model", "polling", "--tls-cert", "x.pem", "--tls-key", "y.pem"], "TLS goes with --model loop"),
    ],
)
def test_mistyped_words_are_64(words, sentence):
    with martlet("tcp", "echo", *words) as program:
        assert program.wait() == 64
        assert sentence in program.errors.decode()


def test_a_taken_port_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for model in MODELS:
            with martlet("tcp", "echo", "--model", model, "--port", port) as program:
                assert program.wait() == 1
                assert f"cannot listen on 127.0.0.1:{port}: address already in use" in program.errors.decode()


def test_bench_models_measures_every_model(tmp_path):
    plot = tmp_path / "models.svg"
    with martlet("bench", "models", "--clients", "1,20", "--busy", "10", "--duration", "0.2", "--json", "--svg", plot) as bench:
        assert bench.wait(60) == 0, bench.errors.decode()
        report = json.loads(bytes(bench.output))
    assert (report["size"], report["duration_s"]) == (64, 0.2)
    cells = {(cell["model"], cell["clients"]): cell for cell in report["cells"]}
    assert set(cells) == {(model, count) for model in MODELS for count in (1, 20)}
    for (model, count), cell in cells.items():
        assert cell["talking"] == min(count, 10) and cell["connected"] == count and cell["remark"] is None
        assert cell["served"] == (1 if model == "blocking" else cell["talking"])
        assert cell["requests"] >= cell["served"] and 0.19 < cell["seconds"] < 2
        assert abs(cell["requests_per_s"] - cell["requests"] / cell["seconds"]) < 1
        assert 0 < cell["p50_us"] <= cell["p99_us"] < 2e6
        assert 0 < cell["cpu_us_per_request"] < 1e6
        assert 2 << 20 < cell["rss_bytes"] < 1 << 30
        assert cell["descriptors"] >= (1 if model == "blocking" else count)
        assert cell["context_switches_per_s"] >= 0
        # A sanitizer has a thread of its own.
        assert cell["threads"] - {"blocking": 2, "polling": 2, "threads": 2 + count, "loop": 3}[model] in (0, 1)
        # A share of what the machine has left for it.
        if model == "polling":
            assert cell["idle_cpu_share"] > max(0.05, *(cells[other, count]["idle_cpu_share"] for other in MODELS if other != model))
        else:
            assert cell["idle_cpu_share"] < 0.2
    root = xml.etree.ElementTree.parse(plot).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = plot.read_text()
    assert "<script" not in text and all(f'<polyline class="{model}"' in text for model in MODELS)


def test_bench_models_prints_a_table_for_people():
    with martlet("bench", "models", "--models", "loop,threads", "--clients", "3", "--duration", "0.1") as bench:
        assert bench.wait(60) == 0, bench.errors.decode()
        lines = bench.output.decode().splitlines()
    assert lines[0].split() == "clients model talking served requests/s p50 p99 CPU/request idle CPU threads memory switches/s descriptors".split()
    assert [line.split()[:2] for line in lines[1:]] == [["3", "loop"], ["3", "threads"]]
    assert not bench.errors


def test_bench_models_leaves_no_server_behind():
    with martlet("bench", "models", "--models", "polling", "--clients", "1", "--duration", "30") as bench:
        deadline = time.monotonic() + 10
        children = []
        while not children and time.monotonic() < deadline:
            children = open(f"/proc/{bench.process.pid}/task/{bench.process.pid}/children").read().split()
            time.sleep(0.05)
        assert children
        bench.process.send_signal(signal.SIGKILL)
        bench.process.wait(10)
        while os.path.exists(f"/proc/{children[0]}") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not os.path.exists(f"/proc/{children[0]}")


@pytest.mark.skipif(os.getuid() != 0, reason="another user's limit can be set by root alone")
def test_who_gets_no_thread_is_refused_and_the_others_are_served():
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o755)
        program = shutil.copy(brokers.binary(), folder)
        limited = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "prlimit", "--nproc=40", program]
        with Program(*limited, "tcp", "echo", "--model", "threads", "--port", "0") as server:
            port = int(server.says(r"listening tcp 127\.0\.0\.1:(\d+)")[1])
            clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(60)]
            server.says(r"the system gives no more threads: \d+ clients have one")
            refused = 0
            for client in clients:
                try:
                    client.sendall(b"x")
                    refused += client.recv(1) != b"x"
                except ConnectionError:
                    refused += 1
            assert 20 <= refused < 60
            for client in clients:
                client.close()
            time.sleep(0.2)
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.sendall(b"y")
                assert client.recv(1) == b"y"
            assert server.stop() == 0
    finally:
        shutil.rmtree(folder)
