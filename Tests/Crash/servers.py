"""Servers that are killed and started again on their ports and data: martlet, and the two that the harness itself is tried on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import amqp_brokers
import brokers
import shim

START_SECONDS = 60


class Server:
    """One process at a time, in a folder of its own. `log` has what all of them said."""

    host = "127.0.0.1"

    def __init__(self, folder, *protocols):
        self.folder = Path(folder)
        self.log = self.folder / "log"
        self.ports = {protocol: brokers.free_port() for protocol in protocols}
        self.process = None

    def words(self):
        raise NotImplementedError

    def launch(self):
        """Starts it, and waits for nothing."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), pass_fds=self.descriptors(), start_new_session=True)  # fmt: skip

    def environment(self):
        return brokers.environment()

    def descriptors(self):
        return ()

    def start(self):
        """Until it listens; how long that took."""
        begin = time.monotonic()
        self.launch()
        while not all(brokers.listens(port) for port in self.ports.values()):
            if self.process.poll() is not None or time.monotonic() - begin > START_SECONDS:
                self.kill()
                raise AssertionError(f"{self.name} did not start:\n{self.said()}")
            time.sleep(0.005)
        return time.monotonic() - begin

    def said(self, count=20):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait(20)

    def terminate(self, within=20):
        """SIGTERM; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {within} s of SIGTERM:\n{self.said()}") from None

    def close(self):
        self.kill()


class Martlet(Server):
    """`loops` are taken in turn, one a start. With `library`, on the disk that loses what was not synced."""

    name = "martlet"

    def __init__(self, folder, *more, loops=(2,), library=None, delay=0, protocols=("mqtt", "amqp")):
        super().__init__(folder, *protocols)
        self.more, self.loops, self.library, self.delay = more, list(loops), library, delay
        self.data = self.folder / "data"
        self.data.mkdir(exist_ok=True)
        self.disk = None

    def words(self):
        self.loops.append(self.loops.pop(0))
        listen = [word for protocol, port in self.ports.items() for word in ("--listen", f"{protocol}://127.0.0.1:{port}")]
        return [brokers.binary(), "serve", *listen, "--data", str(self.data), "--loops", str(self.loops[-1]), "--log-level", "warning", *self.more]

    def environment(self):
        return brokers.environment(**(self.disk.environment if self.disk else {}))

    def descriptors(self):
        return self.disk.descriptors if self.disk else ()

    def launch(self):
        if self.library:
            self.disk = shim.Disk(self.library, self.data, self.delay)
        super().launch()
        if self.disk:
            self.disk.started()

    def kill(self):
        super().kill()
        if self.disk:
            self.disk.close()
            self.disk = None

    def terminate(self, within=20):
        try:
            return super().terminate(within)
        finally:
            self.kill()


class Mosquitto(Server):
    """With its persistence, which saves from time to time: it loses what it acknowledged."""

    name = "mosquitto"

    def __init__(self, folder, save_after=1000):
        super().__init__(folder, "mqtt")
        lines = [f"listener {self.ports['mqtt']} 127.0.0.1", "allow_anonymous true", "persistence true", f"persistence_location {self.folder}/", "user root"]
        lines += ["max_queued_messages 0", "max_inflight_messages 500", "autosave_on_changes true", f"autosave_interval {save_after}", "set_tcp_nodelay true"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def words(self):
        return [brokers.mosquitto_path(), "-c", str(self.folder / "mosquitto.conf")]


class RabbitMQ(Server):
    """A node of its own; the name server stays when the node is killed."""

    name = "rabbitmq"

    def __init__(self, folder):
        super().__init__(folder, "amqp")
        self.node = None

    def launch(self):
        if self.node is None:
            self.node = Node(self.folder, port=self.ports["amqp"])
        elif self.node.is_down:
            self.node.start_again()

    def start(self):
        begin = time.monotonic()
        self.launch()
        return time.monotonic() - begin

    def is_running(self):
        return self.node.is_running()

    def kill(self):
        if self.node:
            self.node.kill()

    def terminate(self, within=60):
        self.node.kill(signal.SIGTERM)
        return 0

    def close(self):
        if self.node:
            self.node.stop()


class Node(amqp_brokers.RabbitMQ):
    is_down = False

    def _start(self, *words):
        self.last = words
        super()._start(*words)

    def kill(self, with_signal=signal.SIGKILL):
        if not self.is_down:
            self.is_down = True
            os.kill(self.pid, with_signal)
            brokers.wait_until(lambda: not self.is_running(), START_SECONDS)
            amqp_brokers.stop_processes([self.pids.pop()])
            brokers.wait_until(lambda: not brokers.listens(self.port))

    def start_again(self):
        self._start(*self.last)
        self.pid, self.is_down = self.pids[-1], False
