"""mosquitto_pub and mosquitto_sub, as people run them."""

import subprocess
import threading
import uuid

import brokers


def _connection(broker, version):
    return ["-h", broker.host, "-p", str(broker.port), "-V", {4: "311", 5: "5"}[version]]


def publish(broker, *words, version=4, timeout=30, check=True, **more):
    done = subprocess.run(["mosquitto_pub", *_connection(broker, version), *words], capture_output=True, timeout=timeout, **more)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


class Subscriber:
    """A running mosquitto_sub that has its SUBACK. Messages are (topic, QoS, text)."""

    def __init__(self, broker, *filters, qos=0, version=4, words=()):
        flags = [word for filter in filters for word in ("-t", filter)]
        # A run of its own marks the lines that are messages; -d adds the packets between them.
        self._mark = uuid.uuid4().hex
        command = ["stdbuf", "-oL", "mosquitto_sub", *_connection(broker, version), *flags, "-q", str(qos), "-d", "-F", f"{self._mark}\t%t\t%q\t%p", *words]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=brokers.environment())
        self.messages = []
        self.log = []
        self._changed = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()
        with self._changed:
            ready = self._changed.wait_for(lambda: any("Subscribed" in line for line in self.log) or self._ended, 15)
        assert ready and not self._ended, "mosquitto_sub did not subscribe:\n" + "\n".join(self.log)

    def _read(self):
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            with self._changed:
                if line.startswith(self._mark):
                    name, qos, text = line.split("\t", 3)[1:]
                    self.messages.append((name, int(qos), text))
                else:
                    self.log.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take(self, count, seconds=15):
        """Waits until `count` messages came, and gives all."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.messages) >= count or self._ended, seconds)
            assert len(self.messages) >= count, f"{len(self.messages)} of {count} messages came; log:\n" + "\n".join(self.log[-10:])
            return list(self.messages)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)
