"""`martlet http` against nginx: plain, TLS, a Unix socket, compression, redirects, credentials, and servers that fail."""

import base64
import http.server
import json
import re
import shutil
import subprocess
import threading
import time

import pytest

import brokers

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
TEXT = "to be or not to be " * 2000

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s; gzip on; gzip_types text/plain; gzip_min_length 100;
  types {{ text/plain txt; }} default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl; listen unix:{folder}/socket;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    root {folder}/root;
    location = /hello {{ return 200 "hello $request_method $http_x_own"; }}
    location = /moved {{ return 301 /hello; }}
    location = /loop {{ return 302 /loop; }}
    location = /busy {{ return 503; }}
    location = /empty {{ return 204; }}
    location = /who {{ auth_basic realm; auth_basic_user_file {folder}/users; try_files /who.txt =404; }}
  }}
}}
"""


class Nginx:
    def __init__(self, folder, certificates):
        self.folder, self.port, self.secure = folder, brokers.free_port(), brokers.free_port()
        (folder / "root").mkdir()
        (folder / "root/text.txt").write_text(TEXT)
        (folder / "root/who.txt").write_text("it is you")
        (folder / "root/large.bin").write_bytes(bytes(range(256)) * (1 << 15))
        (folder / "root/bomb.txt").write_bytes(bytes(8 << 20))
        (folder / "users").write_text("ann:{PLAIN}secret\n")
        file = folder / "nginx.conf"
        file.write_text(
            CONFIGURATION.format(
                folder=folder, port=self.port, secure=self.secure, certificate=certificates.path("server"), key=certificates.key("server")))
        self.process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file)], stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20
        while run(f"http://127.0.0.1:{self.port}/hello").returncode:
            assert self.process.poll() is None and time.monotonic() < deadline, self.process.stderr.read()
            time.sleep(0.05)

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def end(self):
        self.process.terminate()
        self.process.wait(20)


def run(*words, input=b""):
    return subprocess.run([brokers.binary(), "http", *map(str, words)], input=input, capture_output=True, timeout=30, env=brokers.environment())


@pytest.fixture(scope="module")
def nginx(tmp_path_factory, certificates):
    server = Nginx(tmp_path_factory.mktemp("nginx"), certificates)
    yield server
    server.end()


def test_content_is_stdout_and_nothing_else(nginx):
    done = run(nginx.url("/hello"), "X-Own:7")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello GET 7", b"")


def test_content_of_any_size_comes_whole(nginx):
    assert run(nginx.url("/large.bin")).stdout == bytes(range(256)) * (1 << 15)


def test_gzip_is_decoded(nginx):
    done = run("-v", nginx.url("/text.txt"))
    assert done.stdout.decode() == TEXT
    raw = run("--headers", nginx.url("/text.txt"), "Accept-Encoding:gzip")
    assert b"Content-Type: text/plain" in raw.stdout


def test_gzip_that_stands_for_too_much_is_refused(nginx):
    done = run(nginx.url("/bomb.txt"))
    assert done.returncode == 1 and b"more than 100 times as large" in done.stderr


def test_v_says_how_long_each_phase_took(nginx):
    done = run("-v", f"https://localhost:{nginx.secure}/hello", "--insecure")
    errors = done.stderr.decode()
    for phase in ["resolve", "connect", "tls", "first byte", "content", "whole"]:
        assert re.search(rf"^ *\d+\.\d\d ms  {phase}$", errors, re.MULTILINE), errors
    assert "GET /hello" in errors and "TLS" in errors


def test_tls_is_checked(nginx, certificates):
    url = f"https://localhost:{nginx.secure}/hello"
    assert run("--cafile", certificates.authority, url).stdout == b"hello GET "
    refused = run(url)
    assert refused.returncode == 69 and b"no TLS with" in refused.stderr


def test_a_unix_socket(nginx):
    assert run(f"http+unix://{nginx.folder}/socket:/hello").stdout == b"hello GET "


def test_redirects_are_followed_if_asked(nginx):
    assert run(nginx.url("/moved"), "--headers").stdout.startswith(b"301\n")
    assert run("-F", nginx.url("/moved")).stdout == b"hello GET "
    done = run("-F", "--max-redirects", 3, nginx.url("/loop"))
    assert done.returncode == 1 and b"redirected more than 3 times" in done.stderr


def test_basic_credentials(nginx):
    assert run("--check-status", nginx.url("/who")).returncode == 1
    assert run("-a", "ann:secret", nginx.url("/who")).stdout == b"it is you"
    assert run(nginx.url("/who").replace("//", "//ann:secret@")).stdout == b"it is you"
    assert b"secret" not in run("-v", "-a", "ann:secret", nginx.url("/who")).stderr


def test_status_and_exit_codes(nginx):
    assert run(nginx.url("/nothing")).returncode == 0
    assert run("--check-status", nginx.url("/nothing")).returncode == 1
    assert run("--check-status", nginx.url("/empty")).stdout == b""
    assert run("http://127.0.0.1:1/").returncode == 69
    assert run("ftp://x/").returncode == 64
    assert run().returncode == 64
    start = time.monotonic()
    assert run("--retries", 2, "--check-status", nginx.url("/busy")).returncode == 1
    assert time.monotonic() - start > 0.15


def test_json_is_one_object(nginx):
    answer = json.loads(run("--json", nginx.url("/hello")).stdout)
    assert (answer["status"], answer["body"], answer["bytes"]) == (200, "hello GET ", 10)
    assert ["Server", answer["fields"][0][1]] == answer["fields"][0]
    assert answer["ms"]["whole"] > 0


@pytest.fixture
def mirror():
    """A server that answers with what it was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            said = json.dumps({"line": f"{self.command} {self.path}", "fields": {k.lower(): v for k, v in self.headers.items()}, "content": content}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_items_of_httpie(mirror, tmp_path):
    (tmp_path / "text").write_text("from a file")
    said = json.loads(run(f"127.0.0.1:{mirror}/a", "name=Mouse", "price:=9.5", f"note=@{tmp_path}/text", "q==a b", "X-Own:1").stdout)
    assert said["line"] == "POST /a?q=a%20b"
    assert json.loads(said["content"]) == {"name": "Mouse", "price": 9.5, "note": "from a file"}
    assert said["fields"]["x-own"] == "1" and said["fields"]["content-type"] == "application/json"
    said = json.loads(run("--form", "PUT", f"127.0.0.1:{mirror}/", "a=1 2", "b=ü").stdout)
    assert (said["line"], said["content"]) == ("PUT /", "a=1%202&b=%C3%BC")
    said = json.loads(run("-s", "--bearer", "abc", f"127.0.0.1:{mirror}/", input=b"all of it").stdout)
    assert (said["content"], said["fields"]["authorization"]) == ("all of it", "Bearer abc")
    said = json.loads(run("-a", "ann:x:y", f"127.0.0.1:{mirror}/").stdout)
    assert base64.b64decode(said["fields"]["authorization"].split()[1]) == b"ann:x:y"
    assert run(f"127.0.0.1:{mirror}/", "no item").returncode == 64
    assert run(f"127.0.0.1:{mirror}/", "a:=nothing").returncode == 64
