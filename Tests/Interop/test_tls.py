"""MQTT over TLS: openssl, mosquitto's clients and paho against `martlet serve`, `martlet mqtt` against mosquitto, and what a scanner finds."""

import contextlib
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest

import brokers
import raw
from brokers import martlet


def listener(certificates, more="", name="server"):
    return f"mqtts://127.0.0.1:0?cert={certificates.path(name)}&key={certificates.key(name)}{more}"


def port_of(running, scheme="mqtts"):
    return int(running.wait_for_line(rf"(?:^|\s)listening {scheme} 127\.0\.0\.1:(\d+)$").group(1))


@pytest.fixture
def secure(serve, certificates):
    """A server with the default settings of an mqtts listener, and its port."""
    running = serve(listen=[listener(certificates)])
    return running, port_of(running)


def trusting(certificates, name=None):
    context = ssl.create_default_context(cafile=certificates.authority)
    if name:
        context.load_cert_chain(certificates.path(name), certificates.key(name))
    return context


def connect(port, context):
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 10), server_hostname="localhost")


def pings(stream):
    """Whether an MQTT client that is connected over `stream` is heard."""
    stream.sendall(raw.packet(raw.PINGREQ, 0, b""))
    return stream.recv(2) == b"\xd0\x00"


def says_hello(stream, client="c"):
    stream.sendall(raw.connect_packet(client))
    return stream.recv(4) == b"\x20\x02\x00\x00"


def run(*words, timeout=20, **more):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=timeout, **more)


# Against martlet serve


@pytest.mark.parametrize("version", ["tls1_2", "tls1_3"])
def test_openssl_s_client(secure, certificates, version):
    words = ["-connect", f"localhost:{secure[1]}", f"-{version}", "-CAfile", certificates.authority, "-verify_return_error", "-servername", "localhost"]
    done = run("openssl", "s_client", *words, "-alpn", "mqtt", "-verify_hostname", "localhost", input="")
    assert done.returncode == 0, done.stderr
    assert "Verify return code: 0 (ok)" in done.stdout and "ALPN protocol: mqtt" in done.stdout
    assert f"{version.replace('_', '.').replace('tls', 'TLSv')}, Cipher is " in done.stdout
    assert run("openssl", "s_client", *words, "-alpn", "h2", input="").returncode != 0


@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
def test_old_versions_are_refused(secure, version):
    done = run("openssl", "s_client", "-connect", f"localhost:{secure[1]}", f"-{version}", "-cipher", "ALL:@SECLEVEL=0", input="")
    assert done.returncode != 0 and "Cipher is (NONE)" in done.stdout


def test_a_session_is_resumed(secure, certificates, tmp_path):
    session = tmp_path / "session.pem"
    words = ["openssl", "s_client", "-connect", f"localhost:{secure[1]}", "-CAfile", certificates.authority, "-tls1_2"]
    assert "New, TLSv1.2" in run(*words, "-sess_out", session, input="").stdout
    assert "Reused, TLSv1.2" in run(*words, "-sess_in", session, input="").stdout


def test_a_ticket_allows_no_early_data(secure, certificates):
    """sslyze's own test for it speaks HTTP."""
    words = f"-connect localhost:{secure[1]} -CAfile {certificates.authority} -tls1_3"
    done = run("sh", "-c", f"sleep 0.5 | openssl s_client {words}")
    assert "Post-Handshake New Session Ticket" in done.stdout and re.findall(r"Max Early Data: (\d+)", done.stdout) == ["0", "0"], done.stdout


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
def test_mosquitto_clients(secure, certificates, version):
    words = ["-h", "localhost", "-p", str(secure[1]), "--cafile", certificates.authority, "--tls-version", version]
    payload = "x" * 200_000
    done = run("mosquitto_pub", *words, "-q", "1", "-r", "-t", "a/b", "-s", input=payload)
    assert done.returncode == 0, done.stderr
    assert run("mosquitto_sub", *words, "-q", "1", "-t", "a/#", "-C", "1").stdout == payload + "\n"


def test_paho(secure, certificates):
    seen, subscribed, done = [], threading.Event(), threading.Event()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="paho", protocol=paho.MQTTv5)
    client.tls_set(ca_certs=certificates.authority)
    client.on_connect = lambda client, *_: client.subscribe("a/#", 2)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda client, _, message: (seen.append(message.payload), len(seen) == 100 and done.set())
    client.connect("localhost", secure[1])
    client.loop_start()
    assert subscribed.wait(10)
    for number in range(100):
        client.publish("a/b", str(number), qos=number % 3)
    assert done.wait(10)
    client.disconnect()
    client.loop_stop()
    assert sorted(seen, key=int) == [str(number).encode() for number in range(100)]


@pytest.mark.parametrize("loops", [1, 4])
def test_many_clients_on_many_loops_and_a_takeover(serve, certificates, loops):
    """A connection goes to the loop of its session in the middle of its first read."""
    running = serve(listen=[listener(certificates)], loops=loops)
    port, context = port_of(running), trusting(certificates)
    for turn in range(3):
        streams = [connect(port, context) for _ in range(8)]
        for number, stream in enumerate(streams):
            stream.sendall(raw.connect_packet(f"c{number}", clean=False) + raw.packet(raw.PINGREQ, 0, b""))
        for stream in streams:
            answer = b""
            while len(answer) < 6:
                answer += stream.recv(6)
            assert answer[:2] == b"\x20\x02" and answer[3:] == b"\x00\xd0\x00"
        for stream in streams:
            if turn:
                stream.close()


def test_mutual_tls(serve, certificates):
    running = serve(listen=[listener(certificates, f"&ca={certificates.authority}&verify=required")])
    port = port_of(running)
    with connect(port, trusting(certificates, "client")) as stream:
        assert says_hello(stream)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with connect(port, trusting(certificates)) as stream:
            stream.sendall(raw.connect_packet("d"))
            assert stream.recv(4) == b""
            raise ConnectionError
    words = ["mqtt", "pub", "-L", f"mqtts://localhost:{port}/a", "--cafile", certificates.authority, "-m", "x"]
    assert martlet(*words, "--cert", certificates.path("client"), "--key", certificates.key("client")).returncode == 0
    done = martlet(*words)
    assert done.returncode == 69 and "client certificate" in done.stderr, done.stderr


def test_mutual_tls_that_is_optional(serve, certificates):
    running = serve(listen=[listener(certificates, f"&ca={certificates.authority}&verify=optional")])
    for name in [None, "client"]:
        with connect(port_of(running), trusting(certificates, name)) as stream:
            assert says_hello(stream)


def test_sighup_renews_the_certificate_of_those_who_come(serve, certificates, tmp_path):
    certificate, key = tmp_path / "live.pem", tmp_path / "live.key"

    def use(name):
        shutil.copy(certificates.path(name), certificate)
        shutil.copy(certificates.key(name), key)

    use("server")
    running = serve(listen=[f"mqtts://127.0.0.1:0?cert={certificate}&key={key}"])
    port, context = port_of(running), trusting(certificates)
    old = connect(port, context)
    assert says_hello(old)
    use("other")
    running.process.send_signal(signal.SIGHUP)
    running.wait_for_line("certificate reloaded")
    assert pings(old), "who is connected stays"
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        connect(port, context)
    certificate.write_text("no certificate\n")
    running.process.send_signal(signal.SIGHUP)
    line = running.wait_for_line("certificate not reloaded.*").group(0)
    assert "the old one stays" in line and str(certificate) in line
    with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
        connect(port, context)
    assert pings(old)


def test_a_stalled_handshake_is_cut(serve, certificates):
    running = serve("--set", "mqtt.connectTimeout=1s", listen=[listener(certificates)])
    port = port_of(running)
    for first in [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]:
        with socket.create_connection(("127.0.0.1", port), 10) as stream:
            stream.sendall(first)
            start = time.monotonic()
            stream.settimeout(10)
            while stream.recv(100):
                pass
            assert 0.5 < time.monotonic() - start < 5
    with connect(port, trusting(certificates)) as stream:  # a handshake alone is not a CONNECT
        start = time.monotonic()
        while stream.recv(100):
            pass
        assert 0.5 < time.monotonic() - start < 5


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", raw.connect_packet("plain"), b"\xff" * 1000, b"\x16\x03\x01\xff\xff" + b"x" * 70_000], ids=["http", "mqtt", "ff", "long"])
def test_what_is_no_client_hello_ends_the_connection(secure, certificates, sent):
    running, port = secure
    with socket.create_connection(("127.0.0.1", port), 10) as stream:
        stream.settimeout(10)
        try:
            stream.sendall(sent)
            answer = b"".join(iter(lambda: stream.recv(1000), b""))
            assert answer[:1] in (b"", b"\x15"), "an alert, or nothing"
        except ConnectionError:
            pass
    with connect(port, trusting(certificates)) as stream:
        assert says_hello(stream)
    assert running.is_running()


def test_what_goes_wrong_is_logged_for_who_asks(serve, certificates):
    running = serve("--log-level", "debug", listen=[listener(certificates)])
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(port_of(running), ssl.create_default_context())
    assert "unknown CA" in running.wait_for_line("TLS failed.*").group(0)


def test_handshakes_that_fail_or_stall_are_counted(serve, certificates):
    running = serve("--set", "mqtt.connectTimeout=300ms", listen=[listener(certificates)], loops=1)
    for sent in [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b""]:
        with socket.create_connection(("127.0.0.1", port_of(running)), 10) as stream:
            stream.sendall(sent)
            with contextlib.suppress(ConnectionError):
                while stream.recv(100):
                    pass
    # A second signal, such as the fixture's, would end it at once and with 1.
    assert running.stop()[0] == 0
    line = running.wait_for_line("loop 0: .*").group(0)
    assert "handshakesFailed=2" in line and "violations=1" in line


@pytest.mark.parametrize("more, reason", [
    ("", "needs a certificate and its key"), ("?cert=/no.pem&key=/no.key", "cannot read the certificate /no.pem"),
    ("?cert={server}&key={client}.key", "does not belong to the certificate"), ("?cert={server}.pem&key={server}.key&verify=required", "add ca=FILE"),
])
def test_bad_files_are_told_at_the_start(certificates, more, reason):
    paths = {name: str(Path(certificates.path(name)).with_suffix("")) for name in ["server", "client"]}
    url = "mqtts://127.0.0.1:0" + more.replace("cert={server}&", "cert={server}.pem&").format(**paths)
    for words in [["--check"], []]:
        done = martlet("serve", "--listen", url, *words)
        assert done.returncode == 64 and reason in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert martlet("serve", "--check", "--listen", listener(certificates)).returncode == 0


def test_sslyze_finds_nothing(secure, tmp_path):
    """No weak protocol or cipher, none of the known holes."""
    found = tmp_path / "found.json"
    done = run(sys.executable, "-m", "sslyze", f"--json_out={found}", f"127.0.0.1:{secure[1]}", timeout=120)
    assert found.exists(), done.stdout + done.stderr
    results = json.loads(found.read_text())["server_scan_results"][0]["scan_result"]
    result = lambda name: results[name]["result"] or pytest.fail(f"{name}: {results[name]}")
    for version in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]:
        assert result(f"{version}_cipher_suites")["accepted_cipher_suites"] == [], version
    for version in ["tls_1_2", "tls_1_3"]:
        accepted = [suite["cipher_suite"]["name"] for suite in result(f"{version}_cipher_suites")["accepted_cipher_suites"]]
        assert accepted and all(re.search("GCM|CHACHA20", name) for name in accepted), accepted
        assert version == "tls_1_3" or all("ECDHE" in name for name in accepted), accepted
    assert not result("heartbleed")["is_vulnerable_to_heartbleed"]
    assert not result("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"]
    assert "NOT_VULNERABLE" in result("robot")["robot_result"]
    assert not result("tls_compression")["supports_compression"]
    assert not result("session_renegotiation")["is_vulnerable_to_client_renegotiation_dos"]
    assert result("session_renegotiation")["supports_secure_renegotiation"]
    assert result("tls_fallback_scsv")["supports_fallback_scsv"]
    assert result("tls_extended_master_secret")["supports_ems_extension"]
    # Mozilla's "intermediate" list too; that the test's authority is unknown is not the server's matter.
    about = done.stdout.split("COMPLIANCE AGAINST TLS CONFIGURATION")[-1]
    complaints = re.findall(r"^\s+\* (\w+):", about, re.MULTILINE)
    assert set(complaints) <= {"certificate_path_validation"}, about


# martlet mqtt


@pytest.fixture
def mosquitto(certificates, tmp_path):
    """Starts mosquitto with TLS alone."""
    if not brokers.mosquitto_path():
        pytest.skip("no mosquitto")
    started = []

    def start(*lines, name="server"):
        files = [f"cafile {certificates.authority}", f"certfile {certificates.path(name)}", f"keyfile {certificates.key(name)}"]
        started.append(brokers.Mosquitto(tmp_path, "user root", *files, *lines))
        return started[-1].port

    yield start
    for running in started:
        running.kill()


@pytest.mark.parametrize("version", ["tlsv1.2", "tlsv1.3"])
def test_our_client_with_mosquitto(mosquitto, certificates, version):
    port = mosquitto(f"tls_version {version}")
    words = ["-L", f"mqtts://localhost:{port}/a", "--cafile", certificates.authority]
    subscriber = subprocess.Popen(
        [brokers.binary(), "mqtt", "sub", *words, "-C", "1", "-q", "1", "-i", "s"], stdout=subprocess.PIPE, text=True, env=brokers.environment())
    deadline = time.monotonic() + 15
    while subscriber.poll() is None and time.monotonic() < deadline:
        done = martlet("mqtt", "pub", *words, "-q", "1", "-m", "hello", "--tls-version", version)
        assert done.returncode == 0, done.stderr
        time.sleep(0.1)
    assert subscriber.communicate(timeout=10)[0] == "hello\n"
    other = {"tlsv1.2": "tlsv1.3", "tlsv1.3": "tlsv1.2"}[version]
    done = martlet("mqtt", "pub", *words, "-m", "x", "--tls-version", other)
    assert (done.returncode == 69) == (version == "tlsv1.3"), "tls_version of mosquitto is the lowest"


def test_our_client_shows_mosquitto_its_certificate(mosquitto, certificates):
    port = mosquitto("require_certificate true")
    words = ["mqtt", "pub", "-h", "localhost", "-p", str(port), "--cafile", certificates.authority, "-t", "a", "-m", "x"]
    assert martlet(*words, "--cert", certificates.path("client"), "--key", certificates.key("client")).returncode == 0
    assert martlet(*words).returncode == 69


@pytest.mark.parametrize("name, words, reason", [
    ("expired", ["--cafile", "{authority}"], "the certificate has expired"), ("other", ["--cafile", "{authority}"], "the certificate is for another host"),
    ("server", [], "the certificate is not trusted"),
])
def test_a_certificate_that_is_not_believed(mosquitto, certificates, name, words, reason):
    port = mosquitto(name=name)
    words = [word.format(authority=certificates.authority) for word in words]
    for command in [["pub", "-m", "x"], ["sub"]]:
        done = martlet("mqtt", *command, "-L", f"mqtts://localhost:{port}/a", *words)
        assert done.returncode == 69 and reason in done.stderr and f"localhost:{port}" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert martlet("mqtt", "pub", "-m", "x", "-L", f"mqtts://localhost:{port}/a", "--insecure").returncode == 0


def test_a_port_without_tls_and_one_with_it(mosquitto, serve, certificates, secure):
    plain = serve()
    done = martlet("mqtt", "pub", "-L", f"mqtts://localhost:{plain.port}/a", "--cafile", certificates.authority, "-m", "x")
    assert done.returncode == 69 and "TLS" in done.stderr
    for port in [secure[1], mosquitto()]:
        assert martlet("mqtt", "pub", "-h", "localhost", "-p", str(port), "-t", "a", "-m", "x").returncode == 1


def test_the_client_connects_again_over_tls(serve, certificates):
    first = serve(listen=[listener(certificates)])
    port = port_of(first)
    words = ["mqtt", "sub", "-L", f"mqtts://localhost:{port}/a", "--cafile", certificates.authority, "-C", "2", "-q", "1", "-i", "s"]
    subscriber = subprocess.Popen([brokers.binary(), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=brokers.environment())

    def publish(text):
        assert martlet("mqtt", "pub", *words[2:6], "-q", "1", "-r", "-m", text).returncode == 0

    publish("first")
    assert subscriber.stdout.readline() == "first\n"
    first.stop()
    again = serve(listen=[listener(certificates).replace(":0?", f":{port}?")])
    publish("again")
    output, errors = subscriber.communicate(timeout=20)
    assert output == "again\n" and "attempt 1 to connect again" in errors


def test_our_client_does_not_wait_for_ever_for_a_handshake():
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = martlet("mqtt", "pub", "-L", f"mqtts://127.0.0.1:{server.getsockname()[1]}/a", "-m", "x", timeout=30)
    assert done.returncode == 69 and "timed out" in done.stderr, done.stderr


def test_the_bench_loads_a_server_over_tls(secure, certificates):
    words = ["bench", "mqtt", f"mqtts://localhost:{secure[1]}", "-q", "1", "--publishers", "4", "--subscribers", "4", "--count", "2000", "--json", "--quiet"]
    done = martlet(*words, "--cafile", certificates.authority)
    assert done.returncode == 0 and json.loads(done.stdout)["received"] == 2000, done.stdout + done.stderr
    assert martlet(*words).returncode != 0
