"""ZeroMQ beside libzmq: `bench-zmq` and `load/zmqload` as either end, in turn within one run; medians, and ratios to libzmq with itself.

    swift build -c release --product bench-zmq
    python3 Benchmarks/zmq.py [--rounds 5] [--only NAME]... [--bench FILE]

The four threads of a throughput's two processes share the processors there are; requests over tcp have both ends on one. CPU: both ends, us a message."""

import argparse
import itertools
import json
import os
import subprocess
import tempfile
import time

from harness import BIN, ROOT, free_port, middle, progress

numbers = itertools.count(1)


def ours(role, *words, bench):
    return [bench, role, *words]


def theirs(role, *words):
    return [os.path.join(BIN, "zmqload"), "--pattern", role, *words]


def endpoint(transport):
    if transport == "tcp":
        return f"tcp://127.0.0.1:{free_port()}"
    return "inproc://bench" if transport == "inproc" else f"ipc://{tempfile.gettempdir()}/bench-zmq-{os.getpid()}-{next(numbers)}"


def said(text):
    return json.loads(text.splitlines()[0])


def latency(found):
    return found["p50_us"] if "p50_us" in found else found["lat_us"]["p50"]


def pair(far, near, place, count, size, cpu):
    """The two ends, the second of them bound; what each said."""
    pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
    words = ["--size", str(size), "--count", str(count)]
    waiting = subprocess.Popen(pin + near + ["--bind", place] + words, stdout=subprocess.PIPE, text=True)
    time.sleep(0.15)
    done = subprocess.run(pin + far + ["--connect", place] + words, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.stdout, waiting.communicate(timeout=60)[0]


def throughput(ends, transport, pattern, size, count, bench):
    sender, receiver = {"pushpull": ("push", "pull"), "pubsub": ("pub", "sub")}[pattern]
    make = {"o": lambda role: ours(role, bench=bench), "l": lambda role: ours(role, "--loop", bench=bench), "z": theirs}
    if pattern == "pubsub":  # a publisher drops what a slow subscriber has no room for: the mark is above all
        make = {key: (lambda role, old=old: old(role) + ["--hwm", str(count)]) for key, old in make.items()}
    sent, received = map(said, pair(make[ends[0]](sender), make[ends[1]](receiver), endpoint(transport), count, size, None))
    return {"rate": received["per_s"], "cpu": sent["own_cpu_s_per_M"] + received["own_cpu_s_per_M"], "lost": received["lost"]}


def requests(ends, transport, pattern, size, count, bench):
    make = {"o": lambda role: ours(role, bench=bench), "l": lambda role: ours(role, "--loop", bench=bench), "z": theirs}
    found, _ = pair(make[ends[0]]("req"), make[ends[1]]("rep"), endpoint(transport), count, size, 1)
    return {"p50": latency(said(found))}


def inproc(ends, transport, pattern, size, count, bench):
    command = theirs(pattern) if ends == "z" else ours(pattern, *(["--loop"] if ends == "l" else []), bench=bench)
    words = ["--bind", endpoint("inproc"), "--size", str(size), "--count", str(count)]
    found = said(subprocess.run(command + words, stdout=subprocess.PIPE, text=True, timeout=60).stdout)
    return {"p50": latency(found)} if pattern == "reqrep" else {"rate": found["per_s"], "cpu": found["own_cpu_s_per_M"], "lost": found["lost"]}


# Both ends libzmq's, ours as tasks run by default, ours on the sockets' loops, and one of each.
LOADS = {
    "tcp 64 B": (throughput, "tcp", "pushpull", 64, 2_000_000, ["zz", "oo", "ll", "oz", "zo", "lz", "zl"]),
    "ipc 64 B": (throughput, "ipc", "pushpull", 64, 2_000_000, ["zz", "oo", "ll", "oz", "zo", "lz", "zl"]),
    "pub tcp 64 B": (throughput, "tcp", "pubsub", 64, 1_000_000, ["zz", "oo", "ll"]),
    "pub ipc 64 B": (throughput, "ipc", "pubsub", 64, 1_000_000, ["zz", "oo", "ll"]),
    "tcp 1 KiB": (throughput, "tcp", "pushpull", 1_024, 400_000, ["zz", "oo", "ll"]),
    "ipc 1 KiB": (throughput, "ipc", "pushpull", 1_024, 400_000, ["zz", "oo", "ll"]),
    "requests tcp": (requests, "tcp", "reqrep", 64, 10_000, ["zz", "oo", "ll"]),
    "inproc 64 B": (inproc, "inproc", "pushpull", 64, 2_000_000, ["z", "o", "l"]),
    "inproc requests": (inproc, "inproc", "reqrep", 64, 20_000, ["z", "o", "l"]),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=LOADS)
    parser.add_argument("--bench", default=os.path.join(ROOT, ".build/release/bench-zmq"))
    a = parser.parse_args()
    print("| load | ends | rate or p50 | x libzmq | CPU | x libzmq | lost |\n|---|---|---|---|---|---|---|")
    for name in a.only or LOADS:
        run, transport, pattern, size, count, kinds = LOADS[name]
        found = {ends: [] for ends in kinds}
        for number in range(a.rounds):
            progress(f"{name}: round {number + 1}")
            for ends in kinds:
                found[ends].append(run(ends, transport, pattern, size, count, a.bench))
        base = kinds[0]
        for ends in kinds:
            mids = {key: middle([one[key] for one in found[ends]]) for key in found[ends][0]}
            against = {key: middle([one[key] for one in found[base]]) for key in mids}
            label = {"z": "libzmq", "o": "ours", "l": "ours on the loop"}
            who = " to ".join(dict.fromkeys(label[end] for end in ends))
            if "p50" in mids:
                print(f"| {name} | {who} | {mids['p50']:.1f} us | {mids['p50'] / against['p50']:.2f} | | | |", flush=True)
            else:
                rate, cpu = mids["rate"] / against["rate"], mids["cpu"] / against["cpu"]
                print(f"| {name} | {who} | {mids['rate'] / 1000:,.0f} k/s | {rate:.2f} | {mids['cpu']:.3f} | {cpu:.2f} | {mids['lost']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
