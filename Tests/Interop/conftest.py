import fcntl
import itertools
import os
import shutil
import tempfile

import pytest

import amqp_brokers
import brokers
from amqp_pika import Client

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items):
    if not brokers.AGAINST_MOSQUITTO:
        return
    for item in items:
        if "broker" not in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason="about martlet alone"))


@pytest.fixture(scope="module", params=["mosquitto"] if brokers.AGAINST_MOSQUITTO else [*brokers.LOOPS, "disk"], ids=lambda p: p if isinstance(p, str) else f"loops{p}")
def broker(request, tmp_path_factory):
    """A server for the tests of one file, for each number of loops. It must survive them and leave cleanly."""
    folder = tmp_path_factory.mktemp(str(request.param))
    if request.param == "mosquitto":
        running = brokers.Mosquitto(folder)
    elif request.param == "disk":
        running = brokers.Martlet("--data", str(folder / "data"), loops=2)
    else:
        running = brokers.Martlet(loops=request.param)
    yield running
    survived = running.is_running()
    code, _ = running.stop()
    assert survived, "the server ended under the tests; stderr:\n" + "\n".join(running.lines[-20:])
    assert code == 0, "SIGTERM must end with 0; stderr:\n" + "\n".join(running.lines[-20:])
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """The reference, one node for all processes of this run."""
    folder = tmp_path_factory.getbasetemp()
    with amqp_brokers.shared_rabbitmq(folder.parent if os.environ.get("PYTEST_XDIST_WORKER") else folder) as running:
        yield running


@pytest.fixture(scope="module", params=["martlet", "disk", "rabbitmq"])
def amqp_broker(request, tmp_path_factory):
    """A server for the AMQP tests of one file: ours, and the reference. It must survive them, and ours leave cleanly."""
    if request.param == "rabbitmq":
        running = request.getfixturevalue("rabbitmq")
        yield running
        assert running.is_running(), "the node ended under the tests"
        return
    disk = tmp_path_factory.mktemp("disk")
    words = ["--data", str(disk / "data")] if request.param == "disk" else []
    running = amqp_brokers.Martlet("--set", f"vhosts={amqp_brokers.VHOST}", *words, loops=brokers.LOOPS[-1] if words else brokers.LOOPS[0])
    yield running
    survived = running.is_running()
    code, _ = running.stop()
    assert survived, "the server ended under the tests; stderr:\n" + "\n".join(running.lines[-20:])
    assert code == 0, "SIGTERM must end with 0; stderr:\n" + "\n".join(running.lines[-20:])
    shutil.rmtree(disk)


@pytest.fixture
def amqp(amqp_broker):
    """pika's connections to the server, closed with the test."""
    client = Client(amqp_broker)
    yield client
    client.close()


@pytest.fixture
def serve():
    """Starts servers with options of their own; what the test leaves running is stopped and must end with 0."""
    started = []

    def start(*words, **more):
        started.append(brokers.Martlet(*words, **more))
        return started[-1]

    yield start
    for running in started:
        assert running.stop()[0] == 0, "\n".join(running.lines[-20:])


@pytest.fixture
def topic(request):
    """A topic of this test alone: tests of one file share a server."""
    return f"test{next(_numbers)}"


@pytest.fixture
def course_port():
    """The course's port, which one test at a time may have."""
    with open(os.path.join(tempfile.gettempdir(), f"martlet-course-port-{os.getuid()}"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield 65432


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """PEM files: an authority, and identities by it for localhost and 127.0.0.1, for another host, one that is out of date, and a client's."""
    return brokers.Certificates(tmp_path_factory.mktemp("certificates"))
