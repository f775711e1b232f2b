"""Starts and stops the servers under test: `martlet serve`, and Debian's mosquitto as the reference.

Every wait is bounded. MARTLET_BIN names the executable (default: the release build, else the debug build).
MARTLET_INTEROP_BROKER=mosquitto points the protocol's tests at mosquitto: a test that fails there is itself wrong.
MARTLET_INTEROP_LOOPS=1,4 restricts how many event loops are tried.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AGAINST_MOSQUITTO = os.environ.get("MARTLET_INTEROP_BROKER") == "mosquitto"
LOOPS = [int(n) for n in os.environ.get("MARTLET_INTEROP_LOOPS", "1,4").split(",")]
START_SECONDS = 20
GRACE_SECONDS = 10


def binary():
    named = os.environ.get("MARTLET_BIN")
    candidates = [Path(named).resolve()] if named else [ROOT / ".build/release/martlet", ROOT / ".build/debug/martlet"]
    for path in candidates:
        if path.exists():
            return str(path)
    raise AssertionError(f"no martlet at {', '.join(map(str, candidates))}; run `make build`")


def environment(**more):
    """Ours without MARTLET_…, which would configure the server. It keeps everything in memory unless a test says --data."""
    clean = {key: value for key, value in os.environ.items() if not key.upper().startswith("MARTLET_")}
    return {**clean, "MARTLET_DATA": "none", **more}


def martlet(*words, timeout=20, input=None, **more):
    """Runs a command of martlet that ends by itself."""
    return subprocess.run([binary(), *words], capture_output=True, text=True, timeout=timeout, input=input, env=environment(**more))


def mosquitto_path():
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """A running server; its stderr is read on a thread, so that it never blocks on us."""

    name = "broker"

    def __init__(self, words, env):
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
        self.lines = []
        self.host = "127.0.0.1"
        self.port = None
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for_line(self, pattern, seconds=START_SECONDS):
        found = lambda: next((match for line in self.lines if (match := re.search(pattern, line))), None)
        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, seconds)
            match = found()
        if not match:
            self.kill()
            raise AssertionError(f"no line {pattern!r} within {seconds} s; stderr:\n" + "\n".join(self.lines))
        return match

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def memory_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def is_running(self):
        return self.process.poll() is None

    def stop(self, with_signal=signal.SIGTERM, within=GRACE_SECONDS + 2):
        """The exit code, and how long it took."""
        start = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {within} s of its signal; stderr:\n" + "\n".join(self.lines[-20:]))
        return code, time.monotonic() - start


class Martlet(Broker):
    name = "martlet"

    def __init__(self, *words, loops=None, listen=("mqtt://127.0.0.1:0",), env=None):
        listeners = [word for url in listen for word in ("--listen", url)]
        self.loops = loops
        count = ["--loops", str(loops)] if loops else []
        super().__init__([binary(), "serve", *listeners, *count, *words], environment(**(env or {})))
        self.wait_for_line(r"(^|\s)ready$")
        found = [match for line in self.lines if (match := re.search(r"(?:^|\s)listening (\w+) 127\.0\.0\.1:(\d+)$", line))]
        self.ports = {match.group(1): int(match.group(2)) for match in found}
        self.port = self.ports.get("mqtt")


class Mosquitto(Broker):
    name = "mosquitto"

    def __init__(self, folder, *lines):
        port = free_port()
        config = Path(folder) / f"mosquitto-{port}.conf"
        config.write_text("\n".join([f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence false", *lines]) + "\n")
        super().__init__([mosquitto_path(), "-c", str(config), "-v"], environment())
        self.wait_for_line(r"mosquitto version \S+ running")
        self.port = port


class Certificates:
    """An authority (`authority`) and what it has signed: `path("server")` and `key("server")` are PEM files."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._openssl("req", "-x509", *self._new_key("authority"), "-days", "30", "-subj", "/CN=Martlet test authority", "-out", self.authority)
        self._sign("server", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1")
        self._sign("other", "/CN=other.example", "subjectAltName=DNS:other.example")
        self._sign("expired", "/CN=localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1", days="-1")
        self._sign("client", "/CN=client-7", "extendedKeyUsage=clientAuth")

    @property
    def authority(self):
        return self.path("authority")

    def path(self, name):
        return str(self.folder / f"{name}.pem")

    def key(self, name):
        return str(self.folder / f"{name}.key")

    def _new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key(name)]

    def _sign(self, name, subject, extension, days="30"):
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(extension + "\n")
        self._openssl("req", *self._new_key(name), "-subj", subject, "-out", str(request))
        self._openssl(
            "x509", "-req", "-in", str(request), "-CA", self.authority, "-CAkey", self.key("authority"), "-CAcreateserial", "-days", days,
            "-extfile", str(extensions), "-out", self.path(name))

    @staticmethod
    def _openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)


def listens(port, kind="tcp"):
    """Whether a socket listens on the port, without connecting to it: a server of one client would take that for its client."""
    state = {"tcp": "0A", "udp": "07"}[kind]
    rows = [row.split() for file in (f"/proc/net/{kind}", f"/proc/net/{kind}6") for row in Path(file).read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{port:04X}") and row[3] == state for row in rows)


def wait_until(holds, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


def wait_for_port(port, kind="tcp"):
    wait_until(lambda: listens(port, kind))
