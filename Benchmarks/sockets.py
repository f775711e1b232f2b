#!/usr/bin/env python3
"""TCP, UDP and TLS echo against C, uvloop and asyncio: the same client, in one run, load by load in turn. Prints Markdown.

  Benchmarks/sockets.py [--rounds 5] [--secs 3] [--only TEXT] [--json FILE]
  Benchmarks/sockets.py --connections [--idle 10000] [--minutes 1]    idle connections on two loops: bytes each, and whether that stays

Every server runs on the first processor, the generator on the second. The figures are medians of the rounds: thousands of requests a second,
"CPU", which is the server's processor microseconds a request from /proc/PID/stat, and the 99th percentile of the latency. The ratios are of CPU.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import harness
from harness import BIN, MARTLET, Peer, Process, free_port, middle, progress, save

BENCH_ECHO = os.environ.get("BENCH_ECHO_BIN", os.path.join(harness.ROOT, ".build/release/bench-echo"))

# Row: generator, its options. `AxB` is A connections with B messages in flight on each.
TCP = {
    "TCP 50x1": ("tcpload", "--conns 50 --depth 1"),
    "TCP 50x32": ("tcpload", "--conns 50 --depth 32"),
    "TCP 1000x1": ("tcpload", "--conns 1000 --depth 1"),
    "TCP 16 KiB 10x4": ("tcpload", "--conns 10 --depth 4 --size 16384"),
}
UDP = {
    "UDP 20x4": ("udpload", "--conns 20 --depth 4"),
    "UDP 1x1": ("udpload", "--conns 1 --depth 1"),
}
TLS = {
    "TLS 1.3 50x1": ("tlsload", "--conns 50 --depth 1"),
    "TLS 1.3 50x32": ("tlsload", "--conns 50 --depth 32"),
}
# Columns of ratios: whose CPU, over whose.
RATIOS = [("callbacks", "C"), ("async", "callbacks"), ("callbacks", "uvloop"), ("callbacks", "asyncio"), ("async", "uvloop"), ("async", "asyncio")]


def serve(name, kind, identity, loops=1, pin=True):
    """One echo server. The peers in C and Python answer TCP on `port` and UDP on the next one."""
    port = free_port(2)
    place = ["--host", "127.0.0.1", "--port", str(port)]
    certificate, key = identity
    if name == "callbacks":
        tls = ["--tls-cert", certificate, "--tls-key", key] if kind == "TLS" else []
        command = [MARTLET, "udp", "echo"] if kind == "UDP" else [MARTLET, "tcp", "echo", "--model", "loop", "--loops", str(loops)]
        return started(name, port, command + place + tls, kind, pin)
    if name == "async" and kind == "UDP":
        return started(name, port, [MARTLET, "udp", "echo", "--model", "async"] + place, kind, pin)
    if name == "async":
        return started(name, port, [BENCH_ECHO, kind.lower(), str(port), *(identity if kind == "TLS" else [])], kind, pin)
    if kind == "TLS":
        return started(name, port, [os.path.join(BIN, "tlsechod"), str(port), certificate, key], kind, pin)
    peer = Peer({"C": "cecho"}.get(name, name), port, pin)
    peer.name, peer.port = name, port + 1 if kind == "UDP" else port
    return peer


def started(name, port, command, kind, pin):
    return Process(name, port, command, pin, probe=harness.wait_for_udp if kind == "UDP" else harness.wait_for)


def table(a, kind, rows, names, identity):
    rows = {row: how for row, how in rows.items() if a.only in row}
    if not rows:
        return
    servers = {name: serve(name, kind, identity) for name in names}
    ratios = [(over, under) for over, under in RATIOS if over in names and under in names]
    print(f"| {kind} | " + " | ".join(f"{name}: k/s, CPU, p99 us" for name in names) + " | " + " | ".join(f"{o} / {u}" for o, u in ratios) + " | lost |")
    print("|---|" + "---|" * (len(names) + len(ratios) + 1))
    for row, (tool, options) in rows.items():
        timed = ["--secs", str(a.secs), "--warm", "0.5"]
        rounds = [{name: harness.load(server, tool, timed + options.split()) for name, server in servers.items()} for _ in range(a.rounds)]
        progress(row)
        cpu = {name: middle([r[name]["srv_cpu_s_per_M_recv"] for r in rounds]) for name in names}
        rate = {name: middle([r[name]["recv_per_s"] for r in rounds]) for name in names}
        p99 = {name: middle([r[name]["lat_us"]["p99"] for r in rounds]) for name in names}
        lost = sum(result.get(wrong) or 0 for r in rounds for result in r.values() for wrong in ("lost", "corrupt", "errors"))
        cells = [f"{rate[n] / 1000:,.0f}, {cpu[n]:.3f}, {p99[n]:,.0f}" for n in names] + [f"{cpu[o] / cpu[u]:.3f}" for o, u in ratios]
        print(f"| {row} | " + " | ".join(cells) + f" | {lost} |", flush=True)
        save(a.json, row, names, [[r[name] for name in names] for r in rounds])
    print()
    for server in servers.values():
        server.stop()


def compare(a):
    everybody = ["C", "callbacks", "async", "uvloop", "asyncio"]
    with tempfile.TemporaryDirectory() as folder:
        identity = own_certificate(folder)
        table(a, "TCP", TCP, everybody, identity)
        table(a, "UDP", UDP, everybody, identity)
        table(a, "TLS", TLS, ["C", "callbacks", "async"], identity)


def own_certificate(folder):
    """A certificate for 127.0.0.1 that lasts a day: ECDSA on P-256, as today's public ones."""
    certificate, key = os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", "req", "-x509", *curve, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def connections(a):
    """Opens the connections three times on one server, and watches its resident memory while they are held and when they are gone."""
    print(f"{a.idle:,} idle connections on two loops, held for {a.minutes:g} minutes each time; resident memory in KiB.\n")
    print("| server | round | before | all open | lowest while held | highest while held | after | bytes each |\n|---|---|---|---|---|---|---|---|")
    for name, loops in (("callbacks", 2), ("async", 2)):
        port = free_port(2)
        command = [MARTLET, "tcp", "echo", "--model", "loop", "--host", "127.0.0.1", "--port", str(port), "--loops", str(loops)]
        server = Process(name, port, command if name == "callbacks" else [BENCH_ECHO, "tcp", str(port), "--loops", str(loops)], pin=False)
        for number in range(1, 4):
            before = server.resident_kib()
            options = ["--conns", "0", "--idle", str(a.idle), "--hold", str(a.minutes * 60)]
            command = [os.path.join(BIN, "tcpload"), "--port", str(port), "--server-pid", str(server.pid)] + options
            holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            wait_until_open(server, a.idle)
            opened, seen = server.resident_kib(), []
            while holder.poll() is None:
                time.sleep(1)
                seen.append(server.resident_kib())
            result = holder.stdout.read()
            if '"failed":0,' not in result:
                sys.exit(f"{name}: {result.strip() or 'the generator failed'}")
            time.sleep(1)
            each = (opened - before) * 1024 / a.idle
            print(f"| {name} | {number} | {before:,} | {opened:,} | {min(seen):,} | {max(seen):,} | {server.resident_kib():,} | {each:.0f} |", flush=True)
        descriptors = len(os.listdir(f"/proc/{server.pid}/fd"))
        print(f"| {name} | descriptors left: {descriptors} | | | | | | |", flush=True)
        server.stop()


def wait_until_open(server, count):
    for _ in range(600):
        if len(os.listdir(f"/proc/{server.pid}/fd")) >= count:
            time.sleep(0.5)
            return
        time.sleep(0.05)
    sys.exit(f"{server.name}: {count} connections were not open within 30 s; `ulimit -Hn` allows how many?")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--secs", type=float, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    parser.add_argument("--connections", action="store_true")
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=1)
    a = parser.parse_args()
    if a.connections:
        harness.build("tcpload")
        return connections(a)
    harness.install("lib/*/site-packages/uvloop", "uvloop")
    harness.build("tcpload", "udpload", "tlsload", "echod", "tlsechod")
    compare(a)


main()
