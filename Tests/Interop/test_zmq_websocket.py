"""ws:// and wss:// (RFC 45, ZWS 2.0): what holds over tcp with each mechanism holds with a libzmq that has WebSocket (MARTLET_LIBZMQ_DRAFTS names it); and
with a WebSocket client that knows no mechanism, as those in browsers."""

import contextlib
import os

import pytest
import websockets.sync.client
import zmq
import zmq.utils.z85

from programs import SECONDS
from test_zmq_security import (  # noqa: F401: these are run here, too
    OURS,
    binds,
    test_messages_of_all_sizes_go_both_ways,
    test_push_and_pull_keep_their_order,
    test_requests_and_replies,
    test_subscriptions_reach_the_publisher,
    test_who_is_not_let_in_is_turned_away_with_an_event,
)
from zmq_peers import Drafts, Gate, Ours, wildcard

needs_drafts = pytest.mark.skipif(not os.environ.get("MARTLET_LIBZMQ_DRAFTS"), reason="MARTLET_LIBZMQ_DRAFTS names no libzmq with drafts")


@pytest.fixture(params=["ws"])
def transport(request):
    return request.param


@pytest.fixture
def join(tmp_path):
    """Makes libzmq's socket and ours, one of them bound."""
    if not os.environ.get("MARTLET_LIBZMQ_DRAFTS"):
        pytest.skip("MARTLET_LIBZMQ_DRAFTS names no libzmq with drafts")
    gates = []
    with contextlib.ExitStack() as ends:

        def join(theirs, ours, words, options, transport="ws", binds="ours"):
            if not gates and ("plain_server" in options or "curve_server" in options):
                gates.append(Gate(Drafts, key=zmq.utils.z85.decode(OURS[0].encode())))
                ends.callback(gates[0].close)
            socket = ends.enter_context(Drafts(theirs, **options))
            if binds == "ours":
                running = ends.enter_context(Ours(ours, f"bind={wildcard(transport, tmp_path)}", *words))
                socket.connect(running.endpoint())
            else:
                # The certificate is for that name of what libzmq calls [::ffff:127.0.0.1].
                endpoint = socket.bind(wildcard(transport, tmp_path)).replace("[::ffff:127.0.0.1]", "127.0.0.1")
                running = ends.enter_context(Ours(ours, f"connect={endpoint}", "retry=50", *words))
            return socket, running

        yield join


def test_messages_go_over_tls(join, certificates, binds):
    """libzmq's server shows the certificate, or ours does; each client checks it."""
    certificate, key = certificates.path("server"), certificates.key("server")
    read = lambda path: open(path, "rb").read()
    if binds == "ours":
        words, options = [f"certificate={certificate}", f"key={key}"], {"wss_trust": read(certificates.authority), "wss_hostname": b"localhost"}
    else:
        words, options = [f"trust={certificates.authority}"], {"wss_certificate": read(certificate), "wss_key": read(key)}
    pair, running = join("pair", "pair", words, options, "wss", binds)
    for size in [0, 1, 255, 256, 70_000, 900_000]:
        message = [b"head", b"x" * size, b""]
        pair.send(*message)
        assert pair.receive() == message
    running.says("event handshakeSucceeded")


class Plain:
    """A WebSocket that speaks ZWS 2.0 without a mechanism: flags, then a frame."""

    def __init__(self, endpoint, identity=b"", origin=None):
        self._connecting = websockets.sync.client.connect(
            endpoint, subprotocols=["ZWS2.0"], origin=origin, max_size=None, open_timeout=SECONDS)
        self._socket = self._connecting.__enter__()
        assert self._socket.subprotocol == "ZWS2.0"
        self._socket.send(b"\0" + identity)
        self.peer = self._socket.recv(SECONDS)

    def send(self, *frames):
        for index, frame in enumerate(frames):
            self._socket.send(bytes([index + 1 < len(frames)]) + frame)

    def receive(self):
        frames = []
        while True:
            message = self._socket.recv(SECONDS)
            frames.append(message[1:])
            if message[0] == 0:
                return frames

    def ping(self):
        assert self._socket.ping().wait(SECONDS)

    def close(self):
        self._connecting.__exit__(None, None, None)


@contextlib.contextmanager
def bound(*words):
    with Ours(words[0], "bind=ws://127.0.0.1:*", *words[1:]) as running:
        yield running, running.endpoint()


def test_a_client_without_a_mechanism_asks_and_is_answered():
    with bound("rep") as (_, endpoint), contextlib.closing(Plain(endpoint + "/anywhere", b"me")) as client:
        assert client.peer == b"\0"
        for size in [0, 1, 125, 126, 65_535, 65_536, 900_000]:
            client.send(b"", b"x" * size, b"two")
            assert client.receive() == [b"", b"x" * size, b"two"]
        client.ping()


def test_a_client_without_a_mechanism_subscribes():
    with bound("pub", "count=200", "every=5") as (_, endpoint), contextlib.closing(Plain(endpoint)) as client:
        client.send(b"\x01" + b"1")
        assert all(client.receive()[0].startswith(b"1") for _ in range(20))
        client.send(b"\x00" + b"1")


def test_clients_without_a_mechanism_push_and_leave():
    with bound("pull", "count=100") as (running, endpoint):
        for turn in range(10):
            with contextlib.closing(Plain(endpoint)) as client:
                for number in range(10):
                    client.send(b"%d" % (10 * turn + number))
        assert running.wait() == 0
        assert sorted(map(int, running.output.split())) == list(range(100))
        assert "handshakeFailed" not in running.errors.decode()


def test_a_page_of_elsewhere_is_refused():
    with bound("rep") as (_, endpoint):
        with pytest.raises(websockets.exceptions.InvalidStatus) as refusal:
            Plain(endpoint, origin="http://evil.example")
        assert refusal.value.response.status_code == 403
        Plain(endpoint, origin="http://localhost:8000").close()
