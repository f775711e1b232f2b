"""Clients that are slow on purpose (slowhttptest): all four attacks at once, while others are served."""

import http.client
import os
import re
import shutil
import statistics
import subprocess
import time

import pytest

import brokers
from http_server import Server

ATTACKERS = 200
SECONDS = 12
ATTACKS = {
    # Fields that never end: 408 after 10 s. An attack ends when it has no connection left.
    "slow head": ["-H", "-l", "30", "-i", "2", "-t", "GET", "-u", "/hello"],
    # Content of a few bytes a second: 408 after 5 s, below the rate.
    "slow body": ["-B", "-l", "30", "-i", "2", "-s", "8192", "-t", "POST", "-u", "/count"],
    # Answers that are taken four bytes at a time.
    "slow read": ["-X", "-w", "10", "-y", "20", "-n", "1", "-z", "4", "-k", "5", "-u", "/long"],
    # Thousands of parts of one file.
    "range": ["-R", "-a", "10", "-b", "3000", "-t", "HEAD", "-u", "/files/numbers.bin"],
}


@pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="slowhttptest is not installed")
def test_others_are_served(tmp_path):
    (tmp_path / "numbers.bin").write_bytes(bytes(1 << 20))
    with Server("http://127.0.0.1:0", "--files", tmp_path) as server:
        process = server.program.process

        def served():
            """Whether one who comes now is served, and how long it took."""
            start, connection = time.monotonic(), http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
            connection.request("GET", "/hello")
            assert connection.getresponse().read() == b"GET /hello"
            connection.close()
            return time.monotonic() - start

        def memory():
            with open(f"/proc/{process.pid}/status") as file:
                return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))

        def descriptors():
            return len(os.listdir(f"/proc/{process.pid}/fd"))

        served()
        before, most, times, open_before, deadline = memory(), 0, [], descriptors(), time.monotonic() + 3 * SECONDS
        attackers = {
            name: subprocess.Popen(
                ["slowhttptest", "-c", str(ATTACKERS), "-r", str(ATTACKERS), "-l", str(SECONDS), "-p", "5", *words[:-1], server.url + words[-1]],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for name, words in ATTACKS.items()
        }
        try:
            while any(attacker.poll() is None for attacker in attackers.values()):
                times.append(served())
                most = max(most, memory())
                assert time.monotonic() < deadline
                time.sleep(0.05)
            said = {name: re.sub(r"\x1b\[[0-9;]*m", "", attacker.communicate(timeout=20)[0]) for name, attacker in attackers.items()}
        finally:
            for attacker in attackers.values():
                if attacker.poll() is None:
                    attacker.kill()
                attacker.wait(10)
        assert len(times) > 20 and statistics.median(times) < 0.1, times
        # 256 KiB wait for each of those who do not take them, and no more.
        assert most - before < ATTACKERS * 512 + 8192, f"{most - before} KiB more"
        for name, text in said.items():
            assert "service available:   YES" in text and "service available:   NO" not in text, (name, text[-2000:])
        for name in ["slow head", "slow body"]:
            assert "Exit status: No open connections left" in said[name], said[name][-2000:]
        answers = server.program.errors.decode()
        assert answers.count("GET /hello 200 ") >= len(times) and answers.count("HEAD /files/numbers.bin ") >= ATTACKERS
        # What is over is given back.
        brokers.wait_until(lambda: descriptors() <= open_before + 16)
