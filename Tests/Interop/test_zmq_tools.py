"""`martlet zmq …` with libzmq at the other end, on either side of bind: every pattern, tcp and ipc."""

import re
import signal
import time

import pytest

import brokers
from brokers import martlet
from programs import Program
from zmq_peers import PEERS, SECONDS, wildcard

TRANSPORTS = ["tcp", "tcp6", "ipc", "abstract"]


@pytest.fixture(params=PEERS)
def peer(request):
    """Makes sockets of libzmq, which are closed with the test."""
    made = []

    def make(kind, **options):
        made.append(PEERS[request.param](kind, **options))
        return made[-1]

    yield make
    for socket in made:
        socket.close()


class Tool(Program):
    """A running `martlet zmq`."""

    def __init__(self, role, *words):
        super().__init__(brokers.binary(), "zmq", role, *words)

    def endpoint(self):
        """Where it has bound itself."""
        return self.wait_error(rb"listening zmq (\S+)\n")[1].decode()

    def wait_error(self, pattern):
        return self._wait(lambda: re.search(pattern, bytes(self.errors)), SECONDS, pattern)

    def wait_lines(self, count, using=None):
        def is_there():
            if using:
                using.nudge()
            return self.output.count(b"\n") >= count

        self._wait(is_there, SECONDS, f"{count} lines")
        return bytes(self.output).split(b"\n")[:-1]

    def say(self, *lines):
        self.process.stdin.write(b"".join(line + b"\n" for line in lines))

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(SECONDS) == 0, self.errors.decode()


@pytest.fixture
def tool():
    made = []

    def make(role, *words):
        made.append(Tool(role, *map(str, words)))
        return made[-1]

    yield make
    for program in made:
        program.kill()


def joined(peer, tool, transport, folder, kind, role, *words, binds, **options):
    """libzmq's socket and the tool, with the one of them bound."""
    socket = peer(kind, **options)
    if binds == "tool":
        running = tool(role, "--bind", wildcard(transport, folder), *words)
        socket.connect(running.endpoint())
    else:
        running = tool(role, "--connect", socket.bind(wildcard(transport, folder)), *words)
    return socket, running


@pytest.fixture(params=["tool", "libzmq"])
def binds(request):
    return request.param


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


def test_pull(peer, tool, transport, binds, tmp_path):
    push, running = joined(peer, tool, transport, tmp_path, "push", "pull", "-n", 2001, binds=binds)
    for number in range(2000):
        push.send(b"%d" % number)
    push.send(b"a", b"", b"c" * 70_000)
    lines = running.wait_lines(2001)
    assert lines[:2000] == [b"%d" % number for number in range(2000)]
    assert lines[2000] == b"a\t\t" + b"c" * 70_000
    running.end()


def test_push(peer, tool, transport, binds, tmp_path):
    pull, running = joined(peer, tool, transport, tmp_path, "pull", "push", binds=binds)
    lines = [b"%d" % number for number in range(5000)] + [b"two\tframes", b"", b"x" * 300]
    running.say(*lines)
    for line in lines:
        assert pull.receive() == line.split(b"\t")
    running.end()


def test_push_leaves_only_when_all_has_arrived(peer, tool, tmp_path):
    pull = peer("pull")
    endpoint = pull.bind("tcp://127.0.0.1:*")
    done = martlet("zmq", "push", "--connect", endpoint, "-m", "last\twords", "-n", "1000")
    assert (done.returncode, done.stderr) == (0, "")
    for _ in range(1000):
        assert pull.receive() == [b"last", b"words"]


def test_sub(peer, tool, transport, binds, tmp_path):
    pub, running = joined(peer, tool, transport, tmp_path, "xpub", "sub", "--topic", "a", "--topic", "bc", "-n", 3, binds=binds)
    assert {pub.receive()[0], pub.receive()[0]} == {b"\1a", b"\1bc"}
    for topic in [b"b", b"a", b"x", b"abc", b"bcd"]:
        pub.send(topic, b"payload")
    assert running.wait_lines(3) == [b"a\tpayload", b"abc\tpayload", b"bcd\tpayload"]
    running.end()


def test_pub(peer, tool, transport, binds, tmp_path):
    sub, running = joined(peer, tool, transport, tmp_path, "sub", "pub", "--topic", "news", "-W", SECONDS, binds=binds, subscribe=b"new")
    running.say(b"first", b"second\tframe")
    assert sub.receive() == [b"news", b"first"]
    assert sub.receive() == [b"news", b"second", b"frame"]
    running.end()


def test_xpub_tells_of_subscriptions_and_their_end(peer, tool, transport, binds, tmp_path):
    sub, running = joined(peer, tool, transport, tmp_path, "sub", "xpub", binds=binds, subscribe=b"here")
    assert running.wait_lines(1, using=sub) == [b"\1here"]
    running.say(b"elsewhere", b"here\tnow")
    assert sub.receive() == [b"here", b"now"]
    sub.set("unsubscribe", b"here")
    assert running.wait_lines(2, using=sub)[1] == b"\0here"


def test_xsub_sends_upstream(peer, tool, transport, binds, tmp_path):
    pub, running = joined(peer, tool, transport, tmp_path, "xpub", "xsub", "--topic", "t", binds=binds)
    assert pub.receive() == [b"\1t"]
    running.say(b"up")
    assert pub.receive() == [b"up"]
    pub.send(b"t", b"down")
    assert running.wait_lines(1) == [b"t\tdown"]


def test_req(peer, tool, transport, binds, tmp_path):
    rep, running = joined(peer, tool, transport, tmp_path, "rep", "req", binds=binds)
    for number in range(20):
        running.say(b"%d\tframe" % number)
        assert rep.receive() == [b"%d" % number, b"frame"]
        rep.send(b"answer", b"%d" % number)
        assert running.wait_lines(number + 1)[number] == b"answer\t%d" % number
    running.end()


def test_rep(peer, tool, transport, binds, tmp_path):
    req, running = joined(peer, tool, transport, tmp_path, "req", "rep", "-m", "pong", "-n", 20, binds=binds)
    for number in range(20):
        req.send(b"ping", b"%d" % number)
        assert req.receive() == [b"pong"]
    assert running.wait_lines(20) == [b"ping\t%d" % number for number in range(20)]
    running.end()


def test_rep_answers_a_dealer_behind_its_envelope(peer, tool, tmp_path):
    dealer, running = joined(peer, tool, "tcp", tmp_path, "dealer", "rep", "-m", "yes", binds="tool")
    dealer.send(b"hop", b"", b"request")
    assert dealer.receive() == [b"hop", b"", b"yes"]
    assert running.wait_lines(1) == [b"request"]


def test_router(peer, tool, transport, binds, tmp_path):
    dealer, running = joined(peer, tool, transport, tmp_path, "dealer", "router", binds=binds, routing_id=b"worker")
    dealer.send(b"ready", b"")
    assert running.wait_lines(1) == [b"worker\tready\t"]
    running.say(b"nobody\tlost", b"worker\ttask\t7")
    assert dealer.receive() == [b"task", b"7"]


def test_dealer(peer, tool, transport, binds, tmp_path):
    router, running = joined(peer, tool, transport, tmp_path, "router", "dealer", "--routing-id", "me", binds=binds)
    running.say(b"\trequest")
    assert router.receive() == [b"me", b"", b"request"]
    router.send(b"me", b"", b"reply")
    assert running.wait_lines(1) == [b"\treply"]


def test_pair(peer, tool, transport, binds, tmp_path):
    pair, running = joined(peer, tool, transport, tmp_path, "pair", "pair", "-n", 1, binds=binds)
    running.say(b"to you")
    assert pair.receive() == [b"to you"]
    pair.send(b"to me")
    assert running.wait_lines(1) == [b"to me"]
    running.end()


def test_work_is_dealt_in_turn(peer, tool, tmp_path):
    ventilator = tool("push", "--bind", "tcp://127.0.0.1:*")
    workers = [peer("pull") for _ in range(3)]
    endpoint = ventilator.endpoint()
    for worker in workers:
        worker.connect(endpoint)
    time.sleep(0.5)
    ventilator.say(*[b"%d" % number for number in range(300)])
    got = [[int(worker.receive()[0]) for _ in range(100)] for worker in workers]
    assert sorted(sum(got, [])) == list(range(300))
    assert all(numbers == sorted(numbers) for numbers in got)


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_comes_again_is_found_again(name, tool, tmp_path):
    endpoint = f"ipc://{tmp_path}/again.sock"
    running = tool("sub", "--connect", endpoint)
    for number in range(5):
        with PEERS[name]("xpub") as pub:
            pub.bind(endpoint)
            assert pub.receive() == [b"\1"]
            pub.send(b"%d" % number)
            assert running.wait_lines(number + 1)[number] == b"%d" % number


def test_wss_by_flags(tool, certificates):
    """Ours at both ends: neither Debian's libzmq nor pyzmq's has WebSocket."""
    pull = tool("pull", "--bind", "wss://127.0.0.1:*/work", "-n", 2, "--tls-cert", certificates.path("server"), "--tls-key", certificates.key("server"))
    endpoint = pull.endpoint().replace("127.0.0.1", "localhost")
    tool("push", "--connect", endpoint, "-m", "never").wait_error(rb"the peer's certificate is not trusted")
    done = martlet("zmq", "push", "--connect", endpoint, "-m", "work", "-n", "2", "--cafile", certificates.authority)
    assert done.returncode == 0, done.stderr
    pull.end()
    assert bytes(pull.output) == b"work\n" * 2


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(tool, stop):
    running = tool("pull", "--bind", "tcp://127.0.0.1:*")
    running.endpoint()
    running.process.send_signal(stop)
    assert running.process.wait(SECONDS) == 0


@pytest.mark.parametrize(
    "words, code, text",
    [
        (["push"], 64, "--bind URL or --connect URL"),
        (["push", "--bind", "tcp://127.0.0.1"], 64, "it has no port"),
        (["push", "--connect", "smtp://x"], 64, "none of tcp, ipc, inproc"),
        (["pull", "--bind", "wss://127.0.0.1:*/"], 64, "needs --tls-cert and --tls-key"),
        (["pull", "--bind", "tcp://192.0.2.1:5000"], 1, "not an address of this machine"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(words, code, text):
    done = martlet("zmq", *words)
    assert done.returncode == code and text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_why_nobody_answers_is_said_once():
    done = martlet("zmq", "req", "--connect", "tcp://127.0.0.1:9", "-m", "x", "-W", "1")
    assert done.returncode == 69
    why, end = done.stderr.splitlines()
    assert "refused" in why and "timed out" in end
