#!/usr/bin/env python3
"""What a confirm is worth: messages are published with confirms, the server is killed (SIGKILL) and started again, and what is left is counted. Prints Markdown.

  Benchmarks/durability.py [--rows TEXT] [--count 10000] [--json FILE]

Each row is `load/durability.py` for one server: killed at once after the last of 10,000 confirms, killed after 5,000 while publishing goes on, and how often it
called fsync, fdatasync, sync_file_range or msync for 5,000 messages with 100 unconfirmed at a time, and for 300 one at a time. What a kill leaves may still be the
page cache's: a server that hardly syncs loses it with the power. Ours is tested on a disk that does that in Tests/Crash.
"""
import argparse
import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import harness
from harness import BIN, LOAD, MARTLET, ROOT, free_port, progress

ROWS = {
    "martlet, MQTT QoS 1": ("mqtt1", "martlet"),
    "martlet, MQTT QoS 2": ("mqtt2", "martlet"),
    "martlet, AMQP durable": ("classic", "martlet"),
    "mosquitto, `persistence true`, QoS 1": ("mqtt1", "mosquitto-persist"),
    "rabbitmq-server, classic durable": ("classic", "rabbit"),
}


def serve(port, fresh, folder):
    """Starts ours (AMQP on the port, MQTT on the next) and prints its process."""
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    listen = ["--listen", f"amqp://127.0.0.1:{port}", "--listen", f"mqtt://127.0.0.1:{port + 1}"]
    words = [MARTLET, "serve", *listen, "--data", folder, "--loops", "1", "--log-level", "warning", "--set", "mqtt.queueMessagesMax=1000000"]
    with open(f"{folder}.log", "a") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    with open(os.path.join(os.path.dirname(folder), "pid"), "w") as file:
        file.write(str(process.pid))
    for one in (port, port + 1):
        harness.wait_for(one)
    print(process.pid)


def row(case, peer, a, folder):
    """The three results."""
    port = free_port(4)
    words = [sys.executable, os.path.join(LOAD, "durability.py"), case, peer, "--port", str(port), "--count", str(a.count)]
    if peer == "martlet":
        words += ["--start", f"{sys.executable} {os.path.abspath(__file__)} --serve {port} --folder {folder}/data {{fresh}}", "--settle", "1"]
        words += ["--proto-port", str(port + 1)] if case.startswith("mqtt") else []
    env = {**os.environ, "PEER_PY": os.path.join(ROOT, ".venv/bench/bin"), "LOAD_BIN": BIN, "PEER_DIR": os.path.join(folder, "peers")}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=400)
    finally:
        stop_rest(process.pid, folder)
    results = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    if process.returncode or len(results) != 4:
        sys.exit(f"{case} {peer}: no result\n{output}")
    return results


def stop_rest(group, folder):
    """What a run that failed has left: mosquitto in its group, a RabbitMQ node and its name server by the files they leave."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for file in glob.glob(os.path.join(folder, "peers/*/epmd.for.*")):
        subprocess.run([harness.PEER, "stop", file.rpartition(".")[2]], env={**os.environ, "PEER_DIR": os.path.join(folder, "peers")})
    for file in glob.glob(os.path.join(folder, "pid")):
        with open(file) as pid, contextlib.suppress(ProcessLookupError):
            os.kill(int(pid.read()), signal.SIGKILL)


def calls(result):
    return f"{sum(result['calls'].values()):,}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="those with this in their names")
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--json")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("fresh", nargs="?", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.serve:
        return serve(a.serve, a.fresh, a.folder)
    harness.build("mqttload", "amqpload")
    os.environ["RABBIT_PLUGINS"] = ""
    begin = time.monotonic()
    print("| server | confirmed, then killed: left, lost | killed while publishing: confirmed, lost | syncs for 5,000 at window 100 | for 300 at window 1 |")
    print("|---|---|---|---|---|")
    for name, (case, peer) in ROWS.items():
        if a.rows not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            last, middle, many, one = results = row(case, peer, a, folder)
        shown = [f"{last['confirmed']:,}: {last['left']:,}, {last['confirmed_lost']:,}", f"{middle['confirmed']:,}, {middle['confirmed_lost']:,}", calls(many), calls(one)]
        print(f"| {name} | {' | '.join(shown)} |", flush=True)
        progress(f"{time.monotonic() - begin:.0f} s: {name}; {[result.get('note') for result in results]}")
        harness.save(a.json, name, [peer] * 4, [results])


main()
