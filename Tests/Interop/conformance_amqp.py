"""Runs the AMQP suites that were brought from outside, unmodified, and writes what came of them.

`conformance_amqp.py [--pika PATH] [--py-amqp PATH] [--peer rabbitmq] [--output FILE]`, where the paths are checkouts of pika/pika and
celery/py-amqp. The suites ask for guest at localhost, port 5672, and 5671 for TLS: everything runs in a network of its own (`unshare`), so that
nothing else of the machine is met. Tornado, Twisted and gevent must be there, else pika leaves its tests of them out.
"""

import argparse
import collections
import datetime
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import amqp_brokers
import brokers

INSIDE = "MARTLET_CONFORMANCE_INSIDE"
MINUTES = 15
# Cases that ask for something else than this server, and what that is: case -> reason.
ELSEWHERE = {
    "t.integration.test_rmq::test_tls_default_certs": "It asks the host tls-v1-2.badssl.com, not the server.",
    "t.integration.test_rmq::test_tls_no_default_certs_fails": "It asks the host tls-v1-2.badssl.com, not the server.",
}
# Cases that ask for what RabbitMQ 3.10, the reference, does not do either: case -> reason.
MISTAKES = {
    "tests.acceptance.blocking_adapter_test.TestInvalidExchangeTypeRaisesConnectionClosed::test": (
        "It wants a later RabbitMQ's answer. Debian's 3.10 ends the connection with 503, \"COMMAND_INVALID - unknown exchange type\", too."
    ),
}


class Suite:
    """What to run: `runs` are (title, pytest's words)."""

    def __init__(self, name, path, runs, certificates):
        self.name, self.path, self.runs, self.certificates = name, path, runs, certificates


def pika_suite(path):
    assert (path / "tests/acceptance").is_dir(), f"{path} is not a checkout of pika/pika"
    runs = [("without TLS", ["tests/acceptance"]), ("with TLS", ["tests/acceptance", "--use-tls"])]
    return Suite("pika", path, runs, lambda _: {name: path / f"tests/certs/{name}.pem" for name in ("ca_certificate", "server_certificate", "server_key")})


def py_amqp_suite(path):
    assert (path / "t/integration").is_dir(), f"{path} is not a checkout of celery/py-amqp"

    def certificates(folder):
        """They stand in the file from which its authors make their server."""
        text = (path / "Dockerfile").read_text().replace("\\n\\\n", "\n")
        found = {name: pem for pem, name in re.findall(r"'(-----BEGIN [^']*-----)' > /etc/rabbitmq/ca/(\w+)\.pem", text)}
        for name, pem in found.items():
            (folder / f"{name}.pem").write_text(pem + "\n")
        return {name: folder / f"{name}.pem" for name in ("ca_certificate", "server_certificate", "server_key")}

    # Without the plugin a case that fails is not tried five times more.
    return Suite("py-amqp", path, [("with and without TLS", ["t/integration", "-E", "rabbitmq", "-W", "ignore"])], certificates)


def start_server(peer, folder, files):
    authority, certificate, key = files["ca_certificate"], files["server_certificate"], files["server_key"]
    if peer == "rabbitmq":
        return amqp_brokers.RabbitMQ(
            folder / "rabbitmq", "listeners.ssl.default = 127.0.0.1:5671", f"ssl_options.cacertfile = {authority}", f"ssl_options.certfile = {certificate}",
            f"ssl_options.keyfile = {key}", "ssl_options.verify = verify_peer", "ssl_options.fail_if_no_peer_cert = true", port=5672)  # fmt: skip
    secured = f"amqps://127.0.0.1:5671?cert={certificate}&key={key}&ca={authority}&verify=required"
    return brokers.Martlet(listen=("amqp://127.0.0.1:5672", secured))


def run(suite, peer, folder):
    """{title of the run: {case: (outcome, what was said)}}"""
    server = start_server(peer, folder, suite.certificates(folder))
    environment = brokers.environment(PYTHONDONTWRITEBYTECODE="1")
    running = []
    for number, (title, words) in enumerate(suite.runs):
        output = folder / f"{suite.name}-{number}.xml"
        words = [sys.executable, "-m", "pytest", *words, "-q", "-p", "no:cacheprovider", f"--junitxml={output}"]
        log = (folder / f"{suite.name}-{number}.log").open("w")
        running.append((title, output, log, subprocess.Popen(words, cwd=suite.path, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)))
    outcomes = {}
    for title, output, log, process in running:
        process.wait(MINUTES * 60)
        assert output.exists(), f"{suite.name} {title} did not run:\n" + Path(log.name).read_text()[-3000:]
        outcomes[title] = outcomes_in(output)
    survived = server.is_running()
    ended = server.stop()
    assert survived and (peer == "rabbitmq" or ended[0] == 0), f"the server ended with {ended} under {suite.name}"
    return outcomes


def outcomes_in(output):
    cases = {}
    for case in ElementTree.parse(output).iter("testcase"):
        outcome, said = "pass", ""
        for kind, name in (("failure", "fail"), ("error", "fail"), ("skipped", "skip")):
            for found in case.findall(kind):
                outcome, said = name, " ".join((found.get("message") or "").split())[:300]
        cases[f"{case.get('classname')}::{case.get('name')}"] = (outcome, said)
    return cases


def version(peer):
    if peer == "rabbitmq":
        said = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"], capture_output=True, text=True).stdout
        return f"rabbitmq-server {said} (Debian)"
    said = brokers.martlet("--version").stdout.strip()
    commit = subprocess.run(["git", "-C", brokers.ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return f"{said} ({commit})" if commit else said


def reason(case):
    return ELSEWHERE.get(case) or MISTAKES.get(case)


def report(suites, peer, outcomes):
    lines = [
        "# The AMQP suites of pika and py-amqp",
        "",
        "Written by `make conformance PIKA=PATH PYAMQP=PATH`, where the paths are checkouts of [pika](https://github.com/pika/pika) and",
        "[py-amqp](https://github.com/celery/py-amqp), which run unmodified (`Tests/Interop/conformance_amqp.py`): pika's `tests/acceptance` and",
        "py-amqp's `t/integration`. `PEER=rabbitmq` runs Debian's rabbitmq-server instead and prints.",
        "",
        f"- Date: {datetime.date.today()}",
        f"- Server: {version(peer)}",
    ]
    for suite in suites:
        commit = subprocess.run(["git", "-C", suite.path, "log", "-1", "--format=%H, %cs"], capture_output=True, text=True).stdout.strip() or "unknown"
        lines += ["", f"## {suite.name}", "", f"- Suite: {commit}"]
        for title, cases in outcomes[suite.name].items():
            counts = collections.Counter(outcome for outcome, _ in cases.values())
            lines += ["", f"### {title}: {counts['pass']} pass, {counts['skip']} skip, {counts['fail']} fail, of {len(cases)}", ""]
            files = collections.defaultdict(collections.Counter)
            for case, (outcome, _) in cases.items():
                files[re.match(r"((?:tests|t)\.\w+\.\w+)", case).group(1)][outcome] += 1
            lines += ["| file | pass | skip | fail |", "|---|---|---|---|"]
            lines += [f"| {name.replace('.', '/')}.py | {count['pass']} | {count['skip']} | {count['fail']} |" for name, count in files.items()]
            skipped = collections.Counter(said for outcome, said in cases.values() if outcome == "skip")
            lines += ["", *(f"- {count} skipped: {said}" for said, count in skipped.items())] if skipped else []
            # py-amqp's are functions of a module.
            named = [(case if suite.name == "py-amqp" else case.split("::")[0], case, *said) for case, said in cases.items()]
            failed = [(name, reason(case) or said) for name, case, outcome, said in named if outcome == "fail"]
            lines += ["", "| class that fails | cases | |", "|---|---|---|"] if failed else []
            lines += [f"| {name} | {count} | {said.replace('|', ' ')} |" for (name, said), count in collections.Counter(failed).items()]
    return "\n".join(lines) + "\n"


def in_a_network_of_its_own():
    """Starts this again where only a loopback of its own is; where that is not allowed, goes on here."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    if subprocess.run(["unshare", "--map-root-user", "--net", "true"], capture_output=True).returncode == 0:
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--map-root-user", "--net", sys.executable, *sys.argv])
    assert not brokers.listens(5672) and not brokers.listens(5671), "another server listens on 5672 or 5671"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pika", type=lambda word: Path(word).resolve(), metavar="PATH")
    parser.add_argument("--py-amqp", type=lambda word: Path(word).resolve(), metavar="PATH")
    parser.add_argument("--peer", choices=["martlet", "rabbitmq"], default="martlet")
    parser.add_argument("--output", type=Path, help="the report; without it, on standard output")
    options = parser.parse_args()
    in_a_network_of_its_own()
    chosen = ((options.pika, pika_suite), (options.py_amqp, py_amqp_suite))
    suites = [suite(path) for path, suite in chosen if path]
    assert suites, "--pika PATH or --py-amqp PATH"
    outcomes = {}
    for suite in suites:
        with tempfile.TemporaryDirectory() as scratch:
            outcomes[suite.name] = run(suite, options.peer, Path(scratch))
    text = report(suites, options.peer, outcomes)
    if options.output:
        options.output.write_text(text)
    else:
        print(text)
    everything = [(case, *said) for runs in outcomes.values() for cases in runs.values() for case, said in cases.items()]
    unexplained = [f"{case}: {said}" for case, outcome, said in everything if outcome == "fail" and not reason(case)]
    print(f"{len(everything)} cases, {len(unexplained)} failed without a reason", file=sys.stderr)
    for line in unexplained:
        print(f"  {line}", file=sys.stderr)
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
