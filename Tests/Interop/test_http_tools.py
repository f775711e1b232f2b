"""`martlet http serve` beside curl, and `martlet bench http` beside it, Python's server and nginx: what is served, what is counted, and how they end."""

import html.parser
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import pytest

import brokers
from brokers import martlet
from programs import Program, example
from programs import martlet as start

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
ODD = "<img src=x onerror=1>&'\" ü%41#?.txt"
LARGE = 8 << 20


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    root = folder / "root"
    (root / "sub/deep").mkdir(parents=True)
    (root / "page").mkdir()
    (root / "a.txt").write_text("0123456789")
    (root / "page/index.html").write_text("<p>index")
    (root / ODD).write_text("odd")
    (root / "javascript:alert(1)").write_text("no script")
    (root / ".hidden").write_text("hidden")
    (folder / "secret").write_text("secret")
    (root / "out").symlink_to("../secret")
    (root / "in").symlink_to("a.txt")
    (root / "sub/up").symlink_to("../a.txt")
    os.mkfifo(root / "pipe")
    with open(root / "large.bin", "wb") as large:
        large.write(bytes(range(256)) * (LARGE // 256))
    yield root
    shutil.rmtree(folder)


class Served:
    """A running `martlet http serve`, and curl at the other end."""

    def __init__(self, *words, place=r"listening (https?) (\S+)"):
        self.program = start("http", "serve", *words)
        found = self.program.says(place)
        self.scheme, self.place = found[1], found[2]

    def curl(self, path, *words):
        done = subprocess.run(["curl", "-sS", "--max-time", "15", *words, f"{self.scheme}://{self.place}{path}"], capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self, path, *words):
        return int(self.curl(path, "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", *words))

    @property
    def port(self):
        return int(self.place.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self.program:
            assert self.program.stop() == 0


@pytest.fixture(scope="module")
def served(site):
    with Served(site, "--port", 0) as running:
        yield running


class Links(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.links, self.tags = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "a":
            self.links.append(dict(attributes)["href"])


def test_a_file_and_its_parts(served):
    assert served.curl("/a.txt") == b"0123456789"
    assert served.curl("/a.txt", "-r", "2-4") == b"234"
    assert served.curl("/large.bin") == bytes(range(256)) * (LARGE // 256)
    head = served.curl("/a.txt", "-I").decode()
    assert "Content-Type: text/plain" in head and "Content-Length: 10\r\n" in head
    tag = re.search(r"ETag: (\S+)", head)[1]
    assert served.status("/a.txt", "-H", f"If-None-Match: {tag}") == 304
    assert served.curl("/page/") == b"<p>index"
    assert served.status("/page") == 301


def test_a_list_leads_to_everything_and_holds_no_script(served):
    page = served.curl("/").decode()
    found = Links(page)
    names = [urllib.parse.unquote(link.removeprefix("./")) for link in found.links]
    assert names == ["page/", "sub/", ODD, "a.txt", "in", "javascript:alert(1)", "large.bin"]
    assert "img" not in found.tags and "10 B" in page and "8.0 MiB" in page
    for link in found.links:
        assert served.status(urllib.parse.urljoin("/", link)) == 200
    below = Links(served.curl("/sub/").decode()).links
    assert below == ["../", "./deep/", "./up"]
    head = served.curl("/", "-I").decode()
    assert "Content-Type: text/html" in head and "Vary: Accept\r\n" in head


def test_a_list_for_programs(served):
    rows = json.loads(served.curl("/", "-H", "Accept: application/json"))
    assert [row["name"] for row in rows if row["type"] == "directory"] == ["page", "sub"]
    assert next(row["size"] for row in rows if row["name"] == "large.bin") == LARGE
    assert json.loads(served.curl("/sub/deep/", "-H", "Accept: application/json")) == []
    assert "text/html" in served.curl("/", "-I", "-H", "Accept: text/html,application/json").decode()


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/sub/..%2f..%2fsecret", "/out", "/.hidden", "/pipe", "/a.txt/", "/nothing", "//etc/passwd"])
def test_what_is_not_served(served, path):
    assert served.status(path) == 404


def test_without_lists(site):
    with Served(site, "--port", 0, "--no-listing") as served:
        assert served.status("/") == 404 and served.status("/page/") == 200


def test_a_page_for_what_is_not_there(site):
    with Served(site, "--port", 0, "--spa", "page/index.html") as served:
        assert served.curl("/items/5?x=1") == b"<p>index" and served.curl("/") == b"<p>index" and served.curl("/a.txt") == b"0123456789"
        assert served.status("/items/5", "-X", "POST") == 405


def test_tls_names_and_unix_sockets(site, certificates, tmp_path):
    identity = ["--cert", certificates.path("server"), "--key", certificates.key("server")]
    with Served(site, "--listen", "localhost:0", *identity) as served:
        assert served.scheme == "https"
        for host in ["localhost", "127.0.0.1"]:
            served.place = f"{host}:{served.port}"
            assert served.curl("/a.txt", "--cacert", certificates.authority) == b"0123456789"
        assert served.curl("/large.bin", "--cacert", certificates.authority) == bytes(range(256)) * (LARGE // 256)
    path = tmp_path / "files.sock"
    with Served(site, "--listen", f"unix:{path}") as served:
        served.place = "localhost"
        assert served.curl("/a.txt", "--unix-socket", str(path)) == b"0123456789"


def test_a_line_for_each_request_unless_quiet(site):
    with Served(site, "--port", 0) as served:
        served.curl("/a.txt?x=1")
        served.program.says(r"GET /a.txt\?x=1 200 10 \d+us 127\.0\.0\.1:\d+ [0-9a-f]{16}\n")
        assert served.program.output == b""
    with Served(site, "--port", 0, "--quiet") as served:
        served.curl("/a.txt")
    assert len(served.program.errors.decode().splitlines()) == 2


def test_a_start_that_fails_is_one_sentence(site, served, certificates):
    for words, code, said in [
        (["/nothing/there"], 1, "cannot open /nothing/there: no such file or directory"),
        ([str(site / "a.txt")], 1, "not a directory"),
        ([str(site), "--port", str(served.port)], 1, "in use"),
        ([str(site), "--port", "0", "--cert", "/nothing", "--key", "/nothing"], 1, "/nothing"),
        ([str(site), "--port", "0", "--cert", "x"], 64, "--cert needs --key"),
        ([str(site), "--port", "65536"], 64, "--port 65536"),
        ([str(site), "--listen", "nowhere"], 64, "say HOST:PORT"),
        ([str(site), "--listen", ":0", "--port", "1"], 64, "leave out --host and --port"),
        ([str(site), "second"], 64, "say one directory"),
    ]:
        done = martlet("http", "serve", *words)
        assert done.returncode == code and said in done.stderr and len(done.stderr.splitlines()) == 1, (words, done)


@pytest.mark.skipif(os.getuid() != 0, reason="another user can be had by root alone")
def test_a_directory_that_may_not_be_read_is_77():
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o755)
        os.mkdir(f"{folder}/closed", 0o700)
        program = shutil.copy(brokers.binary(), folder)
        other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", program]
        done = subprocess.run([*other, "http", "serve", f"{folder}/closed", "--port", "0"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 77 and "permission denied" in done.stderr and len(done.stderr.splitlines()) == 1
    finally:
        shutil.rmtree(folder)


class Download:
    """A client that reads slowly, and counts what it gets."""

    def __init__(self, port, path="/large.bin"):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.socket.setblocking(False)
        self.head, self.count, self.has_ended, self.failure = b"", 0, False, None

    def read(self):
        """What is there, up to a limit."""
        try:
            piece = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            self.failure, self.has_ended = error, True
            return
        self.has_ended = piece == b""
        if b"\r\n\r\n" not in self.head:
            self.head += piece
            if (end := self.head.find(b"\r\n\r\n")) < 0:
                return
            piece = self.head[end + 4:]
            self.head = self.head[:end + 4]
        self.count += len(piece)

    @property
    def is_whole(self):
        return self.failure is None and self.count == int(re.search(rb"Content-Length: (\d+)", self.head)[1]) == LARGE


def test_sigterm_lets_slow_downloads_end_and_idlers_go_at_once(site):
    server = start("http", "serve", site, "--port", "0", "--quiet", "--grace", "20")
    with server:
        port = int(server.says(r"listening http 127\.0\.0\.1:(\d+)")[1])
        idlers = [Download(port, "/a.txt") for _ in range(100)]
        brokers.wait_until(lambda: all(idler.read() or idler.count == 10 for idler in idlers))
        downloads = [Download(port) for _ in range(100)]
        brokers.wait_until(lambda: all(download.read() or download.count > 0 for download in downloads))
        server.process.terminate()
        began = time.monotonic()
        brokers.wait_until(lambda: all(idler.read() or idler.has_ended for idler in idlers), seconds=5)
        assert [idler.failure for idler in idlers if idler.failure] == []
        # It is the downloads that it waits for: none of them can have ended, since nobody has read on.
        assert server.process.poll() is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        while time.monotonic() - began < 19 and not all(download.has_ended for download in downloads):
            for download in downloads:
                if not download.has_ended:
                    download.read()
            time.sleep(0.02)
        assert [(download.count, download.failure) for download in downloads if not download.is_whole] == []
        assert server.wait(20) == 0 and time.monotonic() - began < 20
        for client in idlers + downloads:
            client.socket.close()


def test_who_never_reads_is_cut_off_at_the_end_of_the_grace(site):
    server = start("http", "serve", site, "--port", "0", "--quiet", "--grace", "0.5")
    with server:
        stuck = Download(int(server.says(r"listening http 127\.0\.0\.1:(\d+)")[1]))
        brokers.wait_until(lambda: stuck.read() or stuck.count > 0)
        assert server.stop(seconds=10) == 0
        stuck.socket.close()


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_the_example_ends_in_good_order(with_signal):
    with Program(example("items"), "--port", "0") as items:
        port = int(items.prints(r"Serving on http://127\.0\.0\.1:(\d+)")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as idler:
            idler.sendall(b"GET /items/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b"Laptop" not in answer:
                answer += idler.recv(1 << 16)
            items.process.send_signal(with_signal)
            while piece := idler.recv(1 << 16):
                answer += piece
        assert answer.endswith(b'"price":1200}') and items.wait() == 0


# The load generator.


def bench(*words, code=0):
    done = martlet("bench", "http", *map(str, words), "--json", timeout=60)
    assert done.returncode == code, done
    return json.loads(done.stdout)


@pytest.mark.parametrize("words", [[], ["--depth", "8"], ["-c", "300"], ["-c", "1"], ["--loops", "2"], ["-X", "HEAD"]], ids=lambda words: "".join(words))
def test_every_request_is_counted_once(site, words):
    with Served(site, "--port", 0) as server:
        result = bench(f"http://{server.place}/a.txt", "--count", 3000, *words)
    lines = [line for line in server.program.errors.decode().splitlines() if "/a.txt 200" in line]
    assert (result["sent"], result["received"], result["errors"], len(lines)) == (3000, 3000, 0, 3000)
    assert result["statuses"] == {"1xx": 0, "2xx": 3000, "3xx": 0, "4xx": 0, "5xx": 0}
    assert result["bytes"] == (0 if "HEAD" in words else 30000)
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["max_us"] and result["sent_per_s"] > 0 and result["recv_per_s"] > 0


def test_statuses_are_counted_by_their_class(served):
    assert bench(f"http://{served.place}/nothing", "--count", 100)["statuses"]["4xx"] == 100
    assert bench(f"http://{served.place}/page", "--count", 100)["statuses"]["3xx"] == 100


def test_a_rate_is_kept(served):
    result = bench(f"http://{served.place}/a.txt", "--rate", 300, "--duration", 2, "--warm-up", 0.3)
    assert 240 < result["sent_per_s"] < 360 and 240 < result["recv_per_s"] < 360


def test_the_table_is_for_people(served):
    done = martlet("bench", "http", f"http://{served.place}/a.txt", "--count", "500", timeout=30)
    assert done.returncode == 0 and done.stderr == ""
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["load", "sent", "received", "latency", "answers", "errors"]


def test_bench_by_tls_and_over_a_unix_socket(site, certificates, tmp_path):
    identity = ["--cert", certificates.path("server"), "--key", certificates.key("server")]
    with Served(site, "--listen", "localhost:0", *identity) as server:
        url = f"https://localhost:{server.port}/a.txt"
        assert bench(url, "--count", 500, "--cafile", certificates.authority)["received"] == 500
        refused = martlet("bench", "http", url, "--count", "5", timeout=30)
        assert refused.returncode == 69 and "no TLS" in refused.stderr and len(refused.stderr.splitlines()) == 1
    path = tmp_path / "bench.sock"
    with Served(site, "--listen", f"unix:{path}", "--quiet"):
        assert bench(f"http+unix://{path}:/a.txt", "--count", 500)["received"] == 500


@pytest.fixture
def recorder():
    """A server in HTTP/1.0's way: each answer ends its connection. It keeps what it was sent."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.path, self.headers["Host"], self.headers["X-Own"], content))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"until the end")

        do_GET = do_PUT = do_POST

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], seen
    server.shutdown()
    server.server_close()


def test_what_is_sent_and_a_server_that_ends_each_connection(recorder, tmp_path):
    port, seen = recorder
    (tmp_path / "content").write_bytes(b"from a file")
    result = bench(f"127.0.0.1:{port}/x?y=1", "-c", 4, "--count", 40, "-H", "X-Own: 7", "-H", "Host: own", "--body-file", tmp_path / "content")
    assert (result["received"], result["errors"], result["bytes"]) == (40, 0, 40 * 13)
    assert len(seen) == 40 and set(seen) == {("POST", "/x?y=1", "own", "7", b"from a file")}
    bench(f"127.0.0.1:{port}/", "-c", 1, "--count", 1, "-X", "PUT", "--body", "text")
    assert seen[-1] == ("PUT", "/", f"127.0.0.1:{port}", None, b"text")


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
@pytest.mark.parametrize("depth", [1, 5])
def test_connections_that_a_server_ends_now_and_then(tmp_path, depth):
    port = brokers.free_port()
    paths = " ".join(f"{name}_temp_path {tmp_path}/{name};" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr crit; events {{ worker_connections 200; }}"
        f"http {{ access_log off; keepalive_requests 7; {paths} server {{ listen 127.0.0.1:{port}; location / {{ return 200 hello; }} }} }}")
    with Program(NGINX, "-p", tmp_path, "-c", tmp_path / "nginx.conf"):
        brokers.wait_for_port(port)
        result = bench(f"http://127.0.0.1:{port}/", "-c", 10, "--depth", depth, "--count", 2000)
        assert (result["received"], result["statuses"]["2xx"], result["bytes"]) == (2000, 2000, 10000)
        # With requests behind the last that it answers nginx may reset instead of ending.
        assert result["errors"] == 0 or depth > 1


def test_a_bench_that_fails_says_why(served):
    done = martlet("bench", "http", f"http://127.0.0.1:{brokers.free_port()}/")
    assert done.returncode == 69 and len(done.stderr.splitlines()) == 1
    with start("tcp", "echo", "--port", "0") as echo:
        result = martlet("bench", "http", "http://" + echo.says(r"listening tcp (\S+)")[1], "--duration", "0.2", timeout=30)
        assert result.returncode == 1 and "broke the protocol" in result.stdout
    for words in [[], ["ftp://x"], ["a", "b"], ["h", "-H", "none"], ["h", "-H", "A: b\x01"], ["h", "--body", "a", "--body-file", "b"], ["h", "--cafile", "x"], ["u:p@h"]]:
        done = martlet("bench", "http", *words)
        assert done.returncode == 64 and len(done.stderr.splitlines()) == 1, words
