"""The library's sockets (`interop-zmq`, Tests/Interop/ZMQPeer) with each mechanism against libzmq: our server and our client, on either side of bind, over
tcp and ipc; and who is turned away, with the event that says so."""

import contextlib

import pytest
import zmq
import zmq.utils.z85

from zmq_peers import PEERS, Gate, Ours, wildcard

OURS, THEIRS, OTHER = (tuple(key.decode() for key in zmq.curve_keypair()) for _ in range(3))
# With the mechanism in libzmq's hands, and in ours.
CURVE_CLIENT = {"curve_publickey": THEIRS[0].encode(), "curve_secretkey": THEIRS[1].encode(), "curve_serverkey": OURS[0].encode()}
CURVE_SERVER = {"curve_server": 1, "curve_publickey": THEIRS[0].encode(), "curve_secretkey": THEIRS[1].encode()}
MECHANISMS = {
    "null": ([], {}),
    "null-asked": (["ask=yes"], {}),
    "plain-server": (["plain-server=ann:secret"], {"plain_username": b"ann", "plain_password": b"secret"}),
    "plain-client": (["plain-client=ann:secret"], {"plain_server": 1}),
    "curve-server": ([f"curve-server={OURS[1]}", f"allow={THEIRS[0]}"], CURVE_CLIENT),
    "curve-client": ([f"curve-client={OURS[1]}", f"server={THEIRS[0]}"], CURVE_SERVER),
}
# Our words, libzmq's options, and what our event says.
REFUSED = {
    "null-asked": (["ask=no"], {}, "its credentials are not accepted"),
    "plain-server": (["plain-server=ann:secret"], {"plain_username": b"ann", "plain_password": b"guess"}, "its credentials are not accepted"),
    "plain-client": (["plain-client=ann:guess"], {"plain_server": 1}, "the peer refused us: 400"),
    "curve-server": ([f"curve-server={OURS[1]}", f"allow={OTHER[0]}"], CURVE_CLIENT, "its credentials are not accepted"),
    "curve-client": ([f"curve-client={OTHER[1]}", f"server={THEIRS[0]}"], CURVE_SERVER, "the peer refused us: 400"),
    "another server": ([f"curve-client={OURS[1]}", f"server={OTHER[0]}"], CURVE_SERVER, "handshake"),
    "another mechanism": ([], {"plain_username": b"ann", "plain_password": b"secret"}, "mechanism"),
}


@pytest.fixture(params=PEERS)
def join(request, tmp_path):
    """Makes libzmq's socket and ours, one of them bound."""
    gates = []
    with contextlib.ExitStack() as ends:

        def join(theirs, ours, words, options, transport="tcp", binds="ours"):
            peer = PEERS[request.param]
            if not gates and ("plain_server" in options or "curve_server" in options):
                gates.append(Gate(peer, key=zmq.utils.z85.decode(OURS[0].encode())))
                ends.callback(gates[0].close)
            socket = ends.enter_context(peer(theirs, **options))
            if binds == "ours":
                running = ends.enter_context(Ours(ours, f"bind={wildcard(transport, tmp_path)}", *words))
                socket.connect(running.endpoint())
            else:
                running = ends.enter_context(Ours(ours, f"connect={socket.bind(wildcard(transport, tmp_path))}", "retry=50", *words))
            return socket, running

        yield join


@pytest.fixture(params=["ours", "theirs"])
def binds(request):
    return request.param


@pytest.fixture(params=["tcp", "ipc"])
def transport(request):
    return request.param


@pytest.mark.parametrize("name", MECHANISMS)
def test_messages_of_all_sizes_go_both_ways(join, name, transport, binds):
    words, options = MECHANISMS[name]
    pair, running = join("pair", "pair", words, options, transport, binds)
    for size in [0, 1, 255, 256, 70_000, 900_000]:
        message = [b"head", b"x" * size, b""]
        pair.send(*message)
        assert pair.receive() == message
    running.says("event handshakeSucceeded")


@pytest.mark.parametrize("name", MECHANISMS)
def test_push_and_pull_keep_their_order(join, name, transport, binds):
    words, options = MECHANISMS[name]
    pull, running = join("pull", "push", ["count=500", *words], options, transport, binds)
    for number in range(500):
        assert pull.receive() == [b"%d" % number]
    assert running.wait() == 0
    push, running = join("push", "pull", ["count=500", *words], options, transport, binds)
    for number in range(500):
        push.send(b"%d" % number)
    assert running.wait() == 0
    assert bytes(running.output).split() == [b"%d" % number for number in range(500)]


@pytest.mark.parametrize("name", MECHANISMS)
def test_subscriptions_reach_the_publisher(join, name, transport, binds):
    words, options = MECHANISMS[name]
    sub, running = join("sub", "pub", ["count=50", "fill=300", "every=2", *words], {"subscribe": b"4", **options}, transport, binds)
    assert sub.receive()[0].startswith(b"4")
    pub, running = join("xpub", "sub", ["count=3", "topic=a", *words], options, transport, binds)
    assert pub.receive() == [b"\1a"]
    for topic in [b"a1", b"b1", b"a2", b"", b"a3"]:
        pub.send(topic)
    assert running.wait() == 0
    assert bytes(running.output).split() == [b"a1", b"a2", b"a3"]


@pytest.mark.parametrize("name", MECHANISMS)
def test_requests_and_replies(join, name, transport, binds):
    words, options = MECHANISMS[name]
    rep, running = join("rep", "req", ["count=50", *words], options, transport, binds)
    for number in range(50):
        assert rep.receive() == [b"%d" % number]
        rep.send(b"re %d" % number)
    assert running.wait() == 0
    assert bytes(running.output).splitlines() == [b"re %d" % number for number in range(50)]
    req, running = join("req", "rep", words, options, transport, binds)
    for number in range(50):
        req.send(b"%d" % number, b"two")
        assert req.receive() == [b"%d" % number, b"two"]


@pytest.mark.parametrize("name", REFUSED)
def test_who_is_not_let_in_is_turned_away_with_an_event(join, name, transport, binds):
    words, options, reason = REFUSED[name]
    # Both are sure to say what they are: libzmq's client of another mechanism leaves by itself.
    pair, running = join("pair", "pair", words, options, transport, binds)
    found = running.says(r"event handshakeFailed\((.*)\)\n")
    assert reason in found[1] or name.startswith("another")
    assert "handshakeSucceeded" not in running.errors.decode()
    assert pair.events() & zmq.POLLIN == 0
