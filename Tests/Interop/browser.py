"""Headless Chromium, driven over its own WebSocket (the DevTools protocol). Every wait is bounded."""

import json
import re
import shutil
import subprocess
import tempfile
import threading
import time

from websockets.sync.client import connect

import brokers

PATHS = ("chromium", "chromium-browser", "google-chrome")


def path():
    return next((found for name in PATHS if (found := shutil.which(name))), None)


class Browser:
    """One browser with one page. `run` evaluates a script there and answers what it comes to."""

    def __init__(self, *words):
        self.folder = tempfile.mkdtemp(prefix="martlet-chromium")
        command = [
            path(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={self.folder}",
            "--remote-debugging-port=0", *words, "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=brokers.environment())
        self.lines = []
        self._listening = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self._listening.wait(30) and self.process.poll() is None, "\n".join(self.lines)
        self.number = 0
        self.socket = connect(self.url, compression=None, max_size=None).__enter__()
        target = next(one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page")["targetId"]
        self.session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                self.url = found.group(1)
                self._listening.set()
        self._listening.set()

    def _call(self, method, seconds=60, **parameters):
        self.number += 1
        session = {"sessionId": self.session} if hasattr(self, "session") else {}
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters, **session}))
        deadline = time.monotonic() + seconds
        while True:
            answer = json.loads(self.socket.recv(timeout=max(0.01, deadline - time.monotonic())))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url):
        """Goes to a page and waits until it is there."""
        answer = self._call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer
        brokers.wait_until(lambda: self.run("document.readyState === 'complete' && location.href !== 'about:blank'"))

    def run(self, script):
        """The script's value, or what its promise comes to."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self):
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
