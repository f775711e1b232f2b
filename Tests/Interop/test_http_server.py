"""The HTTP listeners of `martlet serve`: health, and metrics that Prometheus' own parser reads and that agree with what was done."""

import base64
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pika
import pytest
from prometheus_client.parser import text_string_to_metric_families

import brokers
from raw import PUBACK, Connection

LISTEN = ("mqtt://127.0.0.1:0", "amqp://127.0.0.1:0", "http://127.0.0.1:0")
DOCUMENT = Path(__file__).parents[2] / "Documentation/metrics.md"


@pytest.fixture(scope="module", params=[1, 2], ids=["loops1", "loops2"])
def server(request):
    running = brokers.Martlet("--set", "vhosts=second", loops=request.param, listen=LISTEN)
    yield running
    assert running.stop()[0] == 0, "\n".join(running.lines[-20:])


def ask(server, path, method="GET", context=None, **fields):
    """(status, fields, content)"""
    port = server.ports["https" if context else "http"]
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context) if context else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        answer = client.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        client.close()


class Metrics:
    """One scrape: `metrics("name", label="value")` is the sum of the samples with these labels."""

    def __init__(self, text):
        self.text = text
        families = list(text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(families)
        self.samples = {}
        for family in families:
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = sample.value

    def __call__(self, name, **labels):
        found = [value for (known, have), value in self.samples.items() if known == name and labels.items() <= dict(have).items()]
        assert found, f"no {name} with {labels}"
        return sum(found)

    def has(self, name, **labels):
        return any(known == name and labels.items() <= dict(have).items() for known, have in self.samples)


def scrape(server, **more):
    status, fields, text = ask(server, "/metrics", **more)
    assert (status, fields["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8"), text
    return Metrics(text)


def amqp(server, vhost="/"):
    parameters = pika.ConnectionParameters("127.0.0.1", server.ports["amqp"], virtual_host=vhost, blocked_connection_timeout=10, socket_timeout=10)
    return pika.BlockingConnection(parameters)


def test_health_and_the_rest(server):
    status, fields, content = ask(server, "/health/live")
    assert (status, json.loads(content), fields["Content-Type"]) == (200, {"status": "live"}, "application/json")
    status, fields, content = ask(server, "/health/ready")
    assert (status, json.loads(content), fields["Cache-Control"]) == (200, {"status": "ready"}, "no-store")
    assert ask(server, "/health/ready", method="HEAD")[::2] == (200, "")
    status, fields, content = ask(server, "/")
    assert status == 200 and "/metrics" in content and fields["Content-Type"].startswith("text/plain")
    for path in ("/health", "/metrics/", "/favicon.ico", "/health/ready/now"):
        status, fields, content = ask(server, path)
        assert (status, fields["Content-Type"]) == (404, "application/problem+json")
        assert json.loads(content)["detail"] == f"nothing is at {path}; there are /health/live, /health/ready, /metrics, /mqtt and /ws"
    status, fields, _ = ask(server, "/metrics", method="POST")
    assert (status, fields["Allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(server):
    url = f"http://127.0.0.1:{server.ports['http']}"
    done = subprocess.run(["curl", "-sf", f"{url}/health/ready", f"{url}/health/live"], capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (0, '{"status":"ready"}\n{"status":"live"}\n')
    packed = subprocess.run(["curl", "-sf", "--compressed", "-D", "-", f"{url}/metrics"], capture_output=True, text=True, timeout=10)
    assert "Content-Encoding: gzip" in packed.stdout and "martlet_build_info{" in packed.stdout


def test_every_metric_is_documented_and_is_there(server):
    table = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE))
    text = scrape(server).text
    said = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert said == table
    assert re.findall(r"^# HELP (\w+) \S", text, re.MULTILINE) == list(said)


def test_the_process_and_its_loops(server):
    metrics = scrape(server)
    version = brokers.martlet("--version").stdout.split()[1]
    assert metrics("martlet_build_info", version=version) == 1
    assert 0 < metrics("martlet_uptime_seconds") < 600
    resident = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096
    assert 0.5 < metrics("process_resident_memory_bytes") / resident < 2
    assert 0 < metrics("process_cpu_seconds_total") < 60
    before = metrics("martlet_loop_ticks_total", loop="0")
    again = scrape(server)
    assert again("martlet_loop_ticks_total", loop="0") > before
    assert again("martlet_loop_stalls_total", loop="0", seconds="0.1") <= again("martlet_loop_stalls_total", loop="0", seconds="0.01")
    assert again("martlet_http_requests_total", **{"class": "2xx"}) == metrics("martlet_http_requests_total", **{"class": "2xx"}) + 1


def test_numbers_agree_with_what_was_published_and_consumed(server):
    before = scrape(server)
    connection = amqp(server)
    channel = connection.channel()
    channel.queue_declare("depth")
    channel.queue_bind("depth", "amq.topic", "metrics.depth")
    with Connection(server) as client:
        client.connect("metrics-publisher")
        for number in range(100):
            client.publish("metrics/depth", b"0123456789", qos=1, identifier=number + 1)
            client.expect(PUBACK)
        client.publish("metrics/nobody", b"x")
        after = scrape(server)
        change = lambda name, **labels: after(name, **labels) - before(name, **labels)
        assert change("martlet_messages_received_total", protocol="mqtt") == 101
        assert change("martlet_message_received_bytes_total", protocol="mqtt") == 1001
        assert change("martlet_messages_unroutable_total") == 1
        assert after("martlet_queue_messages_ready", protocol="amqp", vhost="/", queue="depth") == 100
        assert change("martlet_messages_ready") == 100
        assert change("martlet_connections_open", protocol="mqtt") == 1 and change("martlet_connections_open", protocol="amqp") == 1
        assert change("martlet_connections_total", protocol="mqtt") == 1 and change("martlet_connections_total", protocol="amqp") == 1
        assert change("martlet_mqtt_sessions_connected") == 1
        assert change("martlet_bindings") == 2  # amq.topic's, and the one of the default exchange
    channel.basic_qos(prefetch_count=40)
    tags = []
    channel.basic_consume("depth", lambda _, method, *rest: tags.append(method.delivery_tag))
    while len(tags) < 40:
        connection.process_data_events(1)
    channel.basic_ack(tags[29], multiple=True)
    while len(tags) < 70:
        connection.process_data_events(1)
    after = scrape(server)
    series = {"protocol": "amqp", "vhost": "/", "queue": "depth"}
    assert (after("martlet_queue_messages_ready", **series), after("martlet_queue_messages_unacknowledged", **series)) == (30, 40)
    assert after("martlet_queue_consumers", **series) == 1 and after("martlet_queue_bytes", **series) >= 70 * 10
    assert after("martlet_messages_sent_total", protocol="amqp") - before("martlet_messages_sent_total", protocol="amqp") == 70
    assert after("martlet_message_sent_bytes_total", protocol="amqp") - before("martlet_message_sent_bytes_total", protocol="amqp") == 700
    assert after("martlet_messages_unacknowledged") - before("martlet_messages_unacknowledged") == 40
    assert after("martlet_amqp_channels") - before("martlet_amqp_channels") == 1 and after("martlet_amqp_consumers") - before("martlet_amqp_consumers") == 1
    channel.queue_delete("depth")
    connection.close()
    assert not scrape(server).has("martlet_queue_messages_ready", queue="depth")


def test_names_are_escaped_and_virtual_hosts_told_apart(server):
    name = 'a"b\\c\nd é {}'
    for vhost in ("/", "second"):
        connection = amqp(server, vhost)
        connection.channel().queue_declare(name)
        connection.close()
    metrics = scrape(server)
    for vhost in ("/", "second"):
        assert metrics("martlet_queue_messages_ready", vhost=vhost, queue=name) == 0
        connection = amqp(server, vhost)
        connection.channel().queue_delete(name)
        connection.close()


def test_drops_refusals_and_violations_have_their_reasons(serve):
    server = serve("--user", "ann:secret", "--allow-anonymous", "--set", "mqtt.queueMessagesMax=10", listen=LISTEN)
    with Connection(server) as sleeper:
        sleeper.connect("sleeper", clean=False)
        sleeper.subscribe("full/#", qos=1)
    with Connection(server) as client:
        client.connect("publisher")
        for number in range(25):
            client.publish("full/a", b"x", qos=1, identifier=number + 1)
            client.expect(PUBACK)
        with Connection(server) as wrong:
            assert wrong.connect("wrong", username="ann", password="no") != 0
        with Connection(server) as broken:
            broken.send(b"\xff\xff\xff\xff\xff")
            broken.seconds_until_closed(within=5)
        with socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=5) as broken:
            broken.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert broken.recv(1000).startswith(b"HTTP/1.1 400 ")
        metrics = scrape(server)
    assert metrics("martlet_messages_dropped_total", reason="queue_full_newest") == 15
    assert metrics("martlet_messages_dropped_total") == 15
    assert metrics("martlet_queue_messages_ready", protocol="mqtt", vhost="/", queue="sleeper") == 10
    assert metrics("martlet_mqtt_sessions") == 2 and metrics("martlet_mqtt_subscriptions") == 1
    assert metrics("martlet_connections_refused_total", protocol="mqtt") == 1
    assert metrics("martlet_violations_total", protocol="mqtt") == 1 and metrics("martlet_violations_total", protocol="http") == 1


def test_only_the_largest_queues_have_series(server):
    connection = amqp(server)
    channel = connection.channel()
    channel.confirm_delivery()
    for number in range(1010):
        channel.queue_declare(f"many.{number:04}", exclusive=True)
    channel.basic_publish("", "many.1009", b"x")
    metrics = scrape(server)
    assert metrics("martlet_queue_series_left_out") == 10
    names = {dict(labels)["queue"] for name, labels in metrics.samples if name == "martlet_queue_messages_ready"}
    assert len(names) == 1000 and "many.1009" in names
    connection.close()
    brokers.wait_until(lambda: scrape(server)("martlet_queue_series_left_out") == 0)


def test_users_are_asked_for_metrics_and_not_for_health(serve):
    server = serve("--user", "ann:sec:ret", listen=LISTEN)
    basic = lambda text: {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}
    assert scrape(server, **basic("ann:sec:ret"))("martlet_uptime_seconds") > 0
    for fields in ({}, basic("ann:sec"), basic("ann:"), basic("eve:sec:ret"), basic("ann"), {"Authorization": "Basic !"}, {"Authorization": "Bearer ann"}):
        status, answered, content = ask(server, "/metrics", **fields)
        assert (status, answered["WWW-Authenticate"]) == (401, 'Basic realm="martlet", charset="UTF-8"')
        assert "martlet_" not in content and json.loads(content)["status"] == 401
    assert ask(server, "/health/live")[0] == ask(server, "/health/ready")[0] == 200


def test_another_machines_address_needs_users():
    done = brokers.martlet("serve", "--listen", "http://0.0.0.0:0")
    assert done.returncode == 64 and "--allow-anonymous" in done.stderr


def test_tls_and_a_unix_socket(serve, certificates, tmp_path):
    query = f"?cert={certificates.path('server')}&key={certificates.key('server')}"
    server = serve(listen=(*[f"{scheme}://127.0.0.1:0{query}" for scheme in ("mqtts", "amqps", "https")], f"http+unix://{tmp_path}/http"))
    context = ssl.create_default_context(cafile=certificates.authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert ask(server, "/health/ready", context=context)[0] == 200
    with pytest.raises(ssl.SSLError):
        ask(server, "/health/ready", context=ssl.create_default_context())
    for scheme in ("mqtts", "amqps"):
        with socket.create_connection(("127.0.0.1", server.ports[scheme]), timeout=10) as plain, pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")
    # The clients stopped in the handshake, the server hears of it a little later.
    failed = lambda protocol: Metrics(ask(server, "/metrics", context=context)[2])("martlet_handshakes_failed_total", protocol=protocol)
    brokers.wait_until(lambda: [failed(protocol) for protocol in ("mqtt", "amqp", "http")] == [1, 1, 1])
    done = brokers.martlet("http", f"http+unix://{tmp_path}/http:/health/live")
    assert (done.returncode, done.stdout) == (0, '{"status":"live"}\n')
    assert server.stop()[0] == 0 and not (tmp_path / "http").exists()


def test_who_asks_while_the_server_stops_is_told(serve):
    server = serve("--grace", "5s", listen=LISTEN)
    with Connection(server, receive_buffer=4096) as stuck, Connection(server) as publisher:
        assert stuck.connect(version=5) == 0 and stuck.subscribe("a") == 0
        assert publisher.connect() == 0
        for _ in range(200):
            publisher.publish("a", b"x" * 16_384)
        assert ask(server, "/health/ready")[0] == 200
        server.process.terminate()
        brokers.wait_until(lambda: ask(server, "/health/ready")[0] == 503)
        assert json.loads(ask(server, "/health/ready")[2]) == {"status": "not ready", "reasons": ["the server is stopping"]}
        assert ask(server, "/health/live")[0] == 200 and scrape(server)("martlet_uptime_seconds") > 0
        with pytest.raises(ConnectionRefusedError):
            Connection(server)
    assert server.process.wait(7) == 0


def test_idle_connections_do_not_hold_the_end_up(serve):
    server = serve(listen=LISTEN)
    idle = [http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=10) for _ in range(20)]
    for client in idle:
        client.request("GET", "/health/live")
        assert client.getresponse().read()
    silent = socket.create_connection(("127.0.0.1", server.ports["http"]), timeout=10)
    server.process.terminate()
    assert silent.recv(10) == b"" and idle[0].sock.recv(10) == b""
    for client in idle:
        client.close()
    silent.close()
    assert server.process.wait(3) == 0


def test_the_journal_counts_what_it_writes(serve, tmp_path):
    server = serve("--data", str(tmp_path / "data"), listen=LISTEN)
    with Connection(server) as keeper:
        keeper.connect("keeper", clean=False)
        keeper.subscribe("kept", qos=1)
    before = scrape(server)
    with Connection(server) as client:
        client.connect("publisher")
        for number in range(50):
            client.publish("kept", b"x" * 1000, qos=1, identifier=number + 1)
            client.expect(PUBACK)
    after = scrape(server)
    change = lambda name: after(name) - before(name)
    assert change("martlet_journal_records_total") >= 50 and change("martlet_journal_written_bytes_total") >= 50_000
    assert 1 <= change("martlet_journal_sync_seconds_count") <= change("martlet_journal_writes_total") + 1
    assert after("martlet_journal_sync_seconds_bucket", le="+Inf") == after("martlet_journal_sync_seconds_count")
    assert 0 < change("martlet_journal_sync_seconds_sum") < 50 and after("martlet_journal_sync_longest_seconds") > 0
    assert after("martlet_journal_full") == 0 and after("martlet_journal_segments_prepared_total") >= 2
    status = json.loads(brokers.martlet("ctl", "status", "--data", str(tmp_path / "data"), "--json").stdout)
    assert status["journalRecords"] == after("martlet_journal_records_total") and status["journalSyncs"] >= after("martlet_journal_sync_seconds_count")
