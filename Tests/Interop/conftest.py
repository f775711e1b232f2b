import fcntl
import itertools
import os
import tempfile

import pytest

import brokers

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items):
    if not brokers.AGAINST_MOSQUITTO:
        return
    for item in items:
        if "broker" not in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason="about martlet alone"))


@pytest.fixture(scope="module", params=["mosquitto"] if brokers.AGAINST_MOSQUITTO else [*brokers.LOOPS, "late"], ids=lambda p: p if isinstance(p, str) else f"loops{p}")
def broker(request, tmp_path_factory):
    """A server for the tests of one file, for each number of loops. It must survive them and leave cleanly."""
    if request.param == "mosquitto":
        running = brokers.Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    elif request.param == "late":  # a journal that answers late, and several messages at a time
        running = brokers.Martlet("--set", "journal.memoryLatency=3ms", loops=2)
    else:
        running = brokers.Martlet(loops=request.param)
    yield running
    survived = running.is_running()
    code, _ = running.stop()
    assert survived, "the server ended under the tests; stderr:\n" + "\n".join(running.lines[-20:])
    assert code == 0, "SIGTERM must end with 0; stderr:\n" + "\n".join(running.lines[-20:])


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
