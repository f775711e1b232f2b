"""paho-mqtt 1.x and 2.x, each in its own virtual environment (`make interop` makes them)."""

import json
import subprocess
from pathlib import Path

import pytest

import brokers

PEER = Path(__file__).parent / "peers/paho_peer.py"


@pytest.mark.parametrize("library", ["paho1", "paho2"])
@pytest.mark.parametrize("version", ["311", "5"])
@pytest.mark.parametrize("qos", [0, 1])
def test_paho(broker, topic, library, version, qos):
    python = brokers.ROOT / f".venv/{library}/bin/python"
    done = subprocess.run(
        [python, PEER, broker.host, str(broker.port), version, str(qos), topic], capture_output=True, text=True, timeout=90, env=brokers.environment()
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["library"].startswith(library.removeprefix("paho") + ".")
    assert seen["connected"] == 1 and seen["disconnected_before_leaving"] == 0
    expected = [[f"{topic}/{number}", qos, len(f"message {number}"), f"message {number}"] for number in range(100)]
    expected += [[f"{topic}/large", qos, 65_536, "y" * 20], [f"{topic}/gone/deep", qos, 1, "1"], [f"{topic}/end", qos, 3, "end"]]
    assert seen["messages"] == expected
