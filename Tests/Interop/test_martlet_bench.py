"""`martlet bench mqtt` against martlet and against Debian's mosquitto: that it counts what there is."""

import json

import pytest

import brokers
from brokers import martlet


@pytest.fixture(scope="module", params=["martlet", "mosquitto"])
def server(request, tmp_path_factory):
    running = (
        brokers.Martlet(loops=1) if request.param == "martlet" else brokers.Mosquitto(tmp_path_factory.mktemp("mosquitto"), "max_queued_messages 0"))
    yield running
    assert running.stop()[0] == 0


def bench(server, *words):
    done = martlet("bench", "mqtt", f"mqtt://{server.host}:{server.port}", "--json", *words, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("qos", ["0", "1"])
@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("publishers,subscribers,copies", [(1, 1, 1), (4, 4, 1), (5, 1, 1), (1, 5, 5)])
def test_every_message_is_counted(server, qos, version, publishers, subscribers, copies):
    result = bench(server, "--count", "2000", "-q", qos, "-V", version, "--publishers", str(publishers), "--subscribers", str(subscribers))
    assert (result["sent"], result["received"], result["errors"]) == (2000, 2000 * copies, 0)
    assert result["acknowledged"] <= (2000 if qos == "1" else 0)
    assert 0 < result["p50_us"] <= result["p99_us"] <= result["p999_us"] <= result["max_us"]
    assert result["sent_per_s"] > 0 and result["recv_per_s"] > 0


def test_a_rate_is_kept(server):
    result = bench(server, "--rate", "500", "--publishers", "2", "--subscribers", "2", "--duration", "2", "--warm-up", "0.3")
    assert 400 < result["sent_per_s"] < 600 and 400 < result["recv_per_s"] < 600


def test_acknowledgements_are_measured_without_subscribers(server):
    result = bench(server, "--subscribers", "0", "-q", "1", "--count", "1000")
    assert result["acknowledged"] == 1000 and result["p50_us"] > 0


def test_the_table_is_for_people(server):
    done = martlet("bench", "mqtt", f"mqtt://{server.host}:{server.port}", "--count", "1000", timeout=30)
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["load", "sent", "received", "latency", "errors"]


def test_a_server_that_is_not_there_is_69():
    done = martlet("bench", "mqtt", f"mqtt://127.0.0.1:{brokers.free_port()}")
    assert done.returncode == 69 and len(done.stderr.splitlines()) == 1


def test_a_server_that_refuses_is_said_so(serve):
    server = serve("--user", "alice:secret")
    done = martlet("bench", "mqtt", f"mqtt://{server.host}:{server.port}", "--count", "10")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert martlet("bench", "mqtt", f"mqtt://alice:secret@{server.host}:{server.port}", "--count", "10").returncode == 0
