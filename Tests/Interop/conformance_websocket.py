"""Runs Autobahn|Testsuite, all of its cases, against the library's server and client, and writes what came of them.

`conformance_websocket.py PATH-to-wstest [--cases 1.*,2.*] [--roles client] [--peer websockets] [--kept FOLDER] [--output FILE]`. wstest is a Python
2.7 program: `pip install autobahntestsuite==25.10.1 autobahn==0.10.9 Twisted==19.10.0 wsaccel==0.6.2`. The server is run by tasks and by callbacks.
The cases of a section (12.1.*) are one run of wstest; with `--kept`, what came of it is kept there, and not run again: half an hour of processor time that an
interruption does not lose. UNIMPLEMENTED counts as a failure, and so does a case that was not run. Everything runs in a network of its own (`unshare`), since
wstest takes port 8080 for itself.
"""

import argparse
import collections
import datetime
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import brokers

INSIDE = "MARTLET_CONFORMANCE_INSIDE"
HOURS = 3
# Case -> why it is not strict, or informational. Anything else that is not OK is a failure.
EXPLAINED = {}
PEER = """
import asyncio, sys
from websockets.asyncio.server import serve
async def main():
    async def handler(ws):
        async for message in ws:
            await ws.send(message)
    async with serve(handler, "127.0.0.1", int(sys.argv[1]), max_size=1 << 25, ping_interval=None):
        print("listening", flush=True)
        await asyncio.get_running_loop().create_future()
asyncio.run(main())
"""


def echo(*words):
    program = str(Path(brokers.binary()).parent / "interop-websocket-echo")
    return subprocess.Popen([program, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def wstest(path, mode, specification, folder):
    file = folder / f"{mode}.json"
    file.write_text(json.dumps({**specification, "exclude-cases": [], "exclude-agent-cases": {}}))
    log = (folder / f"{mode}.log").open("w")
    return subprocess.Popen([path, "-m", mode, "-s", file], stdout=log, stderr=log, cwd=folder)


class Server:
    """One that wstest calls."""

    def __init__(self, agent, port, process):
        self.agent, self.port, self.process = agent, port, process
        assert process.stdout.readline().startswith("listening")

    def run(self, path, cases, folder):
        urls = [{"agent": self.agent, "url": f"ws://127.0.0.1:{self.port}"}]
        tester = wstest(path, "fuzzingclient", {"outdir": str(folder / "servers"), "servers": urls, "cases": cases}, folder)
        assert tester.wait(HOURS * 3600) == 0, (folder / "fuzzingclient.log").read_text()[-2000:]
        assert self.process.poll() is None, f"{self.agent} ended under the tests"
        return json.loads((folder / "servers/index.json").read_text())[self.agent]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


class Client:
    """One that calls wstest."""

    agent = "client"

    def run(self, path, cases, folder):
        tester = wstest(path, "fuzzingserver", {"outdir": str(folder / "clients"), "url": "ws://127.0.0.1:9003", "cases": cases}, folder)
        try:
            deadline = time.monotonic() + 60
            while not brokers.listens(9003):
                assert time.monotonic() < deadline and tester.poll() is None, (folder / "fuzzingserver.log").read_text()[-2000:]
                time.sleep(0.1)
            assert echo("drive", "ws://127.0.0.1:9003", self.agent).wait(HOURS * 3600) == 0
            # Written while it is read.
            report, deadline = folder / "clients/index.json", time.monotonic() + 60
            while True:
                assert time.monotonic() < deadline, "no report"
                try:
                    return json.loads(report.read_text())[self.agent]
                except (FileNotFoundError, json.JSONDecodeError):
                    time.sleep(0.1)
        finally:
            tester.terminate()
            tester.wait(20)

    def stop(self):
        pass


AGENTS = {
    "server-by-tasks": lambda: Server("server-by-tasks", 9001, echo("serve", "ws://127.0.0.1:9001")),
    "server-by-callbacks": lambda: Server("server-by-callbacks", 9002, echo("serve", "ws://127.0.0.1:9002", "--callbacks")),
    "client": Client,
}
PEERS = {"websockets": lambda: Server("websockets", 9001, subprocess.Popen([sys.executable, "-c", PEER, "9001"], stdout=subprocess.PIPE, text=True))}
ALL = "import json; from autobahntestsuite.case import Cases; print(json.dumps([c.__name__[4:].replace('_', '.') for c in Cases]))"


def sections(path, patterns):
    """The suite's cases by section; of the long groups, a section is 12.1.*."""
    said = subprocess.run([path.parent / "python", "-c", ALL], capture_output=True, text=True, check=True)
    found = collections.defaultdict(list)
    for name in json.loads(said.stdout):
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            group = order(name)[0]
            found[".".join(map(str, order(name)[: 2 if group >= 9 else 1]))].append(name)
    return dict(found)


def run(make, agent, path, parts, kept):
    """Case -> what came of it."""
    role, cases = None, {}
    for part, names in parts.items():
        file = kept / f"{agent} {part}.json"
        done = json.loads(file.read_text()) if file.exists() else {}
        if not set(names) <= set(done):
            role = role or make()
            with tempfile.TemporaryDirectory() as scratch:
                done |= role.run(path, names, Path(scratch))
            file.write_text(json.dumps(done))
            print(f"{agent} {part}: {collections.Counter(outcome(case) for case in done.values())}", file=sys.stderr, flush=True)
        cases |= {name: done[name] for name in names if name in done}
    if role:
        role.stop()
    return cases


def outcome(case):
    """OK only if the behaviour and the close are."""
    both = (case["behavior"], case["behaviorClose"])
    return "OK" if both == ("OK", "OK") else next(word for word in both if word != "OK")


def order(name):
    return [int(part) for part in name.split(".")]


def report(agents, version, suite, cases, expected):
    lines = [
        "# Autobahn|Testsuite",
        "",
        "Written by `make conformance AUTOBAHN=PATH`, where PATH is its `wstest` (`Tests/Interop/conformance_websocket.py`). The server echoes by tasks",
        "(`WebSocketConnection.serve`) and by callbacks (`WebSocketEvents`), the client by `WebSocketConnection.withConnection`; both take",
        "permessage-deflate. UNIMPLEMENTED counts as a failure.",
        "",
        f"- Date: {datetime.date.today()}",
        f"- Library: {version}",
        f"- Suite: {suite}",
        "- Cases: " + (f"all {expected}" if cases == ["*"] else f"`{','.join(cases)}`; `make conformance` runs all"),
        "",
        "| cases | about | " + " | ".join(agents) + " |",
        "|---|---|" + "---|" * len(agents),
    ]
    about = {
        1: "framing", 2: "pings and pongs", 3: "reserved bits", 4: "opcodes", 5: "fragments", 6: "UTF-8", 7: "closing", 9: "limits and speed",
        10: "auto-fragmentation", 12: "permessage-deflate", 13: "its parameters",
    }  # fmt: skip
    groups = sorted({order(name)[0] for cases in agents.values() for name in cases})
    for group in groups:
        row = []
        for cases in agents.values():
            counts = collections.Counter(outcome(case) for name, case in cases.items() if order(name)[0] == group)
            row.append(", ".join(f"{count} {word}" for word, count in sorted(counts.items(), key=lambda item: item[0] != "OK")))
        lines.append(f"| {group}.* | {about.get(group, '')} | " + " | ".join(row) + " |")
    lines.append("| all | | " + " | ".join(f"{sum(outcome(case) == 'OK' for case in cases.values())} of {expected} OK" for cases in agents.values()) + " |")
    rest = collections.defaultdict(dict)
    for agent, cases in agents.items():
        for name, case in cases.items():
            if outcome(case) != "OK":
                rest[name][agent] = outcome(case)
    lines += ["", "## Not OK", ""]
    if not rest:
        lines.append("None.")
    else:
        lines += ["| case | " + " | ".join(agents) + " | |", "|---|" + "---|" * (len(agents) + 1)]
        for name in sorted(rest, key=order):
            words = " | ".join(rest[name].get(agent, "OK") for agent in agents)
            lines.append(f"| {name} | {words} | {EXPLAINED.get(name) or informational(rest[name]) or 'unexplained'} |")
    return "\n".join(lines) + "\n"


def informational(words):
    return "The suite does not judge it: it only tells what was done." if set(words.values()) == {"INFORMATIONAL"} else None


def in_a_network_of_its_own():
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True).returncode == 0:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--map-root-user", "--net", sys.executable, *sys.argv])


def version_of(peer, kept):
    """What was tested; of what is kept, what was tested then."""
    file = kept / "version"
    if not file.exists():
        commit = subprocess.run(["git", "-C", brokers.ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
        file.write_text(brokers.martlet("--version").stdout.strip() + (f" ({commit})" if commit else "") if peer == "martlet" else peer)
    return file.read_text()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wstest", type=lambda word: Path(word).resolve())
    parser.add_argument("--cases", default=["*"], type=lambda word: word.split(","))
    parser.add_argument("--peer", choices=["martlet", "websockets"], default="martlet")
    parser.add_argument("--roles", type=lambda word: word.split(","), help=f"of {', '.join(AGENTS)}")
    parser.add_argument("--kept", type=Path, help="a folder for what came of each section, which is not run again")
    parser.add_argument("--output", type=Path, help="the report; without it, on standard output")
    options = parser.parse_args()
    in_a_network_of_its_own()
    made = AGENTS if options.peer == "martlet" else PEERS
    parts = sections(options.wstest, options.cases)
    with tempfile.TemporaryDirectory() as scratch:
        kept = options.kept or Path(scratch)
        kept.mkdir(exist_ok=True, parents=True)
        version = version_of(options.peer, kept)
        agents = {agent: run(make, agent, options.wstest, parts, kept) for agent, make in made.items() if agent in (options.roles or made)}
    said = subprocess.run([options.wstest, "--autobahnversion"], capture_output=True, text=True)
    found = re.search(r"AutobahnTestSuite ([\d.]+)", (Path(options.wstest).parent / "wstest").read_text() + said.stdout + said.stderr)
    expected = sum(map(len, parts.values()))
    text = report(agents, version, f"autobahntestsuite {found.group(1)}" if found else "autobahntestsuite", options.cases, expected)
    if options.output:
        options.output.write_text(text)
    else:
        print(text)
    bad = [
        f"{agent} {name}: {outcome(case)}" for agent, cases in agents.items() for name, case in cases.items()
        if outcome(case) not in ("OK", "INFORMATIONAL") and name not in EXPLAINED
    ]  # fmt: skip
    bad += [f"{agent} {name}: not run" for agent, cases in agents.items() for names in parts.values() for name in names if name not in cases]
    print(f"{sum(map(len, agents.values()))} cases, {len(bad)} failed without a reason", file=sys.stderr)
    for line in bad:
        print(f"  {line}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
