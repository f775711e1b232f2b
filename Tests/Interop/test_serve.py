"""`martlet serve` as a process: its options, its lines, its exit codes."""

import re
import signal
import socket

import pytest

import brokers
from brokers import martlet
from raw import DISCONNECT, Connection


def one_sentence(done):
    """The error on stderr: one line, nothing of our insides."""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("martlet: "), done.stderr
    return lines[0]


def test_lines_at_start(serve):
    server = serve(listen=("mqtt://127.0.0.1:0", "mqtt://127.0.0.1:0"))
    ports = re.findall(r"listening mqtt 127\.0\.0\.1:(\d+)", "\n".join(server.lines))
    assert len(set(ports)) == 2 and "0" not in ports
    for port in ports:
        server.port = int(port)
        with Connection(server) as client:
            assert client.connect() == 0


def test_ipv6_and_unix(serve, tmp_path):
    path = tmp_path / "martlet.sock"
    server = serve(listen=("mqtt://[::1]:0", f"mqtt+unix://{path}"))
    port = int(re.search(r"listening mqtt \[::1\]:(\d+)", "\n".join(server.lines)).group(1))
    with socket.create_connection(("::1", port), timeout=5):
        pass
    with Connection(server, path=str(path)) as client:
        assert client.connect() == 0
        assert client.subscribe("a") == 0
        client.publish("a", b"x")
        assert client.message() == ("a", b"x", 0)
    assert server.stop()[0] == 0
    # What a clean end leaves behind, or a crash, must not stop the next start.
    serve(listen=(f"mqtt+unix://{path}",))


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loops", brokers.LOOPS)
def test_a_signal_ends_cleanly_and_tells_clients(serve, with_signal, loops):
    server = serve(loops=loops)
    with Connection(server) as old, Connection(server) as new, Connection(server):
        assert old.connect(version=4) == 0
        assert new.connect(version=5) == 0
        code, seconds = server.stop(with_signal)
        assert code == 0 and seconds < brokers.GRACE_SECONDS
        old.seconds_until_closed(within=1)
        new.seconds_until_closed(within=1)
        assert new.farewell[0] >> 4 == DISCONNECT and new.farewell[2] == 0x8B
    with pytest.raises(ConnectionRefusedError):
        Connection(server)


def test_a_client_that_never_reads_cannot_hold_the_end_up(serve):
    server = serve("--grace", "2s")
    with Connection(server, receive_buffer=4096) as stuck, Connection(server) as publisher:
        assert stuck.connect(version=5) == 0 and stuck.subscribe("a") == 0
        assert publisher.connect() == 0
        for _ in range(200):
            publisher.publish("a", b"x" * 16_384)
        code, seconds = server.stop()
        assert code == 0 and seconds < 4


def test_a_port_in_use_is_one_sentence(serve):
    server = serve()
    done = martlet("serve", "--listen", f"mqtt://127.0.0.1:{server.port}")
    assert done.returncode == 1
    sentence = one_sentence(done)
    assert f"127.0.0.1:{server.port}" in sentence and "in use" in sentence


def test_a_server_that_cannot_bind_everything_leaves_nothing_behind(serve, tmp_path):
    server, path = serve(), tmp_path / "socket"
    done = martlet("serve", "--listen", f"mqtt+unix://{path}", "--listen", f"mqtt://127.0.0.1:{server.port}")
    assert done.returncode == 1 and "in use" in one_sentence(done) and not path.exists()


def test_an_address_of_another_machine_is_one_sentence():
    done = martlet("serve", "--listen", "mqtt://192.0.2.1:0", "--allow-anonymous")
    assert done.returncode == 1
    assert "192.0.2.1" in one_sentence(done)


@pytest.mark.parametrize(
    "words, part",
    [
        (["--lisen", "x"], 'did you mean "--listen"?'),
        (["--listen", "mqtt//127.0.0.1"], "--listen: "),
        (["--listen", "zmq://127.0.0.1"], "does not serve zmq yet"),
        (["--listen", "mqtt://127.0.0.1?qeue=x"], "unknown option"),
        (["--listen", "mqtt://0.0.0.0:0"], "--allow-anonymous"),
        (["--loops", "0"], "--loops: "),
        (["--loops", "many"], "--loops: "),
        (["--log-level", "loud"], "--log-level: "),
        (["--grace", "10"], "--grace: "),
        (["--user", "alice"], "NAME:PASSWORD"),
        (["--set", "mqtt.paketSizeMax=1MiB"], 'did you mean "mqtt.packetSizeMax"?'),
        (["--set", "mqtt.packetSizeMax=huge"], "mqtt.packetSizeMax: "),
        (["--config", "/nonexistent/martlet.yaml"], "/nonexistent/martlet.yaml: "),
        (["--data", ""], "--data: "),
        (["--set", "journal.sync=often"], "always, interval, never"),
        (["surplus"], "unexpected"),
    ],
)
def test_a_wrong_option_ends_with_64(words, part):
    for check in ([], ["--check"]):
        done = martlet("serve", *words, *check)
        assert done.returncode == 64
        assert part in one_sentence(done)
        assert done.stdout == ""


def test_a_directory_that_cannot_be_made_is_one_sentence():
    done = martlet("serve", "--listen", "mqtt://127.0.0.1:0", "--data", "/proc/none")
    assert done.returncode == 1
    assert "cannot make /proc/none: no such file or directory" in one_sentence(done)


@pytest.mark.parametrize(
    "settings, promise",
    [
        ([], "acknowledged means on disk (fdatasync)"),
        (["journal.sync=interval", "journal.syncInterval=500ms"], "acknowledged means written; synced every 500ms: a power cut may lose what is younger"),
        (["journal.sync=never"], "the system decides when it is on disk: a power cut may lose acknowledged messages"),
    ],
)
def test_what_is_promised_is_said_at_start(serve, tmp_path, settings, promise):
    words = [word for setting in settings for word in ("--set", setting)]
    server = serve("--data", str(tmp_path / "data"), *words)
    assert [line for line in server.lines if line.startswith(f"storage: {tmp_path}/data; ") and line.endswith(promise)], server.lines
    assert [line for line in server.lines if line.startswith("memory: bodies of queued messages may take ")]


def test_check_validates_and_prints_the_listeners(tmp_path):
    config = tmp_path / "martlet.yaml"
    config.write_text("listen:\n  - mqtt://127.0.0.1:2883\nloops: 2\nmqtt:\n  packetSizeMax: 64KiB\n")
    done = martlet("serve", "--check", "--config", str(config))
    assert (done.returncode, done.stdout.splitlines()) == (0, ["configuration ok", "listen mqtt://127.0.0.1:2883"])
    config.write_text("listen:\n  - mqtt://127.0.0.1:2883\nmqtt:\n  packetsize: 64KiB\n")
    done = martlet("serve", "--check", "--config", str(config))
    assert done.returncode == 64
    assert f'{config}:4: unknown key "mqtt.packetsize"; did you mean "mqtt.packetSizeMax"?' in one_sentence(done)


def test_the_environment_configures(tmp_path):
    config = tmp_path / "martlet.yaml"
    config.write_text("listen: mqtt://127.0.0.1:2883\n")
    done = martlet("serve", "--check", "--config", str(config), MARTLET_LISTEN="mqtt://127.0.0.1:2884,mqtt://127.0.0.1:2885")
    assert done.stdout.splitlines()[1:] == ["listen mqtt://127.0.0.1:2884", "listen mqtt://127.0.0.1:2885"]
    done = martlet("serve", "--check", MARTLET_LOOPS="none")
    assert done.returncode == 64 and "MARTLET_LOOPS: " in one_sentence(done)


@pytest.mark.parametrize("version, refusals", [(4, {4, 5}), (5, {0x86, 0x87})], ids=["v311", "v5"])
def test_with_users_only_theirs_are_let_in(serve, version, refusals):
    server = serve("--user", "alice:secret", "--user", "bob:with:colon")

    def answer(**credentials):
        with Connection(server) as client:
            code = client.connect(version=version, **credentials)
            if code:
                client.seconds_until_closed(within=5)
            return code

    assert answer(username="alice", password="secret") == 0
    assert answer(username="bob", password="with:colon") == 0
    for username, password in [("alice", "wrong"), ("alice", ""), ("alice", "secretx"), ("alice", "secre"), ("eve", "secret"), ("", "")]:
        assert answer(username=username, password=password) in refusals
    assert answer() in refusals
    assert not any("secret" in line for line in server.lines)


def test_without_users_any_credentials_are_taken(serve):
    with Connection(serve()) as client:
        assert client.connect(username="guest", password="guest") == 0


def test_connects_are_logged_once_and_messages_never(serve):
    server = serve()
    with Connection(server) as client:
        assert client.connect("meter-7") == 0
        for _ in range(50):
            client.publish("a", b"x")
        client.send(b"\xe0\0")
        client.seconds_until_closed(within=5)
    server.stop()
    about = [line for line in server.lines if "meter-7" in line]
    assert len(about) == 2, server.lines


def test_help_and_version():
    done = martlet("--help")
    assert done.returncode == 0 and "martlet serve" in done.stdout and done.stderr == ""
    for command in (["serve"], ["mqtt", "pub"], ["mqtt", "sub"]):
        done = martlet(*command, "--help")
        assert done.returncode == 0 and "examples:" in done.stdout and done.stderr == ""
    assert re.fullmatch(r"martlet \d+\.\d+\.\d+\n", martlet("--version").stdout)
    done = martlet("serv")
    assert done.returncode == 64 and 'did you mean "serve"?' in one_sentence(done)
