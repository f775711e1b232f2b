#!/usr/bin/env python3
"""What acknowledged on disk costs: durable queues and persistent sessions, against RabbitMQ's durable classic queues and against mosquitto,
which keeps everything in memory. The same client, in one run, load by load in turn. Prints Markdown.

  Benchmarks/journal.py [--rounds 3] [--secs 3] [--only TEXT] [--json FILE]
  Benchmarks/journal.py --recovery 1000000      how long a start takes with so many messages of 100 bytes in a durable queue

`martlet` has `--data DIR` and `journal.sync: always`, `martlet-memory` `--data none`. Every server runs on the first processor with one
loop, its journal's threads with it, the generator on the second. "CPU" is the server's processor seconds a million messages delivered.
Where a row names no rate, each server is as fast as it can, which is not the same load; a peer that cannot keep a rate has what it can.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import harness
from harness import MARTLET, Peer, Process, free_port, middle, progress, save

AMQP = {
    "AMQP, confirms, window 500": "--durable 1 --persistent 1 --confirm 1 --window 500 --e2e 1000 --ackbatch 50",
    "AMQP, confirms, window 1": "--durable 1 --persistent 1 --confirm 1 --window 1 --ackbatch 1",
    "AMQP, confirms, 5,000/s": "--durable 1 --persistent 1 --confirm 1 --window 500 --ackbatch 50 --rate 5000",
    "AMQP, confirms, 50,000/s": "--durable 1 --persistent 1 --confirm 1 --window 500 --ackbatch 50 --rate 50000",
    "AMQP, ten queues, window 100": "--durable 1 --persistent 1 --confirm 1 --pubs 10 --subs 10 --queues 10 --window 100 --e2e 200 --ackbatch 50",
}
MQTT = {
    "MQTT QoS 1, persistent session, 1x1": "--qos 1 --clean 0 --window 100 --e2e 1000",
    "MQTT QoS 1, persistent sessions, 10x10": "--qos 1 --clean 0 --pubs 10 --subs 10 --window 100 --e2e 200",
    "MQTT QoS 1, persistent session, 5,000/s": "--qos 1 --clean 0 --window 100 --rate 5000",
    "MQTT QoS 1, persistent session, 50,000/s": "--qos 1 --clean 0 --window 500 --rate 50000",
    "MQTT QoS 2, persistent session, 1x1": "--qos 2 --clean 0 --window 100 --e2e 1000",
}


class Durable(Process):
    """Ours, with a data directory that goes with it."""

    def __init__(self, scheme, folder, *more):
        port = free_port()
        self.folder = folder
        words = ["--listen", f"{scheme}://127.0.0.1:{port}", "--data", folder or "none", "--loops", "1", "--log-level", "warning", *more]
        super().__init__("martlet" if folder else "martlet-memory", port, [MARTLET, "serve", *words])

    def stop(self):
        super().stop()
        if self.folder:
            shutil.rmtree(os.path.dirname(self.folder), ignore_errors=True)


def folder():
    return os.path.join(tempfile.mkdtemp(prefix="martlet-bench-", dir=os.environ.get("BENCH_DIR", "/var/tmp")), "data")


def rabbit():
    os.environ["RABBIT_PLUGINS"] = ""
    return Peer("rabbit", free_port(4))


def compare(a, tool, loads, servers):
    print("| load | " + " | ".join(f"{s.name}: k/s, CPU, p50 us of an acknowledgement" for s in servers) + " | rate x peer | CPU x peer | p50 x peer | CPU x memory | lost |")
    print("|---|" + "---|" * (len(servers) + 5))
    for row, options in loads.items():
        if a.only not in row:
            continue
        rounds = [[harness.load(s, tool, ["--secs", str(a.secs), "--warm", "0.5", *options.split()]) for s in servers] for _ in range(a.rounds)]
        progress(row)
        figures = []
        for at in range(len(servers)):
            results = [r[at] for r in rounds]
            figures.append((middle([r["recv_per_s"] for r in results]), middle([r["srv_cpu_s_per_M_recv"] for r in results]),
                            middle([(r.get("ack_us") or {}).get("p50") or 0 for r in results])))
        ours, memory, peer = figures
        lost = sum(abs(result.get(kind) or 0) for r in rounds for result in r for kind in ("lost", "dup", "errors"))
        cells = [f"{rate / 1000:,.1f}, {cpu:.2f}, {p50:,.0f}" for rate, cpu, p50 in figures]
        ratios = [f"{ours[0] / peer[0]:.2f}", f"{ours[1] / peer[1]:.3f}", f"{ours[2] / peer[2]:.2f}" if peer[2] else "-", f"{ours[1] / memory[1]:.2f}"]
        print(f"| {row} | " + " | ".join(cells + ratios) + f" | {lost} |", flush=True)
        save(a.json, row, [s.name for s in servers], rounds)
    for server in servers:
        server.stop()


def recovery(count):
    """Published to a durable queue without a consumer, then SIGKILL and a start: until it listens."""
    place = folder()
    limits = ["--set", "amqp.queueMessagesMax=100000000", "--set", "amqp.queueBytesMax=1000GiB"]
    server = Durable("amqp", place, *limits)
    begin = time.monotonic()
    harness.load(server, "amqpload", f"--pubs 1 --subs 0 --count {count} --secs 0 --size 100 --durable 1 --persistent 1 --confirm 1 --window 5000 --delete 0".split())
    progress(f"published in {time.monotonic() - begin:.1f} s")
    server.process.kill()
    server.process.wait()
    begin = time.monotonic()
    words = ["--listen", f"amqp://127.0.0.1:{server.port}", "--data", place, "--loops", "1", *limits]
    again = subprocess.Popen([MARTLET, "serve", *words], stderr=subprocess.PIPE, text=True)
    for line in again.stderr:
        if "recovered" in line:
            progress(line.strip())
        if line.strip() == "ready":
            break
    taken = time.monotonic() - begin
    with open(f"/proc/{again.pid}/status") as status:
        resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    print(f"{count:,} messages of 100 bytes: ready {taken:.2f} s after the start, {resident / 1024:.0f} MiB resident")
    again.terminate()
    again.wait(20)
    shutil.rmtree(place, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--secs", type=float, default=3)
    p.add_argument("--only", default="")
    p.add_argument("--json")
    p.add_argument("--recovery", type=int)
    a = p.parse_args()
    if a.recovery:
        return recovery(a.recovery)
    if any(a.only in row for row in AMQP):
        compare(a, "amqpload", AMQP, [Durable("amqp", folder()), Durable("amqp", None), rabbit()])
    if any(a.only in row for row in MQTT):
        print()
        compare(a, "mqttload", MQTT, [Durable("mqtt", folder()), Durable("mqtt", None), Peer("mosquitto", free_port(2))])


if __name__ == "__main__":
    sys.exit(main())
