"""A server that is ended and started again by each test, in three ways. MARTLET_CRASH_SERVER=rabbitmq or mosquitto runs the tests of its protocol against it."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "Interop"))

import amqp_pika  # noqa: E402
import servers  # noqa: E402
import shim  # noqa: E402

REFERENCE = os.environ.get("MARTLET_CRASH_SERVER")
WAYS = {None: ["term", "kill", "power"], "rabbitmq": ["term"], "mosquitto": ["term"]}[REFERENCE]


def pytest_configure():
    """Whoever bounds a run by `timeout` leaves no server behind."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("SIGTERM"))


class Place:
    """Where one protocol of a server is spoken, as the clients want it."""

    def __init__(self, server, protocol):
        self.host, self.port, self.name = server.host, server.ports.get(protocol), server.name


class Restarted:
    """A server and how it ends: by SIGTERM (term), by SIGKILL (kill), or by SIGKILL on a disk that loses what was not synced (power)."""

    def __init__(self, server, way):
        self.server, self.way = server, way
        self.mqtt, self.amqp = Place(server, "mqtt"), Place(server, "amqp")
        server.start()

    def stop(self, settled=0.1):
        """What nobody waits for, an acknowledgement by a consumer or a declaration, has `settled` seconds to reach the disk."""
        time.sleep(settled)
        if self.way == "term":
            assert self.server.terminate() == 0, self.server.said()
        else:
            self.server.kill()

    def start(self, loops=None):
        if loops:
            self.server.loops = [loops]
        return self.server.start()

    def again(self, loops=None):
        self.stop()
        return self.start(loops)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """lost_writes.so."""
    return shim.build(tmp_path_factory.mktemp("library"))


@pytest.fixture(params=WAYS)
def server(request, tmp_path, library):
    protocol = {"rabbitmq": "amqp", "mosquitto": "mqtt"}.get(REFERENCE)
    if protocol and protocol not in request.module.__name__:
        pytest.skip(f"not about {REFERENCE}")
    if REFERENCE:
        server = {"rabbitmq": servers.RabbitMQ, "mosquitto": servers.Mosquitto}[REFERENCE](tmp_path)
    else:
        server = servers.Martlet(tmp_path, library=library if request.param == "power" else None)
    try:
        yield Restarted(server, request.param)
        assert server.is_running(), f"the server ended under the test:\n{server.said()}"
    finally:
        server.close()


@pytest.fixture
def amqp(server):
    """pika's connections to the server, closed with the test."""
    client = amqp_pika.Client(server.amqp)
    yield client
    client.close()


@pytest.fixture
def own(tmp_path):
    """Starts servers in a folder of the test's own."""
    started = []

    def make(*more, **settings):
        started.append(servers.Martlet(tmp_path, *more, **settings))
        return started[-1]

    yield make
    for server in started:
        server.close()
