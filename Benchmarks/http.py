#!/usr/bin/env python3
"""A small HTTP service against nginx and uvicorn: the same client (wrk), in one run, load by load in turn. Prints Markdown.

  Benchmarks/http.py [--rounds 5] [--secs 3] [--only TEXT] [--uvicorn] [--json FILE]

Ours is `example-items`, one loop, a handler for each request; nginx answers the same bytes from its configuration (`return 200`), one
worker. Servers run on the first processor, wrk with one thread on the second. The figures are medians of the rounds: thousands of requests
a second, "CPU", which is the server's processor seconds a million requests from /proc/PID/stat, and the 99th percentile of the latency.
"""
import argparse
import json
import os
import subprocess
import sys

import harness
from harness import BIN, LOAD, Peer, Process, free_port, middle, progress, save

ITEMS = os.environ.get("ITEMS_BIN", os.path.join(harness.ROOT, ".build/release/example-items"))

# Row: wrk's connections, requests at once on each.
ROWS = {"50 connections": (50, 1), "256 connections": (256, 1), "50 connections, 16 pipelined": (50, 16)}


def items():
    port = free_port()
    return Process("martlet", port, [ITEMS, "--host", "127.0.0.1", "--port", str(port)])


def load(server, secs, connections, depth):
    command = [os.path.join(BIN, "cpuof"), str(server.pid), "wrk", "-t", "1", "-c", str(connections), "-d", f"{secs}s"]
    command += ["-s", os.path.join(LOAD, "wrk.lua"), f"http://127.0.0.1:{server.port}/items/5"]
    done = subprocess.run(harness.on_processor(1) + command, capture_output=True, text=True, timeout=120, env={**os.environ, "PIPELINE": str(depth)})
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(results) != 2:
        sys.exit(f"{server.name}: {done.stderr.strip() or 'no result'}")
    result = {**results[0], **results[1]}
    result["srv_cpu_s_per_M_recv"] = result["srv_cpu_s"] / max(1, result["requests"]) * 1e6
    return result


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--secs", type=int, default=3)
    p.add_argument("--only", default="", help="rows whose name has this in it")
    p.add_argument("--uvicorn", action="store_true", help="with uvicorn and FastAPI, from PyPI into .venv/bench")
    p.add_argument("--json", help="append every result of a round to this file")
    a = p.parse_args()
    harness.build("cpuof")
    if a.uvicorn:
        harness.install("bin/uvicorn", "uvicorn[standard]", "fastapi")
    servers = [items(), Peer("nginx", free_port())] + ([Peer("uvicorn", free_port())] if a.uvicorn else [])
    names = [server.name for server in servers]
    print("| GET /items/5 | " + " | ".join(f"{name}: k/s, CPU, p99 us" for name in names) + " | " + " | ".join(f"CPU x {name}" for name in names[1:]) + " | errors |")
    print("|---|" + "---|" * (2 * len(names)))
    for row, (connections, depth) in ROWS.items():
        if a.only not in row:
            continue
        rounds = [[load(server, a.secs, connections, depth) for server in servers] for _ in range(a.rounds)]
        progress(row)
        cpu, rate, p99 = ([middle([figure(r[i]) for r in rounds]) for i in range(len(names))] for figure in (
            lambda r: r["srv_cpu_s_per_M_recv"], lambda r: r["recv_per_s"], lambda r: r["lat_us"]["p99"]))
        cells = [f"{rate[i] / 1000:,.0f}, {cpu[i]:.2f}, {p99[i]:,.0f}" for i in range(len(names))] + [f"{cpu[0] / under:.3f}" for under in cpu[1:]]
        print(f"| {row} | " + " | ".join(cells) + f" | {sum(r['errors'] for results in rounds for r in results)} |", flush=True)
        save(a.json, row, names, rounds)
    for server in servers:
        server.stop()


if __name__ == "__main__":
    main()
