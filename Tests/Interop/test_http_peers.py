"""The HTTP server's library with others' clients: curl, httpx, wrk, Chromium, and sockets that say what they like."""

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess

import httpx
import pytest

from chromium import CHROMIUM
from http_server import Server
from programs import Program, example

UPLOAD = bytes(range(256)) * 20_000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "numbers.bin").write_bytes(bytes(range(256)) * 4096)
    (folder / "upload").write_bytes(UPLOAD)
    return folder


@pytest.fixture(scope="module")
def server(files):
    with Server("http://127.0.0.1:0", "--files", files) as running:
        yield running


@pytest.fixture(scope="module")
def secure(files, certificates):
    with Server("https://127.0.0.1:0", "--files", files, "--cert", certificates.path("server"), "--key", certificates.key("server")) as running:
        yield running


@pytest.fixture(scope="module")
def items():
    with Program(example("items"), "--port", 0) as program:
        yield program.prints(r"Serving on (\S+)\n").group(1).decode()


def curl(*words, input=b"", code=0):
    done = subprocess.run(["curl", "-sS", "--max-time", "20", *map(str, words)], input=input, capture_output=True, timeout=30)
    assert done.returncode == code, (done.returncode, done.stderr)
    return done.stdout


def status(*words, **more):
    return curl("-o", "/dev/null", "-w", "%{http_code}", *words, **more).decode()


# The course


def test_the_courses_requests(items):
    assert json.loads(curl(f"{items}/")) == {"message": "Ola, API!"}
    assert json.loads(curl(f"{items}/items/1"))["name"] == "Laptop"
    assert json.loads(curl(f"{items}/items/2"))["name"] == "Mouse"
    assert [status(f"{items}/items/{item}") for item in ["3", "100", "101", "abc", "1.5", "-1", "%31"]] == ["200", "200", "404", "422", "422", "404", "200"]
    for item in ["999", "abc"]:
        answer = httpx.get(f"{items}/items/{item}")
        assert answer.headers["content-type"].startswith("application/json") and "detail" in answer.json()


def test_wrk_sees_no_error(items):
    done = subprocess.run(["wrk", "-t", "1", "-c", "50", "-d", "1s", "--latency", f"{items}/items/5"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
    assert int(re.search(r"(\d+) requests in", done.stdout).group(1)) > 100, done.stdout


# curl


def test_curl_keeps_the_connection(server):
    assert curl(*[f"{server.url}/hello?{n}" for n in range(5)], "-w", "%{num_connects}") == b"GET /hello?01" + b"".join(b"GET /hello?%d0" % n for n in range(1, 5))


def test_curl_sends_content(server, files):
    expected = {"bytes": len(UPLOAD), "sum": sum(UPLOAD)}

    def count(*words, **more):
        answer = json.loads(curl(f"{server.url}/count", *words, **more))
        return {key: answer[key] for key in expected}

    upload = f"@{files}/upload"
    assert count("--data-binary", upload) == count("-T", files / "upload") == count("-T", "-", input=UPLOAD) == expected
    assert count("-H", "Transfer-Encoding: chunked", "--data-binary", upload) == expected
    assert curl("-T", "-", f"{server.url}/echo", input=UPLOAD) == UPLOAD
    assert json.loads(curl("-F", f"file={upload}", "-F", "a[b[c[=1", f"{server.url}/count"))["type"] == "multipart/form-data"
    assert json.loads(curl("-d", "a[b[=1", f"{server.url}/count")) == {"bytes": 6, "sum": sum(b"a[b[=1"), "type": "application/x-www-form-urlencoded"}


def test_curl_asks_before_it_sends(server, files):
    words = ["-v", "-H", "Expect: 100-continue", "--expect100-timeout", "15", "--data-binary", f"@{files}/upload"]
    done = subprocess.run(["curl", "-sS", *words, f"{server.url}/count"], capture_output=True, timeout=30)
    assert b"< HTTP/1.1 100 Continue" in done.stderr and json.loads(done.stdout)["bytes"] == len(UPLOAD)
    # Who does not read does not ask for it either.
    done = subprocess.run(["curl", "-sS", *words, "-w", " %{size_upload}", f"{server.url}/ignore"], capture_output=True, timeout=30)
    assert b"100 Continue" not in done.stderr and done.stdout == b"ignored 0"
    assert status("-H", "Expect: something", f"{server.url}/hello") == "417"


def test_curl_asks_for_less(server):
    url = f"{server.url}/files/numbers.bin"
    assert curl("-r", "256-259", url) == b"\0\1\2\3" and curl("-r", "-2", url) == b"\xfe\xff" and curl("-r", "1048575-", url) == b"\xff"
    assert status("-r", "0-1,5-6", url) == "200" and status("-r", "1048576-", url) == "416"
    tag = re.search(rb"(?i)etag: (.*)\r", curl("-I", url)).group(1).decode()
    assert status("-H", f"If-None-Match: {tag}", url) == "304" and status("-H", "If-Match: \"x\"", url) == "412"
    assert b"Content-Encoding: gzip" in curl("--compressed", "-D", "-", "-o", "/dev/null", f"{server.url}/long")
    assert curl("--compressed", f"{server.url}/long") == curl(f"{server.url}/long") == b"again and " * 10_000
    assert len(curl("-H", "Accept-Encoding: gzip", f"{server.url}/long")) < 2000


def test_curls_methods(server):
    head = curl("-I", f"{server.url}/long")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: 100000\r\n" in head
    allowed = rb"(?m)^Allow: GET, HEAD, OPTIONS\r$"
    options = curl("-i", "-X", "OPTIONS", f"{server.url}/hello")
    assert options.startswith(b"HTTP/1.1 204 ") and re.search(allowed, options)
    refused = curl("-i", "-X", "DELETE", f"{server.url}/hello")
    assert refused.startswith(b"HTTP/1.1 405 ") and re.search(allowed, refused)
    assert status("-X", "OPTIONS", "--request-target", "*", server.url) == "204"
    failed = curl("-i", f"{server.url}/fail")
    assert failed.startswith(b"HTTP/1.1 500 ") and b"Failure" not in failed


def test_curl_as_an_old_client(server):
    answer = curl("--http1.0", "-i", f"{server.url}/stream?lines=3")
    assert answer.endswith(b"\r\n\r\nline 0\nline 1\nline 2\n") and b"chunked" not in answer and b"Connection: close" in answer
    assert b"Connection: keep-alive" in curl("--http1.0", "-i", "-H", "Connection: keep-alive", f"{server.url}/hello")


def test_curl_over_a_unix_socket(tmp_path):
    with Server(f"http+unix://{tmp_path}/socket"):
        assert curl("--unix-socket", f"{tmp_path}/socket", "http://localhost/hello") == b"GET /hello"


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_over_tls(secure, files, certificates, version):
    words = ["--cacert", certificates.authority, f"--tlsv{version}", "--tls-max", version]
    assert curl(*words, f"{secure.url}/hello", f"{secure.url}/hello", "-w", "%{num_connects} ") == b"GET /hello1 GET /hello0 "
    assert curl(*words, "-T", "-", f"{secure.url}/echo", input=UPLOAD) == UPLOAD
    assert curl(*words, "-r", "5-6", f"{secure.url}/files/numbers.bin") == b"\5\6"
    assert curl(*words, f"{secure.url}/files/numbers.bin") == (files / "numbers.bin").read_bytes()
    done = subprocess.run(["curl", "-v", "-sS", *words, f"{secure.url}/hello"], capture_output=True, text=True, timeout=30)
    assert f"SSL connection using TLSv{version}" in done.stderr and "ALPN: server accepted http/1.1" in done.stderr
    # 60: who signed it is unknown.
    curl(f"{secure.url}/hello", code=60)


def test_curl_shows_a_certificate(certificates):
    with Server("https://127.0.0.1:0", "--cert", certificates.path("server"), "--key", certificates.key("server"), "--ca", certificates.authority) as server:
        words = ["--cacert", certificates.authority, f"{server.url}/hello"]
        assert curl("--cert", certificates.path("client"), "--key", certificates.key("client"), *words) == b"GET /hello"
        refused = subprocess.run(["curl", "-sS", *words], capture_output=True, timeout=30)
        assert refused.returncode in (35, 55, 56) and refused.stdout == b""


def test_curl_through_a_tunnel(server, items):
    assert json.loads(curl("-p", "-x", server.url, f"{items}/items/1"))["name"] == "Laptop"
    assert b"501 Not Implemented" in curl("-p", "-x", items, "-D", "-", f"{server.url}/hello", code=56)


# httpx


def test_httpx(server):
    with httpx.Client(base_url=server.url, timeout=20) as client:
        ends = set()
        for number in range(10):
            answer = client.get(f"/hello?{number}")
            assert answer.text == f"GET /hello?{number}" and answer.http_version == "HTTP/1.1"
            ends.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        assert len(ends) == 1
        assert client.post("/json", json={"a": "ü"}).json() == {"a": "ü"}
        assert client.post("/count", files={"file": b"x" * 100_000}, data={"a": "b"}).json()["type"] == "multipart/form-data"
        assert client.post("/echo", content=(UPLOAD[at : at + 100_000] for at in range(0, len(UPLOAD), 100_000))).content == UPLOAD
        with client.stream("GET", "/stream?lines=20000") as answer:
            assert sum(1 for _ in answer.iter_lines()) == 20_000
        # Left in the middle: another connection is made.
        with client.stream("GET", "/stream?lines=1000000") as answer:
            next(answer.iter_bytes())
        assert client.get("/long").text == "again and " * 10_000
        assert client.head("/long", headers={"Accept-Encoding": "identity"}).headers["content-length"] == "100000"
        assert [client.get(path).status_code for path in ["/nothing", "/files/..%2fsecret", "/files/%00", "/%ff"]] == [404, 404, 404, 404]


def test_httpx_asynchronously(server):
    async def run():
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            answers = await asyncio.gather(*[client.get(f"/slow?ms={number % 50}") for number in range(200)])
            assert {answer.text for answer in answers} == {"at last"}

            async def pieces():
                for at in range(0, len(UPLOAD), 100_000):
                    yield UPLOAD[at : at + 100_000]

            count = 0
            async with client.stream("PUT", "/echo", content=pieces()) as answer:
                async for piece in answer.aiter_bytes():
                    count += len(piece)
            assert count == len(UPLOAD)

    asyncio.run(run())


def test_httpx_over_tls(secure, certificates):
    context = ssl.create_default_context(cafile=certificates.authority)
    with httpx.Client(base_url=f"https://localhost:{secure.port}", verify=context, timeout=20) as client:
        assert client.get("/hello").text == "GET /hello" and client.post("/echo", content=UPLOAD).content == UPLOAD
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{secure.url}/hello")
    with httpx.Client(transport=httpx.HTTPTransport(verify=context)) as client, pytest.raises(httpx.HTTPError):
        client.get(f"http://127.0.0.1:{secure.port}/hello")


# Bytes


class Raw:
    """A socket that is read to the end."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), 20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, *lines, content=b""):
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode() + b"\r\n" + content)
        return self

    def hear(self):
        return b"".join(iter(lambda: self.socket.recv(65_536), b""))


def test_pipelined_ranges_come_in_their_order(server):
    with Raw(server) as raw:
        for number in range(100):
            close = ["Connection: close"] if number == 99 else []
            raw.say("GET /files/numbers.bin HTTP/1.1", "Host: x", f"Range: bytes={number}-{number}", *close)
        heard = raw.hear()
    assert bytes(part.split(b"\r\n\r\n", 1)[1][0] for part in heard.split(b"HTTP/1.1 206 ")[1:]) == bytes(range(100))


BAD = {
    "two lengths": (400, ["POST /count HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 2"]),
    "length and chunks": (400, ["POST /count HTTP/1.1", "Host: x", "Content-Length: 1", "Transfer-Encoding: chunked"]),
    "a blank before the colon": (400, ["GET /hello HTTP/1.1", "Host : x"]),
    "a folded line": (400, ["GET /hello HTTP/1.1", "Host: x", "A: b", " c"]),
    "no Host": (400, ["GET /hello HTTP/1.1"]),
    "two Hosts": (400, ["GET /hello HTTP/1.1", "Host: x", "Host: y"]),
    "another Host": (400, ["GET http://x/hello HTTP/1.1", "Host: y"]),
    "a version to come": (505, ["GET /hello HTTP/3.0", "Host: x"]),
    "a long target": (414, [f"GET /{'a' * 10_000} HTTP/1.1", "Host: x"]),
    "many fields": (431, ["GET /hello HTTP/1.1", "Host: x"] + ["A: b"] * 200),
    "a long field": (431, ["GET /hello HTTP/1.1", "Host: x", "A: " + "b" * 40_000]),
    "an unknown coding": (501, ["POST /count HTTP/1.1", "Host: x", "Transfer-Encoding: br, chunked"]),
    "too much": (413, ["POST /count HTTP/1.1", "Host: x", "Content-Length: 99999999999"]),
    "no HTTP": (400, ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_refused_with_a_sentence(server, what):
    expected, lines = BAD[what]
    with Raw(server) as raw:
        heard = raw.say(*lines).hear()
    head, sentence = heard.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % expected) and b"\r\nConnection: close" in head
    assert re.fullmatch(rb"%d: [^\n]+\n" % expected, sentence), sentence
    # Others are served.
    assert curl(f"{server.url}/hello") == b"GET /hello"


def test_an_upgrade(server):
    with Raw(server) as raw:
        raw.say("GET /chat HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: echo", content=b"hello ")
        raw.socket.sendall(b"world")
        raw.socket.shutdown(socket.SHUT_WR)
        head, content = raw.hear().split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n") and content == b"hello world"
    answer = httpx.get(f"{server.url}/chat")
    assert answer.status_code == 426 and answer.headers["upgrade"] == "echo" and answer.headers["connection"].lower() == "upgrade"


# Chromium




@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_page_in_chromium(server, tmp_path):
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={tmp_path}"]
    before = len(server.program.errors)
    with Program(CHROMIUM, *words, f"{server.url}/", env={**os.environ, "HOME": str(tmp_path)}):
        report = server.program.prints(r"report (.*)\n", 40).group(1)
    assert report == b"passed"
    lines = server.program.errors[before:].decode().splitlines()
    peers = {line.split()[5] for line in lines if line.startswith("GET /hello?")}
    # A browser keeps up to six connections to one host.
    assert len([line for line in lines if line.startswith("GET /hello?")]) == 20 and len(peers) <= 6
