"""What the benchmarks share: servers under load, one after the other in turn, on a processor of their own; medians; JSON lines."""
import atexit
import glob
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
PEER = os.path.join(LOAD, "peers/peer.sh")


class Process:
    """A server under load, on the first processor if pinned."""

    def __init__(self, name, port, command, pin=True, probe=None):
        self.name, self.port = name, port
        self.process = subprocess.Popen(on_processor(0, pin) + command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        atexit.register(self.stop)
        (probe or wait_for)(port)

    def stop(self):
        atexit.unregister(self.stop)
        self.process.terminate()
        self.process.wait(20)

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Peer(Process):
    """A peer that peers/peer.sh starts and stops."""

    def __init__(self, name, port, pin=True):
        self.name, self.port = name, port
        env = {**os.environ, "PEER_PY": os.path.join(VENV, "bin"), "LOAD_BIN": BIN}
        started = subprocess.run(on_processor(0, pin) + [PEER, "start", name, str(port), "fresh"], stdout=subprocess.PIPE, text=True, env=env, check=True)
        self.pid = int(started.stdout)
        atexit.register(self.stop)

    def stop(self):
        atexit.unregister(self.stop)
        subprocess.run([PEER, "stop", str(self.pid)])


def load(server, tool, options, port=None, pin=True):
    """One run of a generator on the second processor; its JSON."""
    command = [os.path.join(BIN, tool), "--port", str(port or server.port), "--server-pid", str(server.pid)] + options
    done = subprocess.run(on_processor(1, pin) + command, capture_output=True, text=True, timeout=120)
    if not done.stdout:
        sys.exit(f"{server.name}: {tool} {' '.join(options)}: {done.stderr.strip() or 'no result'}")
    result = json.loads(done.stdout.splitlines()[-1])
    wrong = {kind: result[kind] for kind in ("lost", "dup", "corrupt", "errors") if result.get(kind)}
    if wrong:
        progress(f"{server.name}: {tool} {' '.join(options)}: {wrong}")
    return result


def on_processor(number, pin=True):
    return ["taskset", "-c", str(number)] if pin else []


def wait_for(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def wait_for_udp(port):
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        for _ in range(100):
            try:
                probe.sendto(b"there?", ("127.0.0.1", port))
                if probe.recv(64) == b"there?":
                    return
            except TimeoutError:
                pass
    sys.exit(f"nothing echoes datagrams on {port}")


def free_port(count=1):
    """A port that is free for TCP and UDP, and those after it."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if all(is_free(port + offset) for offset in range(count)):
            return port
    sys.exit("no free port")


def is_free(port):
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            return True
        except (OSError, OverflowError):
            return False


def middle(values):
    return statistics.median(values)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def save(path, load, names, rounds):
    if path:
        with open(path, "a") as file:
            for results in rounds:
                for name, result in zip(names, results):
                    file.write(json.dumps({"server": name, "load": load, **result}) + "\n")


def build(*tools):
    subprocess.run(["make", "-s", "-C", LOAD, f"OUT={BIN}"] + [f"{BIN}/{tool}" for tool in tools], check=True)


def install(file, *packages):
    """Packages from PyPI into .venv/bench, unless `file` (a pattern below it) is there."""
    if glob.glob(os.path.join(VENV, file)):
        return
    if not os.path.exists(os.path.join(VENV, "bin/pip")):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([os.path.join(VENV, "bin/pip"), "install", "-q", "--disable-pip-version-check", *packages], check=True)
