"""`martlet tcp connect` and `martlet tcp listen`: pipes, half-close, errors, TLS with openssl, nc, Unix sockets, signals. And `martlet bench tcp`."""

import hashlib
import json
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import brokers
from programs import Program, martlet

MIB = 1 << 20


@pytest.fixture(scope="session")
def hundred_megabytes(tmp_path_factory):
    """A file of 100 MB in which no piece is like another, and its checksum."""
    path = tmp_path_factory.mktemp("pipe") / "bytes"
    digest = hashlib.sha256()
    source = random.Random(4)
    with open(path, "wb") as file:
        for _ in range(100):
            piece = source.randbytes(1_000_000)
            digest.update(piece)
            file.write(piece)
    return path, digest.hexdigest()


class OneClient:
    """A Python server for one client: `serve(connection)` runs on a thread."""

    def __init__(self, serve, family=socket.AF_INET):
        self.listener = socket.create_server(("127.0.0.1", 0) if family == socket.AF_INET else ("::1", 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.failure = None
        self._thread = threading.Thread(target=self._run, args=(serve,), daemon=True)
        self._thread.start()

    def _run(self, serve):
        try:
            connection, _ = self.listener.accept()
            connection.settimeout(20)
            with connection:
                serve(connection)
        except Exception as error:
            self.failure = error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.failure:
            raise self.failure


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def listener(*words, **more):
    """A running `martlet tcp listen` and its port."""
    program = martlet("tcp", "listen", *words, "--port", "0", **more)
    return program, int(program.says(r"listening tcp 127\.0\.0\.1:(\d+)\n").group(1))


# Pipes


@pytest.mark.parametrize("how", ["tcp", "tls", "unix", "abstract"])
def test_a_hundred_megabytes_pass_unharmed(hundred_megabytes, certificates, tmp_path, how):
    path, checksum = hundred_megabytes
    digest = hashlib.sha256()
    if how in ("unix", "abstract"):
        place = f"unix:{tmp_path / 'socket'}" if how == "unix" else f"unix:@martlet-test-{tmp_path.name}-{brokers.free_port()}"
        receiver = martlet("tcp", "listen", place, keeps_output=False, on_output=digest.update)
        receiver.says("listening tcp")
        words = [place]
    else:
        tls = ["--tls-cert", certificates.path("server"), "--tls-key", certificates.key("server")] if how == "tls" else []
        receiver, port = listener(*tls, keeps_output=False, on_output=digest.update)
        words = [f"localhost:{port}", *(["--tls", "--cafile", certificates.authority] if how == "tls" else [])]
    with receiver:
        receiver.end_input()
        with open(path, "rb") as file, martlet("tcp", "connect", *words, stdin=file) as sender:
            assert sender.wait(60) == 0, sender.errors
            assert sender.output == b""
        assert receiver.wait(60) == 0, receiver.errors
    assert digest.hexdigest() == checksum


def test_both_ways_at_once(hundred_megabytes):
    path, checksum = hundred_megabytes
    there, back = hashlib.sha256(), hashlib.sha256()
    with open(path, "rb") as first, open(path, "rb") as second:
        receiver, port = listener(keeps_output=False, on_output=there.update, stdin=first)
        with receiver, martlet("tcp", "connect", f"127.0.0.1:{port}", stdin=second, keeps_output=False, on_output=back.update) as sender:
            assert sender.wait(60) == 0 and receiver.wait(60) == 0
    assert there.hexdigest() == checksum and back.hexdigest() == checksum


def test_a_reader_that_leaves_ends_the_command():
    def serve(connection):
        try:
            while True:
                connection.sendall(b"x" * 1000)
        except OSError:
            pass

    with OneClient(serve) as server:
        done = subprocess.run(
            f"{brokers.binary()} tcp connect 127.0.0.1:{server.port} </dev/null | head -c 10; exit ${{PIPESTATUS[0]}}",
            shell=True, executable="/bin/bash", capture_output=True, timeout=20)
        assert done.stdout == b"x" * 10 and done.returncode == 0


# Half-close


def test_the_end_of_stdin_is_passed_on_and_the_answer_awaited():
    def serve(connection):
        question = read_all(connection)  # until the client's end
        time.sleep(0.3)
        connection.sendall(b"answer to " + question)

    with OneClient(serve) as server, martlet("tcp", "connect", f"127.0.0.1:{server.port}") as client:
        client.write(b"question")
        client.end_input()
        assert client.wait() == 0
        assert (bytes(client.output), bytes(client.errors)) == (b"answer to question", b"")


def test_no_half_close_keeps_the_direction_open():
    ends = []

    def serve(connection):
        assert connection.recv(100) == b"question"
        connection.settimeout(0.5)
        try:
            ends.append(connection.recv(100))
        except TimeoutError:
            connection.sendall(b"answer")

    with OneClient(serve) as server, martlet("tcp", "connect", "--no-half-close", f"127.0.0.1:{server.port}") as client:
        client.write(b"question")
        client.end_input()
        assert client.wait() == 0
        assert bytes(client.output) == b"answer" and ends == []


def test_stdin_still_goes_to_a_peer_that_has_ended_its_side():
    heard = []

    def serve(connection):
        connection.sendall(b"tell me more")
        connection.shutdown(socket.SHUT_WR)
        heard.append(read_all(connection))

    with OneClient(serve) as server, martlet("tcp", "connect", f"127.0.0.1:{server.port}") as client:
        client.prints("tell me more")
        time.sleep(0.3)
        client.write(b"more")
        client.end_input()
        assert client.wait() == 0
    assert heard == [b"more"]


# What goes wrong


def sentence(done, code):
    assert done.returncode == code, done
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1, done
    assert done.stderr.startswith("martlet: tcp ")
    return done.stderr


def test_nobody_there_is_69():
    port = brokers.free_port()
    text = sentence(brokers.martlet("tcp", "connect", f"127.0.0.1:{port}"), 69)
    assert f"127.0.0.1:{port}" in text and "refused" in text and "is the server running" in text
    assert "refused" in sentence(brokers.martlet("tcp", "connect", "unix:/nowhere/socket"), 69)


def test_an_unknown_name_is_69():
    text = sentence(brokers.martlet("tcp", "connect", "nowhere.invalid:80", timeout=30), 69)
    assert "cannot resolve nowhere.invalid" in text


def test_silence_is_69_after_the_timeout():
    # A full accept queue: the kernel drops the third SYN.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        start = time.monotonic()
        text = sentence(brokers.martlet("tcp", "connect", "--timeout", "0.7", f"127.0.0.1:{full.getsockname()[1]}"), 69)
        assert "timed out" in text and 0.6 < time.monotonic() - start < 5
        for filler in fillers:
            filler.close()


def test_w_ends_a_silent_connection():
    with OneClient(read_all) as server, martlet("tcp", "connect", "-W", "0.5", f"127.0.0.1:{server.port}") as client:
        start = time.monotonic()
        assert client.wait() == 1
        assert 0.4 < time.monotonic() - start < 5
        assert client.errors.decode() == "martlet: tcp connect: nothing came or went for 0.5 s (-W)\n"


def test_w_waits_while_something_comes():
    def serve(connection):
        for _ in range(8):
            connection.sendall(b".")
            time.sleep(0.2)

    with OneClient(serve) as server, martlet("tcp", "connect", "-W", "1", f"127.0.0.1:{server.port}") as client:
        client.end_input()
        assert client.wait() == 0 and bytes(client.output) == b"........"


def test_a_reset_is_an_error():
    def serve(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with OneClient(serve) as server, martlet("tcp", "connect", f"127.0.0.1:{server.port}") as client:
        client.write(b"x")
        assert client.wait() == 1
        assert "reset" in client.errors.decode() and client.errors.count(b"\n") == 1


def test_a_taken_port_is_said_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = sentence(brokers.martlet("tcp", "listen", "--port", str(port)), 1)
        assert f"cannot listen on 127.0.0.1:{port}" in text and "in use" in text


@pytest.mark.parametrize("words", [["connect", "nonsense"], ["connect", "h:0"], ["connect", "-4", "-6"], ["connect", "--cert", "x"], ["listen", "--tls-key", "x"]])
def test_mistyped_words_are_64(words):
    assert brokers.martlet("tcp", *words).returncode == 64


# -v


def test_v_tells_how_the_connection_came_about():
    def serve(connection):
        connection.sendall(read_all(connection))

    with OneClient(serve) as server, martlet("tcp", "connect", "-v", f"localhost:{server.port}") as client:
        client.write(b"twelve bytes")
        client.end_input()
        assert client.wait() == 0
        assert bytes(client.output) == b"twelve bytes"
        text = client.errors.decode()
    rows = [line.split(" ms  ", 1) for line in text.splitlines()]
    assert all(float(time) >= 0 for time, _ in rows), text
    told = [row[1] for row in rows]
    assert any(f"localhost:{server.port} is " in row and f"127.0.0.1:{server.port}" in row for row in told), text
    assert any(f"connected to 127.0.0.1:{server.port} from 127.0.0.1:" in row for row in told), text
    assert "ended: 12 bytes sent, 12 received" in told, text
    assert any(row.startswith("TCP: round trip ") for row in told), text


def test_v_tells_of_the_attempts_that_failed():
    """localhost has two addresses here, and this server one."""
    families = {info[0] for info in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    if len(families) < 2:
        pytest.skip("localhost has one address family on this machine")
    first = socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)[0][0]
    other = socket.AF_INET if first == socket.AF_INET6 else socket.AF_INET6
    with OneClient(read_all, other) as server, martlet("tcp", "connect", "-v", f"localhost:{server.port}") as client:
        client.end_input()
        assert client.wait() == 0
        assert "refused after" in client.errors.decode()


def test_the_family_and_the_own_address_can_be_said():
    cases = [
        (["-4", "localhost"], socket.AF_INET, "127.0.0.1"),
        (["-6", "::1"], socket.AF_INET6, "::1"),
        (["--bind", "127.0.0.9", "localhost"], socket.AF_INET, "127.0.0.9"),
    ]
    for words, family, own in cases:
        seen = []

        def serve(connection):
            seen.append(connection.getpeername()[0])
            read_all(connection)

        with OneClient(serve, family) as server, martlet("tcp", "connect", *words, str(server.port)) as client:
            client.end_input()
            assert client.wait() == 0, client.errors
        assert seen == [own]
    assert brokers.martlet("tcp", "connect", "-6", f"127.0.0.1:{brokers.free_port()}").returncode == 69


# TLS


def s_server(certificates, *words, name="server"):
    """A running `openssl s_server` that echoes lines reversed, and its port."""
    port = brokers.free_port()
    program = Program(
        "openssl", "s_server", "-accept", str(port), "-cert", certificates.path(name), "-key", certificates.key(name), "-rev", *words)
    program.prints("ACCEPT")
    return program, port


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_openssl_s_server(certificates, version):
    server, port = s_server(certificates, f"-{version}", "-alpn", "echo,h2")
    with server, martlet("tcp", "connect", "-v", "--tls", "--cafile", certificates.authority, "--alpn", "h3,echo", f"localhost:{port}") as client:
        client.write(b"drawer\n")
        client.prints("reward\n")
        client.end_input()
        assert client.wait() == 0, client.errors
        text = client.errors.decode()
    assert {"tls1_2": "TLSv1.2", "tls1_3": "TLSv1.3"}[version] in text and "ALPN echo" in text and "localhost" in text and "valid until" in text, text


def test_a_certificate_is_believed_only_for_a_reason(certificates):
    cases = [
        ("server", [], "not trusted"),
        ("other", ["--cafile", certificates.authority], "another host"),
        ("expired", ["--cafile", certificates.authority], "expired"),
    ]
    for name, words, reason in cases:
        server, port = s_server(certificates, name=name)
        with server:
            text = sentence(brokers.martlet("tcp", "connect", "--tls", *words, f"localhost:{port}", input=""), 69)
            assert reason in text and f":{port}" in text, text
    server, port = s_server(certificates, name="other")
    with server, martlet("tcp", "connect", "--insecure", f"localhost:{port}") as client:
        client.write(b"drawer\n")
        client.prints("reward\n")
        client.end_input()
        assert client.wait() == 0
    server, port = s_server(certificates, name="other")
    with server, martlet("tcp", "connect", "--cafile", certificates.authority, "--server-name", "other.example", f"127.0.0.1:{port}") as client:
        client.end_input()
        assert client.wait() == 0, client.errors


def test_a_client_certificate(certificates):
    words = ["-Verify", "1", "-CAfile", certificates.authority, "-verify_return_error"]
    server, port = s_server(certificates, *words)
    identity = ["--cert", certificates.path("client"), "--key", certificates.key("client")]
    with server, martlet("tcp", "connect", "--cafile", certificates.authority, *identity, f"localhost:{port}") as client:
        client.write(b"drawer\n")
        client.prints("reward\n")
        client.end_input()
        assert client.wait() == 0
    server, port = s_server(certificates, *words)
    with server, martlet("tcp", "connect", "--cafile", certificates.authority, f"localhost:{port}") as client:
        assert client.wait() == 69
        assert "certificate" in client.errors.decode()


def test_no_tls_at_the_other_end(certificates):
    with OneClient(lambda connection: connection.recv(1) and connection.sendall(b"220 hello\r\n")) as server:
        text = sentence(brokers.martlet("tcp", "connect", "--tls", f"localhost:{server.port}", input=""), 69)
        assert "TLS" in text


def test_openssl_s_client(certificates):
    server, port = listener("--tls-cert", certificates.path("server"), "--tls-key", certificates.key("server"), "--alpn", "h2,echo", "-v")
    client = Program(
        "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", certificates.authority, "-verify_return_error", "-verify_hostname", "localhost",
        "-alpn", "echo", "-quiet")
    with server, client:
        client.write(b"from openssl\n")
        server.prints("from openssl\n")
        server.write(b"from martlet\n")
        client.prints("from martlet\n")
        client.end_input()
        server.end_input()
        assert server.wait() == 0, server.errors
        assert "ALPN echo" in server.errors.decode()


# nc


netcat = pytest.mark.skipif(not shutil.which("nc"), reason="no nc here; apt-get install netcat-openbsd")


@netcat
def test_nc_as_the_client():
    server, port = listener()
    with server, Program("nc", "-N", "127.0.0.1", str(port)) as client:
        client.write(b"from nc\n")
        server.prints("from nc\n")
        server.write(b"from martlet\n")
        client.prints("from martlet\n")
        client.end_input()
        server.end_input()
        assert server.wait() == 0 and client.wait() == 0


@netcat
def test_nc_as_the_server():
    port = brokers.free_port()
    with Program("nc", "-l", "-N", "127.0.0.1", str(port)) as server:
        brokers.wait_for_port(port)
        with martlet("tcp", "connect", f"127.0.0.1:{port}") as client:
            client.write(b"from martlet\n")
            server.prints("from martlet\n")
            server.write(b"from nc\n")
            client.prints("from nc\n")
            server.end_input()
            client.end_input()
            assert client.wait() == 0 and server.wait() == 0


@netcat
def test_nc_on_a_unix_socket(tmp_path):
    path = tmp_path / "socket"
    with martlet("tcp", "listen", f"unix:{path}") as server:
        server.says("listening tcp")
        with Program("nc", "-N", "-U", str(path)) as client:
            client.write(b"from nc\n")
            server.prints("from nc\n")
            client.end_input()
            server.end_input()
            assert server.wait() == 0
    assert not path.exists()


# listen


def test_without_k_the_second_is_turned_away():
    server, port = listener()
    with server, martlet("tcp", "connect", f"127.0.0.1:{port}") as first:
        first.write(b"first")
        server.prints("first")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as second:
                assert second.recv(10) == b""
        except ConnectionResetError:
            pass
        first.end_input()
        server.end_input()
        assert server.wait() == 0 and first.wait() == 0


def test_k_serves_many_at_once_and_stdin_goes_to_all():
    server, port = listener("-k", "-v")
    with server:
        clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(3)]
        for number, client in enumerate(clients):
            client.sendall(f"client {number}\n".encode())
            server.prints(f"client {number}\n")
        server.write(b"to all\n")
        for client in clients:
            assert client.recv(100) == b"to all\n"
            client.close()
        server.says("(ended(.|\n)*){3}")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as late:
            late.sendall(b"late\n")
            server.prints("late\n")
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_cleanly(number):
    server, port = listener()
    with server, martlet("tcp", "connect", f"127.0.0.1:{port}") as client:
        client.write(b"here")
        server.prints("here")
        assert client.stop(number, 5) == 0 and client.errors == b""
    server, port = listener("-k")
    with server:
        assert server.stop(number, 5) == 0
    server, port = listener()
    with server:
        assert server.stop(number, 5) == 0


# bench


class EchoServer:
    """A Python echo server for many; `change` spoils what goes back."""

    def __init__(self, change=lambda chunk: chunk):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._change = change
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                while chunk := connection.recv(65_536):
                    connection.sendall(self._change(chunk))
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def bench(port, *words, code=0):
    done = brokers.martlet("bench", "tcp", f"127.0.0.1:{port}", "--json", *words, timeout=60)
    assert done.returncode == code and done.stderr == "", done
    return json.loads(done.stdout)


@pytest.mark.parametrize("connections,depth,size", [(1, 1, 64), (10, 8, 64), (3, 4, 100_000), (50, 1, 8)])
def test_bench_counts_every_message(connections, depth, size):
    with EchoServer() as server:
        result = bench(server.port, "--count", "1000", "-c", str(connections), "--depth", str(depth), "--size", str(size))
    assert (result["sent"], result["received"], result["lost"], result["errors"]) == (1000, 1000, 0, 0)
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["p999_us"] <= result["max_us"]
    assert result["sent_per_s"] > 0 and result["recv_per_s"] > 0


def test_bench_keeps_a_rate():
    with EchoServer() as server:
        result = bench(server.port, "--rate", "500", "-c", "5", "--duration", "2", "--warm-up", "0.3")
    assert 400 < result["sent_per_s"] < 600 and 400 < result["recv_per_s"] < 600


def test_bench_sees_a_byte_that_changed():
    with EchoServer(lambda chunk: chunk[:-1] + b"?") as server:
        result = bench(server.port, "--duration", "1", code=1)
    assert result["errors"] >= 1


def test_bench_speaks_tls(certificates):
    tls = ["--tls-cert", certificates.path("server"), "--tls-key", certificates.key("server")]
    port = brokers.free_port()
    with martlet("tcp", "echo", "--model", "loop", "--port", str(port), *tls):
        brokers.wait_for_port(port)
        result = bench(port, "--count", "1000", "-c", "4", "--depth", "4", "--cafile", certificates.authority)
        assert (result["sent"], result["received"], result["errors"]) == (1000, 1000, 0)
        done = brokers.martlet("bench", "tcp", f"127.0.0.1:{port}", "--tls", "--count", "10")
        assert done.returncode == 69 and "not trusted" in done.stderr


def test_bench_without_a_server_is_69():
    done = brokers.martlet("bench", "tcp", f"127.0.0.1:{brokers.free_port()}")
    assert done.returncode == 69 and len(done.stderr.splitlines()) == 1


def test_bench_prints_a_table_for_people():
    with EchoServer() as server:
        done = brokers.martlet("bench", "tcp", f"127.0.0.1:{server.port}", "--count", "100", timeout=30)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["load", "sent", "received", "latency", "lost", "errors"]
