"""MQTT over WebSocket, at `/mqtt` of an HTTP listener: paho-mqtt 1 and 2, over TLS too, and what a hand-made client sees."""

import json
import subprocess
from pathlib import Path

import pytest

import brokers

PEER = Path(__file__).parent / "peers/paho_peer.py"


@pytest.fixture(scope="module", params=brokers.LOOPS, ids=lambda n: f"loops{n}")
def server(request, certificates):
    listen = ("mqtt://127.0.0.1:0", "http://127.0.0.1:0", f"https://127.0.0.1:0?cert={certificates.path('server')}&key={certificates.key('server')}")
    running = brokers.Martlet(listen=listen, loops=request.param)
    yield running
    survived = running.is_running()
    assert running.stop()[0] == 0 and survived, "\n".join(running.lines[-20:])


@pytest.mark.parametrize("library", ["paho1", "paho2"])
@pytest.mark.parametrize("version,qos,scheme", [("311", 0, "http"), ("5", 1, "http"), ("311", 1, "https"), ("5", 0, "https")])
def test_paho(server, certificates, topic, library, version, qos, scheme):
    python = brokers.ROOT / f".venv/{library}/bin/python"
    words = ["websockets"] + ([certificates.authority] if scheme == "https" else [])
    done = subprocess.run(
        [python, PEER, server.host, str(server.ports[scheme]), version, str(qos), topic, *words],
        capture_output=True, text=True, timeout=90, env=brokers.environment())  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["connected"] == 1 and seen["disconnected_before_leaving"] == 0
    expected = [[f"{topic}/{number}", qos, len(f"message {number}"), f"message {number}"] for number in range(100)]
    expected += [[f"{topic}/large", qos, 65_536, "y" * 20], [f"{topic}/gone/deep", qos, 1, "1"], [f"{topic}/end", qos, 3, "end"]]
    assert seen["messages"] == expected
