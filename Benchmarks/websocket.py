#!/usr/bin/env python3
"""WebSocket servers: the same client, in one run, load by load in turn. Prints Markdown.

  Benchmarks/websocket.py [--rounds 3] [--secs 3] [--only TEXT] [--servers callbacks,handlers,socketify,websockets] [--json FILE]
  Benchmarks/websocket.py --memory              5,000 idle connections

`callbacks` and `handlers` are ours (bench-websocket): without tasks, and with a task for each connection; `socketify` is uWebSockets under Python, `websockets` Python's
own library, both from PyPI into .venv/bench. Nobody deflates. Every server runs on the first processor, the generator on the second. The figures are medians
of the rounds; "CPU" is the server's processor seconds a million messages (of a broadcast: deliveries), from /proc/PID/stat.
"""
import argparse
import os

import harness
from harness import Peer, Process, free_port, middle, progress, save

SERVER = os.environ.get("WEBSOCKET_BIN", os.path.join(harness.ROOT, ".build/release/bench-websocket"))
OURS = ("callbacks", "handlers")

LOADS = {
    "echo, 50 connections": "--path /ws --conns 50",
    "echo, 50 connections, 16 in flight": "--path /ws --conns 50 --depth 16",
    "echo, 50 connections, 16 in flight, text": "--path /ws --conns 50 --depth 16 --text 1",
    "echo, 10 connections, 4 in flight, 16 KiB": "--path /ws --conns 10 --depth 4 --size 16384",
    "echo, 1,000 connections": "--path /ws --conns 1000",
    "chat to 100, 8 in flight": "--path /chat --mode broadcast --conns 100 --depth 8",
    "chat to 1,000, 2 in flight": "--path /chat --mode broadcast --conns 1000 --depth 2",
    "chat of 100, 8 of them speak": "--path /chat --mode broadcast --conns 100 --senders 8 --depth 8",
    "chat of 1,000, 8 of them speak": "--path /chat --mode broadcast --conns 1000 --senders 8 --depth 8",
}


def serve(name):
    port = free_port()
    return Process(name, port, [SERVER, name, str(port)]) if name in OURS else Peer(name, port)


def options_for(name, options):
    # Ours leave the sender out.
    self = ["--self", "0" if name in OURS else "1"] if "broadcast" in options else []
    return options.split() + self


def throughput(a):
    servers = [serve(name) for name in a.servers]
    peers = [name for name in a.servers if name not in OURS]
    quotients = [(ours, peer) for ours in a.servers if ours in OURS for peer in peers]
    print("| load | " + " | ".join(f"{name}: k/s, CPU, p99 us" for name in a.servers) + " | " + "".join(f"{ours} / {peer} | " for ours, peer in quotients) + "lost |")
    print("|---|" + "---|" * (len(servers) + len(quotients) + 1))
    for row, options in LOADS.items():
        if a.only not in row:
            continue
        rounds = [[harness.load(server, "wsload", ["--secs", str(a.secs)] + options_for(server.name, options)) for server in servers] for _ in range(a.rounds)]
        progress(row)
        cpu, rate, p99 = ({name: middle([figure(r[i]) for r in rounds]) for i, name in enumerate(a.servers)} for figure in (
            lambda r: r["srv_cpu_s_per_M_recv"], lambda r: r["recv_per_s"], lambda r: r["lat_us"]["p99"]))
        cells = [f"{rate[name] / 1000:,.0f}, {cpu[name]:.2f}, {p99[name]:,.0f}" for name in a.servers]
        cells += [f"{cpu[ours] / cpu[peer]:.3f}" for ours, peer in quotients]
        lost = sum(abs(result.get(kind) or 0) for r in rounds for result in r for kind in ("lost", "dup", "corrupt", "errors"))
        print(f"| {row} | " + " | ".join(cells) + f" | {lost} |", flush=True)
        save(a.json, row, a.servers, rounds)
    for server in servers:
        server.stop()


def memory(a):
    print("| server | empty, MiB | bytes an idle connection, of 5,000 |\n|---|---|---|")
    for name in a.servers:
        server = serve(name)
        empty = server.resident_kib()
        result = harness.load(server, "wsload", "--path /ws --idle 5000 --hold 3 --conns 0".split())
        assert result["failed"] == 0, result
        print(f"| {name} | {empty / 1024:.1f} | {result['bytes_per_conn']:,.0f} |", flush=True)
        save(a.json, "memory", [name], [[result]])
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=3)
    parser.add_argument("--only", default="", help="the rows with this in their names")
    parser.add_argument("--servers", default="callbacks,handlers,socketify,websockets")
    parser.add_argument("--json", help="append every result of a round to this file")
    parser.add_argument("--memory", action="store_true")
    a = parser.parse_args()
    a.servers = a.servers.split(",")
    harness.build("wsload")
    if set(a.servers) - set(OURS):
        harness.install("lib/python*/site-packages/socketify", "socketify", "websockets")
    (memory if a.memory else throughput)(a)


if __name__ == "__main__":
    main()
