"""`martlet ctl`: a running server over its control socket, and the journal of one that does not run."""

import json
import os
import socket
import stat
import subprocess
import threading

import pytest

import brokers
from brokers import martlet
from raw import PUBACK, Connection


def publish(server, topic, numbers, acknowledged):
    """QoS 1, one after the other; notes what was acknowledged."""
    with Connection(server) as client:
        client.connect(clean=True)
        for number in numbers:
            client.publish(topic, str(number).encode(), qos=1, identifier=number % 65_535 + 1)
            client.expect(PUBACK)
            acknowledged.append(number)


def subscribe(server, topic, client="keeper"):
    """Makes a session that outlives its connection."""
    with Connection(server) as connection:
        connection.connect(client=client, clean=False)
        connection.subscribe(topic, qos=1)


def waiting(server, topic, client="keeper"):
    """The payloads that wait for the session, in their order; it acknowledges none of them."""
    words = ["mqtt", "sub", "-p", str(server.port), "-i", client, "-c", "-q", "1", "-t", topic, "-W", "2", "-F", "%p"]
    return [int(line) for line in martlet(*words, timeout=30).stdout.split()]


def sentence(done):
    """stderr is one sentence."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("martlet: "), done.stderr
    return lines[0]


@pytest.fixture
def data(tmp_path):
    return str(tmp_path / "data")


def filled(data, serve, count=50):
    """A directory with `count` messages for one session, and its server's end."""
    server = serve("--data", data)
    subscribe(server, "t")
    publish(server, "t", range(count), [])
    assert server.stop()[0] == 0


def test_status_counts_all_loops(serve, data):
    server = serve("--data", data, "--set", "mqtt.systemTopicsInterval=0s", loops=2)
    subscribe(server, "t")
    publish(server, "t", range(10), [])
    done = martlet("ctl", "status", "--data", data, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["loops"] == 2 and values["published"] == 10 and values["storedMessages"] == 10
    rows = dict(line.split() for line in martlet("ctl", "status", "--data", data).stdout.splitlines())
    assert rows["published"] == "10" and rows["loops"] == "2"


def test_the_socket_is_the_owners_alone(serve, data):
    server = serve("--data", data)
    path = os.path.join(data, "ctl.sock")
    mode = os.lstat(path).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    if os.getuid() == 0:
        # Also if somebody opens the way to it.
        os.chmod(data, 0o711)
        os.chmod(path, 0o666)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                directory = os.open(data, os.O_PATH)
                os.setuid(65534)
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(5)
                    client.connect(f"/proc/self/fd/{directory}/ctl.sock")
                    client.sendall(b"status\n")
                    code = 0 if client.recv(1000).startswith(b"error 77 ") else 2
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
    assert server.stop()[0] == 0
    assert not os.path.exists(path)


def test_a_socket_that_a_killed_server_left_is_taken_over(serve, data):
    killed = brokers.Martlet("--data", data)
    killed.kill()
    assert os.path.exists(os.path.join(data, "ctl.sock"))
    serve("--data", data)
    assert martlet("ctl", "status", "--data", data).returncode == 0


def test_a_backup_under_load_has_everything_that_was_acknowledged(serve, data, tmp_path):
    server = serve("--data", data, loops=2)
    subscribe(server, "t")
    acknowledged = []
    publisher = threading.Thread(target=publish, args=(server, "t", range(3000), acknowledged))
    publisher.start()
    brokers.wait_until(lambda: len(acknowledged) > 300)
    for name in ("one", "two"):
        before = len(acknowledged)
        done = martlet("ctl", "backup", "--data", data, str(tmp_path / name), "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["target"] == str(tmp_path / name) and said["segments"] >= 2 and said["bytes"] > 300 * 20
        copy = serve("--data", str(tmp_path / name))
        got = waiting(copy, "t")
        assert len(got) >= before and got == list(range(len(got))), (before, len(got))
    publisher.join(60)
    assert len(acknowledged) == 3000
    assert waiting(server, "t") == list(range(3000))


def test_a_backup_says_what_is_wrong(serve, data, tmp_path):
    server = serve("--data", data)
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").write_text("x")
    done = martlet("ctl", "backup", "--data", data, str(full))
    assert done.returncode == 1 and "is there and not empty" in sentence(done)
    done = martlet("ctl", "backup", "--data", data, str(tmp_path / "no" / "where"))
    assert done.returncode == 1 and "no such file or directory" in sentence(done)
    # A relative path begins where it was typed.
    done = subprocess.run([brokers.binary(), "ctl", "backup", "--data", data, "here"], cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and (tmp_path / "here" / "journal").exists(), done.stderr
    assert martlet("ctl", "journal", "check", str(tmp_path / "here")).returncode == 0
    for words in ([], ["a", "b"], [""]):
        assert martlet("ctl", "backup", "--data", data, *words).returncode == 64
    assert server.stop()[0] == 0
    done = martlet("ctl", "backup", "--data", data, str(tmp_path / "later"))
    assert done.returncode == 69 and "no server runs on" in sentence(done)
    assert martlet("ctl", "status", "--data", str(tmp_path / "nowhere")).returncode == 69


def test_check_and_stats_of_a_whole_journal(serve, data):
    filled(data, serve)
    done = martlet("ctl", "journal", "check", data)
    assert done.returncode == 0 and "50 messages" in done.stdout and "no damage" in done.stdout, done.stderr
    values = json.loads(martlet("ctl", "journal", "stats", data, "--json").stdout)
    assert values["messages"] == 50 and values["definitions"] >= 2 and values["damage"] == 0 and values["run"] == 1
    rows = martlet("ctl", "journal", "stats", data).stdout.splitlines()
    assert any(row.split()[:2] == ["messages", "50"] for row in rows), rows


def test_check_finds_a_flipped_bit_and_changes_nothing(serve, data):
    filled(data, serve)
    names = sorted(os.listdir(data))
    largest = max((name for name in names if name.endswith(".segment")), key=lambda name: len(open(f"{data}/{name}", "rb").read().rstrip(b"\0")))
    with open(f"{data}/{largest}", "r+b") as file:
        used = len(file.read().rstrip(b"\0"))
        file.seek(used // 2)
        byte = file.read(1)[0]
        file.seek(used // 2)
        file.write(bytes([byte ^ 4]))
    # All but the lock, in which each process writes its number.
    read = lambda: {name: open(f"{data}/{name}", "rb").read() for name in sorted(os.listdir(data)) if name != "lock"}
    contents = read()
    done = martlet("ctl", "journal", "check", data)
    assert done.returncode == 1 and "damage" in done.stdout, done.stdout
    findings = json.loads(martlet("ctl", "journal", "check", data, "--json").stdout)["findings"]
    assert any(finding["isDamage"] and finding["from"] <= used // 2 < finding["to"] for finding in findings), findings
    assert read() == contents


def test_compact_keeps_what_lives_and_gives_back_the_rest(serve, data):
    server = serve("--data", data, "--set", "journal.segmentBytes=4MiB")
    subscribe(server, "t")
    subscribe(server, "gone", client="drained")
    body = b"x" * 100_000
    with Connection(server) as client:
        client.connect(clean=True)
        for number in range(200):
            client.publish("gone", body, qos=1, identifier=1)
            client.expect(PUBACK)
            if number % 20 == 0:
                client.publish("t", str(number).encode(), qos=1, identifier=1)
                client.expect(PUBACK)
    with Connection(server) as client:
        client.connect(client="drained", clean=True)  # a clean session: what waited for the old one is settled
    assert server.stop()[0] == 0
    done = martlet("ctl", "journal", "compact", data, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["bytesAfter"] <= 40 << 20
    assert not [name for name in os.listdir(data) if name.startswith("spare-")]
    assert martlet("ctl", "journal", "check", data).returncode == 0
    assert json.loads(martlet("ctl", "journal", "stats", data, "--json").stdout)["messages"] == 10
    again = serve("--data", data)
    assert waiting(again, "t") == list(range(0, 200, 20))


@pytest.mark.parametrize("command", ["check", "stats", "compact"])
def test_what_is_no_journal_and_what_is_in_use_is_refused(command, serve, data, tmp_path):
    done = martlet("ctl", "journal", command, str(tmp_path / "nowhere"))
    assert done.returncode == 64 and "no such file or directory" in sentence(done)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    done = martlet("ctl", "journal", command, str(tmp_path / "other"))
    assert done.returncode == 64 and sorted(os.listdir(tmp_path / "other")) == ["file"], sentence(done)
    assert martlet("ctl", "journal", command).returncode == 64
    server = serve("--data", data)
    done = martlet("ctl", "journal", command, data)
    assert done.returncode == 69 and f"in use by process {server.process.pid}" in sentence(done)


def test_memory_has_no_control_socket(serve, tmp_path):
    serve("--data", "none")
    assert martlet("ctl", "status", "--data", str(tmp_path)).returncode == 69
