"""What `/health/ready` and `/metrics` say of a server that starts slowly, and of one whose disk is full."""

import http.client
import json
import re
import time

import brokers
from raw import PUBACK, Connection

PROTOCOLS = ("mqtt", "http")


class Place:
    host = "127.0.0.1"

    def __init__(self, server):
        self.port = server.ports["mqtt"]


def ask(server, path):
    """(status, content); nothing while nobody listens."""
    client = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=10)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode()
    except ConnectionRefusedError:
        return None, None
    finally:
        client.close()


def test_a_server_that_starts_is_alive_and_not_ready(own, library):
    # Each of the syncs that the start takes lasts.
    server = own(library=library, delay=300_000, protocols=PROTOCOLS)
    server.launch()
    deadline, seen = time.monotonic() + 30, []
    while not seen or seen[-1][0] != 200:
        assert time.monotonic() < deadline and server.is_running(), server.said()
        status, content = ask(server, "/health/ready")
        if status == 503:
            assert ask(server, "/health/live")[0] == 200
        if status:
            seen.append((status, content))
    assert seen[0][0] == 503
    assert json.loads(seen[0][1]) == {"status": "not ready", "reasons": ["the server is starting: it reads its journal"]}
    with Connection(Place(server)) as client:
        assert client.connect("early") == 0
    assert server.terminate() == 0, server.said()


def test_a_full_disk_makes_the_server_unready_until_there_is_room(own, library):
    server = own("--set", "journal.segmentBytes=4MiB", loops=(1,), library=library, protocols=PROTOCOLS)
    server.start()
    full = lambda: re.search(r"^martlet_journal_full (\d)$", ask(server, "/metrics")[1], re.MULTILINE)[1] == "1"
    with Connection(Place(server)) as keeper:
        assert keeper.connect("keeper", clean=False) == 0
        keeper.subscribe("kept", qos=1)
    assert ask(server, "/health/ready")[0] == 200 and not full()
    server.disk.fill()
    with Connection(Place(server)) as client:
        assert client.connect("publisher", version=5) == 0
        reason, count = 0, 0
        while reason == 0:
            count += 1
            assert count < 1000, "16 times what two segments hold"
            client.publish("kept", b"x" * 65_536, qos=1, identifier=count)
            _, _, body = client.expect(PUBACK)
            reason = body[2] if len(body) > 2 else 0
        assert reason == 0x97
        status, content = ask(server, "/health/ready")
        assert status == 503 and "disk is full" in json.loads(content)["reasons"][0]
        assert full() and ask(server, "/health/live")[0] == 200
        server.disk.empty()
        brokers.wait_until(lambda: ask(server, "/health/ready")[0] == 200)
        assert not full()
        client.publish("kept", b"again", qos=1, identifier=1)
        assert client.expect(PUBACK)[2][2:3] in (b"", b"\0")
    assert server.terminate() == 0, server.said()
