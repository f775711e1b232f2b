"""The crash harness (crash.py) with few kills; MARTLET_CRASH_KILLS asks for more. A run that fails prints its seed."""

import os
import random

import pytest

import conftest
import crash
import servers

KILLS = int(os.environ.get("MARTLET_CRASH_KILLS", "6"))
martlet_alone = pytest.mark.skipif(conftest.REFERENCE is not None, reason="about martlet alone")


def run(server, kinds, kills=KILLS, seconds=0.4):
    seed = int(os.environ.get("MARTLET_CRASH_SEED", random.SystemRandom().getrandbits(32)))
    print(f"seed {seed}")
    return crash.run(server, kinds.split(","), kills, seconds, seed, progress=print)


@martlet_alone
@pytest.mark.parametrize("kinds", ["mqtt1", "mqtt2", "amqp,tx", "mqtt1,mqtt2,amqp,tx,bridge"])
@pytest.mark.parametrize("disk", ["kill", "power"])
def test_what_was_acknowledged_is_there_after_every_kill(tmp_path, library, kinds, disk):
    loops = (2,) if disk == "kill" else (1, 2, 4)
    server = servers.Martlet(tmp_path, *crash.UNLIMITED, loops=loops, library=library if disk == "power" else None)
    promises = run(server, kinds)
    assert not promises.broken, f"{promises.report()}\n{server.said()}"
    assert all(reading.count > 0 for reading in promises.readings), promises.report()


def test_the_harness_finds_what_mosquitto_loses(tmp_path):
    """It saves after every thousand changes, so a kill may meet nothing that it has not saved: each run is a server of its own."""
    reports = []
    while len(reports) < 5:
        folder = tmp_path / str(len(reports))
        folder.mkdir()
        promises = run(servers.Mosquitto(folder), "mqtt1", kills=2, seconds=1)
        if promises.broken.get("acknowledged and lost") or promises.broken.get("a session is lost"):
            return
        reports.append(promises.report())
    pytest.fail("nothing was lost in five runs:\n" + "\n".join(reports))


@pytest.mark.skipif(conftest.REFERENCE != "rabbitmq", reason="takes minutes; MARTLET_CRASH_SERVER=rabbitmq")
def test_the_harness_finds_nothing_in_rabbitmq(tmp_path):
    promises = run(servers.RabbitMQ(tmp_path), "amqp,tx", kills=3, seconds=6)
    assert not promises.broken, promises.report()
