"""Programs that tests run beside one another: what they print is read on threads, so that nobody blocks on us, and every wait is bounded."""

import re
import signal
import subprocess
import threading
import time

import brokers

SECONDS = 20


def example(name):
    """The built program of Examples/NN-name."""
    path = brokers.binary().rsplit("/", 1)[0] + f"/example-{name}"
    return path


class Program:
    """A running program with its stdin open. `output` and `errors` are the bytes so far."""

    def __init__(self, *words, stdin=subprocess.PIPE, keeps_output=True, on_output=None, env=None):
        self.words = [str(word) for word in words]
        self.process = subprocess.Popen(
            self.words, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=env or brokers.environment(PYTHONUNBUFFERED="1")
        )
        self.output, self.errors = bytearray(), bytearray()
        self._changed = threading.Condition()
        self._keeps_output, self._on_output = keeps_output, on_output
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.output), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, into):
        while chunk := stream.read(1 << 16):
            if into is self.output and self._on_output:
                self._on_output(chunk)
            if into is self.errors or self._keeps_output:
                with self._changed:
                    into += chunk
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _wait(self, find, seconds, what):
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (found := find()):
                left = deadline - time.monotonic()
                ended = not any(reader.is_alive() for reader in self._readers)
                if left <= 0 or (ended and not find()):
                    break
                self._changed.wait(min(left, 0.2))
        if not found:
            self.kill()
            raise AssertionError(f"{' '.join(self.words)}: no {what!r} within {seconds} s\noutput: {bytes(self.output)}\nerrors: {self.errors.decode()}")
        return found

    def prints(self, pattern, seconds=SECONDS):
        """Waits for it in the output."""
        return self._wait(lambda: re.search(pattern.encode(), self.output), seconds, pattern)

    def says(self, pattern, seconds=SECONDS):
        """Waits for it on stderr."""
        return self._wait(lambda: re.search(pattern, self.errors.decode(errors="replace")), seconds, pattern)

    def write(self, data):
        self.process.stdin.write(data)

    def end_input(self):
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()

    def wait(self, seconds=SECONDS):
        """The exit code, when all that was printed is here."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{' '.join(self.words)} did not end within {seconds} s\noutput: {bytes(self.output[:2000])}\nerrors: {self.errors.decode()}")
        for reader in self._readers:
            reader.join(5)
        return code

    def stop(self, with_signal=signal.SIGTERM, seconds=SECONDS):
        self.process.send_signal(with_signal)
        return self.wait(seconds)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end_input()
        self.kill()
        for reader in self._readers:
            reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()


def martlet(*words, **more):
    return Program(brokers.binary(), *words, **more)
