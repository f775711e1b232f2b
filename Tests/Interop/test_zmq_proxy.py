"""`martlet zmq proxy` between sockets of libzmq, and `martlet zmq` with PLAIN and CURVE and libzmq at the other end."""

import re
import stat
import struct
import threading
import time

import pytest
import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from brokers import martlet
from test_zmq_tools import Tool, peer, tool, wildcard  # noqa: F401  (fixtures)
from zmq_peers import PEERS, SECONDS


class Proxy(Tool):
    def __init__(self, *words):
        super().__init__("proxy", *words)

    def place(self, name):
        return self.wait_error(rb"listening zmq " + name.encode() + rb" (\S+)\n")[1].decode()

    def end(self):
        self.process.terminate()
        assert self.process.wait(SECONDS) == 0, self.errors.decode()
        return self.wait_error(rb"frontend to backend: (\d+) messages, (\d+) bytes; back: (\d+) messages, (\d+) bytes\n").groups()


@pytest.fixture
def proxy():
    made = []

    def make(*words):
        made.append(Proxy(*words))
        return made[-1]

    yield make
    for program in made:
        program.kill()


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_clients_reach_workers(proxy, name, transport, tmp_path):
    running = proxy("--frontend", wildcard(transport, tmp_path), "--backend", wildcard(transport, tmp_path))
    front, back = running.place("frontend"), running.place("backend")
    clients, workers, requests = 4, 3, 50
    failures = []

    def work(number):
        with PEERS[name]("rep") as rep:
            rep.connect(back)
            while (request := rep.receive()) != [b"end"]:
                rep.send(b"%d" % number, *request)
            rep.send(b"ended")

    def ask(client):
        try:
            with PEERS[name]("req") as req:
                req.connect(front)
                for number in range(requests):
                    req.send(b"%d" % client, b"%d" % number)
                    assert req.receive()[1:] == [b"%d" % client, b"%d" % number]
        except Exception as error:  # a thread's failure is the test's
            failures.append(error)

    serving = [threading.Thread(target=work, args=[number]) for number in range(workers)]
    asking = [threading.Thread(target=ask, args=[client]) for client in range(clients)]
    for thread in serving + asking:
        thread.start()
    for thread in asking:
        thread.join()
    # Each worker is asked to end once: requests are dealt in turn.
    for _ in range(workers):
        with PEERS[name]("req") as req:
            req.connect(front)
            req.send(b"end")
            assert req.receive() == [b"ended"]
    for thread in serving:
        thread.join()
    assert failures == []
    count = b"%d" % (clients * requests + workers)
    assert running.end()[::2] == (count, count)


@pytest.mark.parametrize("name", PEERS)
def test_subscriptions_reach_publishers(proxy, name):
    running = proxy("--types", "forwarder", "--frontend", "tcp://127.0.0.1:*", "--backend", "tcp://127.0.0.1:*")
    front, back = running.place("frontend"), running.place("backend")
    with PEERS[name]("sub", subscribe=b"weather") as sub, PEERS[name]("xpub") as early, PEERS[name]("xpub") as late:
        early.connect(front)
        sub.connect(back)
        assert early.receive() == [b"\1weather"]
        early.send(b"news", b"0")
        early.send(b"weather", b"1")
        assert sub.receive() == [b"weather", b"1"]
        late.connect(front)
        assert late.receive() == [b"\1weather"]
        late.send(b"weather", b"2")
        assert sub.receive() == [b"weather", b"2"]
        sub.set("unsubscribe", b"weather")
        sub.nudge()
        assert early.receive() == [b"\0weather"] and late.receive() == [b"\0weather"]
    running.end()


@pytest.mark.parametrize("name", PEERS)
def test_work_passes_and_is_captured(proxy, name):
    with PEERS[name]("push") as push, PEERS[name]("sub", subscribe=b"") as log, PEERS[name]("pull") as pull:
        place = push.bind("tcp://127.0.0.1:*")
        running = proxy("--types", "pull/push", "--frontend-connect", place, "--backend", "tcp://127.0.0.1:*", "--capture", "tcp://127.0.0.1:*")
        log.connect(running.place("capture"))
        pull.connect(running.place("backend"))
        # The copies begin when the subscription has come.
        early = [[b"there?"]]
        log.set("rcvtimeo", 20)
        while True:
            push.send(b"there?")
            assert pull.receive() == [b"there?"]
            try:
                assert log.receive() in early
                break
            except (zmq.Again, OSError):
                log.nudge()
        log.set("rcvtimeo", SECONDS * 1000)
        for number in range(100):
            push.send(b"%d" % number, b"x" * number)
        for number in range(100):
            assert pull.receive() == [b"%d" % number, b"x" * number]
        got = log.receive()
        while got in early:
            got = log.receive()
        for number in range(100):
            assert got == [b"%d" % number, b"x" * number]
            if number < 99:
                got = log.receive()
    running.end()


def test_it_is_steered(proxy, tmp_path):
    control = f"ipc://{tmp_path}/control"
    running = proxy("--types", "streamer", "--frontend", "tcp://127.0.0.1:*", "--backend", "tcp://127.0.0.1:*", "--control", control)
    running.place("control")
    with PEERS["pyzmq"]("req") as steer, PEERS["pyzmq"]("push") as push, PEERS["pyzmq"]("pull", rcvtimeo=100) as pull:
        steer.connect(control)
        push.connect(running.place("frontend"))
        pull.connect(running.place("backend"))

        def ask(word):
            steer.send(word)
            return steer.receive()

        assert ask(b"PAUSE") == [b""]
        push.send(b"12345")
        with pytest.raises(zmq.Again):
            pull.receive()
        assert ask(b"RESUME") == [b""]
        pull.set("rcvtimeo", SECONDS * 1000)
        assert pull.receive() == [b"12345"]
        assert [struct.unpack("<Q", frame)[0] for frame in ask(b"STATISTICS")] == [1, 5, 0, 0, 0, 0, 1, 5]
        assert ask(b"what") == [b"unknown command"]
        assert ask(b"TERMINATE") == [b""]
    assert running.process.wait(SECONDS) == 0


@pytest.mark.parametrize(
    "words, text",
    [
        (["--frontend", "tcp://127.0.0.1:*"], "say where the backend is"),
        (["--types", "router", "--frontend", "ipc://@a", "--backend", "ipc://@b"], "two of dealer"),
        (["--types", "queue/none", "--frontend", "ipc://@a", "--backend", "ipc://@b"], "two of dealer"),
        (["--frontend", "nonsense", "--backend", "ipc://@b"], "has no scheme"),
        (["--frontend", "wss://127.0.0.1:*/", "--backend", "ipc://@b"], "needs --tls-cert and --tls-key"),
    ],
)
def test_what_makes_no_proxy_is_said(words, text):
    done = martlet("zmq", "proxy", *words)
    assert done.returncode == 64 and text in done.stderr and len(done.stderr.splitlines()) == 1


def test_sockets_that_do_not_fit_are_said():
    done = martlet("zmq", "proxy", "--types", "pull/pull", "--frontend", "ipc://@martlet-a", "--backend", "ipc://@martlet-b")
    assert done.returncode == 1 and "nothing goes through a proxy between PULL and PULL" in done.stderr


def test_why_a_side_reaches_nobody_is_said_once(proxy):
    running = proxy("--frontend-connect", "tcp://127.0.0.1:9", "--backend", "tcp://127.0.0.1:*")
    running.wait_error(rb"zmq proxy frontend: tcp://127.0.0.1:9: .*refused.*; trying again\n")
    time.sleep(0.5)
    running.end()
    assert running.errors.count(b"trying again") == 1


# Security


@pytest.fixture
def context():
    """One of its own: an authenticator is for all sockets of a context."""
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def authenticator(context):
    running = ThreadAuthenticator(context)
    running.start()
    yield running
    running.stop()


def libzmq(context, kind, **options):
    socket = context.socket(kind)
    socket.linger, socket.rcvtimeo, socket.sndtimeo = 0, SECONDS * 1000, SECONDS * 1000
    for name, value in options.items():
        setattr(socket, name, value)
    return socket


@pytest.fixture
def keys(tmp_path):
    """Those of a server and of a client, made by us and read by pyzmq, and the other way round."""
    assert martlet("zmq", "keygen", str(tmp_path / "server")).returncode == 0
    zmq.auth.create_certificates(tmp_path, "client")
    pair = {name: zmq.auth.load_certificate(tmp_path / f"{name}.key_secret") for name in ("server", "client")}
    (tmp_path / "known").write_text("# who may\n" + pair["client"][0].decode() + "\n")
    return tmp_path, pair


def test_keys_are_files_for_this_user_and_never_overwritten(tmp_path):
    name = str(tmp_path / "mine")
    assert martlet("zmq", "keygen", name).returncode == 0
    public, secret = zmq.auth.load_certificate(f"{name}.key_secret")
    assert zmq.curve_public(secret) == public and zmq.auth.load_certificate(f"{name}.key") == (public, None)
    assert stat.S_IMODE((tmp_path / "mine.key_secret").stat().st_mode) == 0o600
    again = martlet("zmq", "keygen", name)
    assert again.returncode == 1 and len(again.stderr.splitlines()) == 1
    assert zmq.auth.load_certificate(f"{name}.key_secret") == (public, secret)


def test_keys_go_to_stdout():
    text = martlet("zmq", "keygen").stdout
    public, secret = re.fullmatch(r'public-key = "(.{40})"\nsecret-key = "(.{40})"\n', text).groups()
    assert zmq.curve_public(secret.encode()) == public.encode()


def test_a_curve_client(keys, context, authenticator, tool):
    folder, pair = keys
    authenticator.configure_curve(domain="*", location=str(folder))
    with libzmq(context, zmq.PULL, curve_server=True, curve_publickey=pair["server"][0], curve_secretkey=pair["server"][1]) as pull:
        place = f"tcp://127.0.0.1:{pull.bind_to_random_port('tcp://127.0.0.1')}"
        done = martlet("zmq", "push", "--connect", place, "--curve-server", str(folder / "server.key"), "--curve-keys", str(folder / "client.key_secret"), "-m", "sealed")
        assert done.returncode == 0 and pull.recv() == b"sealed"
        environment = {"MARTLET_ZMQ_SECRET_KEY": pair["client"][1].decode()}
        done = martlet("zmq", "push", "--connect", place, "--curve-server", pair["server"][0].decode(), "-m", "by environment", **environment)
        assert done.returncode == 0 and pull.recv() == b"by environment"


def test_a_curve_server(keys, context, tool):
    folder, pair = keys
    running = tool("pull", "--bind", "tcp://127.0.0.1:*", "--curve-keys", str(folder / "server.key_secret"), "--curve-clients", str(folder / "known"), "-n", 1)
    place = running.endpoint()
    stranger = zmq.curve_keypair()
    for public, secret in [stranger, pair["client"]]:
        with libzmq(context, zmq.PUSH, curve_serverkey=pair["server"][0], curve_publickey=public, curve_secretkey=secret) as push:
            push.connect(place)
            push.send(b"known" if public != stranger[0] else b"stranger")
            if public != stranger[0]:
                assert running.wait_lines(1) == [b"known"]
    running.end()


def test_a_plain_client_and_server(context, authenticator, tool, tmp_path):
    authenticator.configure_plain(domain="*", passwords={"anna": "se:cret"})
    with libzmq(context, zmq.PULL, plain_server=True) as pull:
        place = f"tcp://127.0.0.1:{pull.bind_to_random_port('tcp://127.0.0.1')}"
        for words, environment in [(["-P", "se:cret"], {}), ([], {"MARTLET_ZMQ_PASSWORD": "se:cret"})]:
            done = martlet("zmq", "push", "--connect", place, "-u", "anna", *words, "-m", "hello", **environment)
            assert done.returncode == 0 and pull.recv() == b"hello"
    (tmp_path / "users").write_text("# people\nanna:se:cret\n\nbert:other\n")
    running = tool("rep", "--bind", "tcp://127.0.0.1:*", "--plain-users", str(tmp_path / "users"), "-m", "in", "-n", 1)
    place = running.endpoint()
    for password in [b"wrong", b"se:cret"]:
        with libzmq(context, zmq.REQ, plain_username=b"anna", plain_password=password) as req:
            req.connect(place)
            req.rcvtimeo = SECONDS * 1000 if password == b"se:cret" else 300
            req.send(password)
            if password == b"wrong":
                with pytest.raises(zmq.Again):
                    req.recv()
            else:
                assert req.recv() == b"in"
    assert running.wait_lines(1) == [b"se:cret"]
    running.end()


@pytest.mark.parametrize(
    "words, text",
    [
        (["-u", "a", "--curve-server", "x"], "exclude each other"),
        (["-P", "x"], "-P without -u"),
        (["--curve-server", "x"], "cannot read x"),
        (["--curve-clients", "any"], "a server needs its keys"),
        (["--plain-users", "/nonexistent"], "cannot read /nonexistent"),
        (["--plain-users", "x", "-u", "y"], "PLAIN's server"),
    ],
)
def test_what_is_no_proof_is_said(words, text):
    done = martlet("zmq", "push", "--connect", "tcp://127.0.0.1:9", *words)
    assert done.returncode in (1, 64) and text in done.stderr and len(done.stderr.splitlines()) == 1
