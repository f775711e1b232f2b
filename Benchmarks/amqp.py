#!/usr/bin/env python3
"""AMQP 0-9-1 against RabbitMQ: the same client, in one run, load by load in turn. Prints Markdown.

  Benchmarks/amqp.py [--rounds 3] [--secs 3] [--only TEXT] [--servers martlet,rabbit] [--json FILE]
  Benchmarks/amqp.py --latency [--rounds 5]     5,000 messages a second, and one message at a time
  Benchmarks/amqp.py --memory                   5,000 idle connections with a channel each, and the empty server
  Benchmarks/amqp.py --topology                 10,000 queues, 100,000 bindings and 5,000 connections: whether all that works, and its memory

Every server runs on the first processor, the generator on the second. The figures are medians of the rounds; "CPU" is the server's
processor seconds a million messages delivered, from /proc/PID/stat. Everything is transient. `rabbit` is Debian's rabbitmq-server, a
node of this run alone.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import harness
from harness import MARTLET, Peer, Process, free_port, middle, on_processor, progress, save

THROUGHPUT = {
    "auto-ack": "--manual 0 --e2e 1000",
    "ack every 50": "--ackbatch 50 --e2e 1000",
    "ack each": "--ackbatch 1 --e2e 1000",
    "confirms, window 500": "--confirm 1 --window 500 --e2e 1000",
    "10 queues": "--pubs 10 --subs 10 --queues 10 --manual 0 --e2e 100",
    "fanout, 1 to 10": "--exchange fanout --queues 10 --subs 10 --manual 0 --e2e 100",
    "topic, 10 queues": "--exchange topic --pubs 10 --subs 10 --queues 10 --manual 0 --e2e 100",
}
LATENCY = {
    "auto-ack at 5,000/s": "--manual 0 --rate 5000",
    "ack each at 5,000/s": "--ackbatch 1 --rate 5000",
    "confirms at 5,000/s": "--confirm 1 --window 5000 --rate 5000",
    "auto-ack, one at a time": "--manual 0 --e2e 1",
}


def serve(name, pin=True):
    # RabbitMQ takes four ports: MQTT's (without its plugin unused), its nodes' and its name server's.
    port = free_port(4)
    if name == "martlet":
        listen = ["--listen", f"amqp://127.0.0.1:{port}", "--data", "none", "--loops", "1", "--log-level", "warning"]
        return Process(name, port, [MARTLET, "serve"] + listen, pin)
    os.environ["RABBIT_PLUGINS"] = ""
    return Peer(name, port, pin)


def load(server, options, secs):
    timed = [] if "--idle" in options else ["--secs", str(secs), "--warm", "0.5"]
    return harness.load(server, "amqpload", timed + options.split())


def rows(a, loads, show, columns):
    """`show` makes one server's cell of its rounds, and the numbers whose quotients are `columns`."""
    servers = [serve(name) for name in a.servers]
    isPair = len(servers) == 2
    print("| load | " + " | ".join(f"{name}: {show(None)}" for name in a.servers) + " | " + "".join(f"{c} x | " for c in columns if isPair) + "lost |")
    print("|---|" + "---|" * (len(servers) + len(columns) * isPair + 1))
    for row, options in loads.items():
        if a.only not in row:
            continue
        rounds = [[load(server, options, a.secs) for server in servers] for _ in range(a.rounds)]
        progress(row)
        shown = [show([r[i] for r in rounds]) for i in range(len(servers))]
        cells = [cell for cell, _ in shown] + [f"{x / y:.3f}" for x, y in zip(shown[0][1], shown[1][1])] if isPair else [shown[0][0]]
        lost = sum(abs(result.get(kind) or 0) for r in rounds for result in r for kind in ("lost", "dup", "errors"))
        print(f"| {row} | " + " | ".join(cells) + f" | {lost} |", flush=True)
        save(a.json, row, a.servers, rounds)
    for server in servers:
        server.stop()


def figures(results, *path):
    def at(result):
        for key in path:
            result = result[key]
        return result

    return middle([at(result) for result in results])


def throughput(a):
    def show(results):
        if results is None:
            return "k/s, CPU"
        rate, cpu = figures(results, "recv_per_s"), figures(results, "srv_cpu_s_per_M_recv")
        return f"{rate / 1000:,.0f}, {cpu:.3f}", (cpu, rate)

    rows(a, THROUGHPUT, show, ["CPU", "rate"])


def latency(a):
    def show(results):
        if results is None:
            return "CPU, p50, p99 us"
        numbers = figures(results, "srv_cpu_s_per_M_recv"), figures(results, "lat_us", "p50"), figures(results, "lat_us", "p99")
        return "{:.1f}, {:.1f}, {:.1f}".format(*numbers), numbers

    rows(a, LATENCY, show, ["CPU", "p50", "p99"])


def memory(a):
    print("| server | empty, MiB | KiB a connection with a channel, of 5,000 |\n|---|---|---|")
    for name in a.servers:
        server = serve(name)
        empty = server.resident_kib()
        result = load(server, "--idle 5000 --hold 3 --pubs 0 --subs 0", a.secs)
        assert result["failed"] == 0, result
        print(f"| {name} | {empty / 1024:.1f} | {result['bytes_per_conn'] / 1024:.1f} |", flush=True)
        save(a.json, "memory", [name], [[result]])
        server.stop()


def topology(a):
    """`martlet bench amqp` makes it; every one of the messages, which take the bindings in turn, must arrive."""
    print("10,000 queues, 10 bindings of each to a topic exchange, 5,000 connections: 10 publish, 4,989 consume two or three queues each, one declares.\n")
    print("| server | messages | delivered | seconds in all | empty, MiB | highest, MiB | a second after, MiB |\n|---|---|---|---|---|---|---|")
    words = "--queues 10000 --bindings 10 --publishers 10 --consumers 4989 --exchange topic --count 200000 --rate 20000 --json --quiet".split()
    for name in a.servers:
        server = serve(name)
        empty = highest = server.resident_kib()
        begin = time.monotonic()
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            command = on_processor(1) + [MARTLET, "bench", "amqp", f"amqp://127.0.0.1:{server.port}", *words]
            bench = subprocess.Popen(command, stdout=output, stderr=errors)
            while bench.poll() is None:
                highest = max(highest, server.resident_kib())
                time.sleep(0.1)
            taken = time.monotonic() - begin
            output.seek(0)
            errors.seek(0)
            if bench.returncode:
                sys.exit(f"{name}: {errors.read().strip() or output.read().strip()}")
            result = json.loads(output.read())
        time.sleep(1)
        sizes = " | ".join(f"{kib / 1024:.0f}" for kib in (empty, highest, server.resident_kib()))
        print(f"| {name} | {result['sent']:,} | {result['received']:,} | {taken:.0f} | {sizes} |", flush=True)
        save(a.json, "topology", [name], [[{**result, "empty_kib": empty, "highest_kib": highest}]])
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=3)
    parser.add_argument("--only", default="", help="the rows with this in their names")
    parser.add_argument("--servers", default="martlet,rabbit", help="which of the two")
    parser.add_argument("--json")
    for kind in ("latency", "memory", "topology"):
        parser.add_argument(f"--{kind}", action="store_true")
    a = parser.parse_args()
    a.servers = a.servers.split(",")
    harness.build("amqpload")
    (latency if a.latency else memory if a.memory else topology if a.topology else throughput)(a)


main()
