"""Runs a conformance suite that was brought from outside, unmodified, and writes what came of it.

`conformance.py PATH [--peer mosquitto] [--output FILE]`, where PATH is a checkout of eclipse/paho.mqtt.testing. Each of the suite's two files
runs in a process of its own, against a server of its own, in the order of its own unittest; the two at the same time.
"""

import argparse
import datetime
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

import brokers

CASE_SECONDS = 60
SUITES = {"client_test.py": "MQTT 3.1.1", "client_test5.py": "MQTT 5.0"}
# What the suite's own servers are told, as its README and its tests presume it.
SETTINGS = {"mqtt.denySubscribe": "test/nosubscribe", "mqtt.serverKeepAlive": "60s"}
# Cases that ask for what the specification does not, and the words that say so: (file, case) -> reason.
MISTAKES = {
    ("client_test5.py", "test_subscribe_failure"): (
        "The case wants 0x80 alone. The server answers 0x87. Section 3.9.3, 0x87: \"The Client is not authorized to make this "
        "subscription.\" 0x80 is for when \"the Server either does not wish to reveal the reason or none of the other Reason Codes apply.\""
    ),
}


class Result(unittest.TestResult):
    """Notes every case's outcome, and cuts one that waits for ever."""

    too_long = f"no end after {CASE_SECONDS} s"

    def __init__(self, cases):
        super().__init__()
        self.cases = cases

    def startTest(self, test):
        super().startTest(test)
        self.running = test._testMethodName
        self.expired = 0
        signal.setitimer(signal.ITIMER_REAL, CASE_SECONDS, 2)

    def stopTest(self, test):
        signal.setitimer(signal.ITIMER_REAL, 0)
        super().stopTest(test)

    def note(self, test, outcome, error=None):
        name = getattr(test, "_testMethodName", str(test))
        said = f"{error[0].__name__}: {error[1]}" if error else ""
        self.cases[name] = (outcome, " ".join(said.split())[:300])

    def addSuccess(self, test):
        self.note(test, "pass")

    def addFailure(self, test, error):
        self.note(test, "fail", error)

    addError = addFailure

    def addSkip(self, test, reason):
        self.cases[test._testMethodName] = ("skip", reason)


def run_file(path, port, output):
    """In the suite's process: its `__main__` as it is, but for `unittest.main`, which would end the process and keep the outcomes to itself."""

    def expired(*_):
        result.expired += 1
        if result.expired < 5:
            raise TimeoutError(result.too_long)
        # The suite swallows what is raised where it waits: the case ends with its process, and another one goes on behind it.
        result.cases[result.running] = ("fail", result.too_long)
        output.write_text(json.dumps(result.cases))
        os._exit(1)

    def collect(*_, **__):
        module = sys._getframe(1).f_globals
        tests = unittest.defaultTestLoader.loadTestsFromTestCase(module["Test"])
        unittest.TestSuite(test for test in tests if test._testMethodName not in result.cases).run(result)

    result = Result(json.loads(output.read_text()) if output.exists() else {})
    signal.signal(signal.SIGALRM, expired)
    unittest.main = collect
    sys.path.insert(0, str(path.parent))
    os.chdir(path.parent)
    sys.argv = [path.name, "--hostname", "127.0.0.1", "-p", str(port)]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        output.write_text(json.dumps(result.cases))
    # The suite's receiving threads may still wait for a packet.
    sys.stdout.flush()
    os._exit(0)


def run_process(path, port, output):
    """Until a process comes to the end of the file."""
    words = [sys.executable, __file__, str(path), "--port", str(port), "--output", str(output)]
    environment = brokers.environment(PYTHONDONTWRITEBYTECODE="1")
    for _ in range(40):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, timeout=1800)
        if done.returncode == 0:
            return
        if not output.exists():
            print(done.stderr[-2000:], file=sys.stderr)
            return


def start_server(peer, folder):
    if peer == "mosquitto":
        denied = Path(folder) / "acl"
        denied.write_text("topic readwrite #\ntopic deny test/nosubscribe\n")
        return brokers.Mosquitto(folder, f"acl_file {denied}")
    words = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return brokers.Martlet(*words, loops=1)


def version(peer):
    if peer == "mosquitto":
        said = subprocess.run([brokers.mosquitto_path(), "-h"], capture_output=True, text=True).stdout
        return re.search(r"mosquitto version \S+", said).group(0)
    said = brokers.martlet("--version").stdout.strip()
    commit = subprocess.run(["git", "-C", brokers.ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return f"{said} ({commit})" if commit else said


def run(suite, peer):
    """{file: {case: (outcome, what was said)}}"""
    folder = suite / "interoperability"
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)  # mosquitto reads it as a user of its own
        running = []
        for name in SUITES:
            assert (folder / name).exists(), f"{folder / name} is not there: SUITE must be a checkout of eclipse/paho.mqtt.testing"
            server = start_server(peer, scratch)
            output = Path(scratch) / f"{name}.json"
            running.append((name, server, output, threading.Thread(target=run_process, args=(folder / name, server.port, output))))
        for *_, thread in running:
            thread.start()
        outcomes = {}
        for name, server, output, thread in running:
            thread.join()
            survived = server.is_running()
            code, _ = server.stop()
            assert output.exists(), f"{name} did not run"
            assert survived and code == 0, f"the server ended with {code} under {name}:\n" + "\n".join(server.lines[-20:])
            outcomes[name] = json.loads(output.read_text())
    return outcomes


def report(suite, peer, outcomes):
    commit = subprocess.run(["git", "-C", suite, "log", "-1", "--format=%H, %cs"], capture_output=True, text=True).stdout.strip() or "unknown"
    lines = [
        "# The Eclipse Paho interoperability suites",
        "",
        "Written by `make conformance SUITE=PATH`, where PATH is a checkout of [paho.mqtt.testing](https://github.com/eclipse/paho.mqtt.testing),",
        "which runs unmodified (`Tests/Interop/conformance.py`). `PEER=mosquitto` runs Debian's mosquitto instead and prints.",
        "",
        f"- Date: {datetime.date.today()}",
        f"- Suite: {commit}",
        f"- Server: {version(peer)}",
    ]
    if peer == "martlet":
        lines.append("- Settings: " + ", ".join(f"`{key}={value}`" for key, value in SETTINGS.items()) + ", `loops=1`")
        lines += [
            "- One loop, because `test_subscribe_options` publishes before it has the other client's SUBACK (it waits for the wrong client's), and no",
            "  statement orders two connections: on two loops the message may be the earlier one.",
        ]
    for name, cases in outcomes.items():
        passed = sum(outcome == "pass" for outcome, _ in cases.values())
        lines += ["", f"## {SUITES[name]}: `{name}`, {passed} of {len(cases)} pass", "", "| case | result | |", "|---|---|---|"]
        for case, (outcome, said) in cases.items():
            known = MISTAKES.get((name, case)) if peer == "martlet" else None
            reason = (known or said) if outcome != "pass" else ""
            lines.append(f"| {case} | {outcome} | {reason.replace('|', ' ')} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", type=lambda word: Path(word).resolve())
    parser.add_argument("--peer", choices=["martlet", "mosquitto"], default="martlet")
    parser.add_argument("--output", type=Path, help="the report; without it, on standard output")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.port:
        return run_file(options.suite, options.port, options.output)
    outcomes = run(options.suite, options.peer)
    text = report(options.suite, options.peer, outcomes)
    if options.output:
        options.output.write_text(text)
    else:
        print(text)
    unexplained = [
        f"{name} {case}: {said}"
        for name, cases in outcomes.items()
        for case, (outcome, said) in cases.items()
        if outcome == "fail" and (options.peer == "mosquitto" or (name, case) not in MISTAKES)
    ]
    total = sum(len(cases) for cases in outcomes.values())
    print(f"{total} cases, {len(unexplained)} failed without a reason in the specification", file=sys.stderr)
    for line in unexplained:
        print(f"  {line}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
