"""Starts and stops the servers of the AMQP tests: `martlet serve`, and Debian's rabbitmq-server, of which the processes of one run share a node.

A node takes seconds to start and is private: an own epmd, an own folder, free ports; no other node of the machine is touched.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import brokers

VHOST = "second"
START_SECONDS = 90


class Martlet(brokers.Martlet):
    """An AMQP listener without TLS, and MQTT where `mqtt` says so."""

    name = "martlet"

    def __init__(self, *words, loops=None, port=0, mqtt=False):
        listen = [f"amqp://127.0.0.1:{port}", *(["mqtt://127.0.0.1:0"] if mqtt else [])]
        self.words, self.more = words, {"loops": loops, "mqtt": mqtt}
        super().__init__(*words, loops=loops, listen=listen)
        self.port = self.ports["amqp"]

    @property
    def pid(self):
        return self.process.pid

    def restart(self):
        """Killed, and started again on its port, where it has kept nothing."""
        self.kill()
        self.__init__(*self.words, port=self.port, **self.more)


class RabbitMQ:
    """A running node; `pid` is the Erlang machine's."""

    name = "rabbitmq"
    host = "127.0.0.1"

    def __init__(self, folder, *lines, port=None, environment=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or brokers.free_port()
        settings = self.folder / "rabbitmq.conf"
        definitions = self.folder / "definitions.json"
        definitions.write_text(json.dumps({
            "vhosts": [{"name": "/"}, {"name": VHOST}],
            "users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
            "permissions": [{"user": "guest", "vhost": name, "configure": ".*", "write": ".*", "read": ".*"} for name in ("/", VHOST)],
        }))  # fmt: skip
        settings.write_text("\n".join([f"listeners.tcp.default = 127.0.0.1:{self.port}", f"load_definitions = {definitions}", *lines]) + "\n")
        names = brokers.free_port()
        own = {
            "HOME": self.folder, "RABBITMQ_BASE": self.folder, "RABBITMQ_MNESIA_BASE": self.folder / "mnesia", "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins", "RABBITMQ_PID_FILE": self.folder / "pid", "RABBITMQ_CONFIG_FILE": settings,
            "RABBITMQ_NODENAME": "martlet-test@localhost", "RABBITMQ_DIST_PORT": brokers.free_port(), "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none",
            "ERL_EPMD_PORT": names, "ERL_EPMD_ADDRESS": "127.0.0.1",
        }  # fmt: skip
        environment = brokers.environment(**{key: str(value) for key, value in own.items()})
        self.pids = []
        self._start(["epmd"], environment, names)
        self._start([rabbitmq_path()], environment, self.port)
        self.pid = self.pids[-1]

    def _start(self, words, environment, port):
        with (self.folder / "output").open("a") as output:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True)
        self.pids.append(process.pid)
        deadline = time.monotonic() + START_SECONDS
        while not brokers.listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "output").read_text()[-2000:]
                stop_processes(self.pids)
                raise AssertionError(f"{words[0]} did not start:\n{said}")
            time.sleep(0.05)

    def is_running(self):
        return is_running(self.pid)

    def stop(self):
        stop_processes(self.pids)


class Running:
    """A node that another process of this run has started."""

    name = "rabbitmq"
    host = "127.0.0.1"

    def __init__(self, port, pids):
        self.port, self.pid, self.pids = port, pids[-1], pids

    def is_running(self):
        return is_running(self.pid)


def rabbitmq_path():
    """The script itself: the one on the path wants to be of the user rabbitmq."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    return str(found[-1]) if found else shutil.which("rabbitmq-server")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def stop_processes(pids):
    """The groups these processes lead, the last started first: a node may be slow to leave, and has nothing to keep."""
    for pid in reversed(pids):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


@contextlib.contextmanager
def shared_rabbitmq(folder):
    """The run's node: the first that asks starts it, the last that leaves stops it."""
    state = Path(folder) / "rabbitmq.json"
    with locked(state) as known:
        if known["users"] == 0:
            node = RabbitMQ(Path(folder) / f"rabbitmq-{known['started']}")
            known.update(port=node.port, pids=node.pids, started=known["started"] + 1)
        known["users"] += 1
        node = Running(known["port"], known["pids"])
    try:
        yield node
    finally:
        with locked(state) as known:
            known["users"] -= 1
            if known["users"] == 0:
                stop_processes(known["pids"])


@contextlib.contextmanager
def locked(path):
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or '{"users": 0, "started": 0}')
        try:
            yield known
        finally:
            file.seek(0)
            file.truncate()
            file.write(json.dumps(known))
            file.flush()


class Forwarder:
    """A port before a server, whose connections can be cut and which can refuse new ones: the same for a server that must not be killed."""

    def __init__(self, server):
        self.server = server
        self.host = "127.0.0.1"
        self.name = server.name
        self.refuses = False
        self.accepted = 0
        self.pairs = []
        self.listener = socket.create_server((self.host, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.refuses:
                near.close()
                continue
            self.accepted += 1
            far = socket.create_connection((self.server.host, self.server.port))
            self.pairs.append((near, far))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self):
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        self.cut()
