"""The Swift client, `AMQPConnection`: one program's scenarios (Tests/Interop/AMQPClient), each against both servers, and through cut connections."""

import contextlib
import os
import re
import socket
import ssl
import threading
import time
import uuid
from pathlib import Path

import pytest

import amqp_brokers
import brokers
import programs


def program(*words):
    return programs.Program(brokers.binary().rsplit("/", 1)[0] + "/interop-amqp-client", *words)


def url(server, path="", user=""):
    return f"amqp://{user}{server.host}:{server.port}{path}"


def run(*words, seconds=60):
    """Runs a scenario to its end, and answers what it printed."""
    running = program(*words)
    code = running.wait(seconds)
    assert code == 0, running.errors.decode()
    return bytes(running.output).decode()


def wait_until(holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def forwarder(amqp_broker):
    forwarder = amqp_brokers.Forwarder(amqp_broker)
    yield forwarder
    forwarder.close()


@pytest.mark.parametrize("scenario", ["hello", "topology", "publishing", "consuming", "exceptions"])
def test_scenario(amqp_broker, scenario):
    run(scenario, url(amqp_broker))


def test_a_virtual_host_is_percent_decoded_and_one_that_is_not_there_is_refused(amqp_broker):
    run("hello", url(amqp_broker, "/%2F"))
    run("hello", url(amqp_broker, f"/{amqp_brokers.VHOST}"))
    assert re.search(r"refused 530 NOT_ALLOWED - vhost none/such not found", run("refused", url(amqp_broker, "/none%2Fsuch")))


def test_a_wrong_password_is_refused_at_once(rabbitmq):
    assert "refused 403 ACCESS_REFUSED - Login was refused" in run("refused", url(rabbitmq, user="guest:wrong@"))


def test_heartbeats_go_on_while_the_handler_keeps_its_thread(amqp_broker):
    run("busy", url(amqp_broker, "/?heartbeat=1"), 5)


def test_what_the_server_named_is_there_again_after_a_loss(amqp_broker, forwarder):
    running = program("recovery", url(forwarder))
    running.prints("ready")
    forwarder.cut()
    assert running.wait(30) == 0, running.errors.decode()


def test_500_queues_with_ten_bindings_each_are_there_again_after_a_loss(amqp_broker, forwarder):
    running = program("many", url(forwarder), 500, 10)
    running.prints("ready", 60)
    forwarder.cut()
    running.prints("deleted", 60)
    assert running.wait(30) == 0, running.errors.decode()


def test_10000_confirmed_publishes_through_five_cuts(amqp_broker, forwarder):
    """None is lost, and the consumer goes on."""
    running = program("storm", url(forwarder), 10_000, f"storm-{uuid.uuid4()}")
    for cuts, number in enumerate((500, 2_000, 4_000, 6_000, 8_000)):
        running.prints(rf"published {number}\n", 60)
        wait_until(lambda: forwarder.accepted >= 2 + 2 * cuts)
        forwarder.cut()
    running.prints("consumed 10000", 60)
    assert running.wait(30) == 0, running.errors.decode()
    losses = int(re.search(rb"over (\d+) losses", running.output)[1])
    assert losses >= 5, running.output
    assert forwarder.accepted >= 12, "two connections, and five more of each"


def test_connections_that_are_closed_leave_nothing_behind(amqp_broker):
    """In memory, and of descriptors."""
    running = program("cycles", url(amqp_broker), 600)
    seen = []
    for number in (300, 600):
        running.prints(rf"made {number}\n", 60)
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        seen.append((int(re.search(r"VmRSS:\s+(\d+)", status)[1]), len(os.listdir(f"/proc/{running.process.pid}/fd"))))
    assert running.wait(30) == 0, running.errors.decode()
    (early, _), (late, descriptors) = seen
    assert late - early < 1_500, f"{early} KiB after 300, {late} KiB after 600"
    assert descriptors < 20, descriptors


def test_a_server_that_is_killed_has_what_it_confirmed(tmp_path):
    node = amqp_brokers.RabbitMQ(tmp_path / "node")
    try:
        running = program("storm", url(node), 5_000, "storm")
        running.prints(r"published 2000\n", 60)
        node.stop()
        node = amqp_brokers.RabbitMQ(tmp_path / "node", port=node.port)
        running.prints("consumed 5000", 90)
        assert running.wait(30) == 0, running.errors.decode()
    finally:
        node.stop()


def test_a_server_short_of_disk_holds_publishers_and_the_next_one_takes_them(tmp_path):
    node = amqp_brokers.RabbitMQ(tmp_path / "node", "disk_free_limit.absolute = 1000000GB")
    try:
        running = program("blocked", url(node))
        running.prints("blocked low on disk", 30)
        assert b"published" not in running.output
        node.stop()
        node = amqp_brokers.RabbitMQ(tmp_path / "node", port=node.port)
        running.prints("published", 60)
        assert running.wait(30) == 0, running.errors.decode()
    finally:
        node.stop()


class TLSFront:
    """A port that speaks TLS before a server that does not."""

    def __init__(self, server, certificates):
        self.server = server
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(certificates.path("server"), certificates.key("server"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                with contextlib.suppress(ssl.SSLError):
                    near = self.context.wrap_socket(near, server_side=True)
                    far = socket.create_connection((self.server.host, self.server.port))
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=amqp_brokers.Forwarder._copy, args=(source, target), daemon=True).start()


def test_tls_checks_the_certificate(amqp_broker, certificates, monkeypatch):
    front = TLSFront(amqp_broker, certificates)
    try:
        secure = f"amqps://localhost:{front.port}"
        stranger = program("hello", secure)
        assert stranger.wait() == 1, stranger.errors.decode()
        assert "certificate" in stranger.errors.decode()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        run("hello", secure)
    finally:
        front.listener.close()
