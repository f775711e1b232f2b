"""A headless Chromium with one page, which tests drive by its DevTools protocol."""

import json
import os
import re
import shutil
import time
import urllib.request

from programs import Program
from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    def __init__(self, folder, url, *words):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={folder}"]
        flags += ["--remote-debugging-port=0", *words]
        self.program = Program(CHROMIUM, *flags, url, env={**os.environ, "HOME": str(folder)})
        place = self.program.says(r"DevTools listening on ws://(\S+?)/", 60)
        deadline = time.monotonic() + 30
        while not (pages := [page for page in self._targets(place.group(1)) if page["type"] == "page"]):
            assert time.monotonic() < deadline, "no page"
            time.sleep(0.1)
        self._devtools = connect(pages[0]["webSocketDebuggerUrl"], max_size=64 << 20, compression=None).__enter__()
        self._number = 0

    def _targets(self, place):
        with urllib.request.urlopen(f"http://{place}/json/list", timeout=20) as answer:
            return json.load(answer)

    def open(self, url):
        """Goes to a page and waits until it is there."""
        answer = self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def call(self, method, **parameters):
        self._number += 1
        self._devtools.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._devtools.recv(timeout=60))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def run(self, script, may_fail=False):
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert may_fail or "exceptionDetails" not in result, result
        return None if "exceptionDetails" in result else result["result"].get("value")

    def until(self, script, seconds=20):
        """Waits until an expression is true, and answers its value. It may fail while the page is not there."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script, may_fail=True)):
            assert time.monotonic() < deadline, f"not within {seconds} s: {script}\n{self.run('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        self._devtools.close()
        self.program.__exit__(*rest)
