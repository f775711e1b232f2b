"""Connections between the library's sockets (`interop-zmq`, Tests/Interop/ZMQPeer) and libzmq's that are cut at random bytes and times, by a relay between
them. `ZMQ_CUTS` says how often: 40 by default; 1,000 is the long run."""

import contextlib
import os
import random
import socket
import threading
import time

import pytest
import zmq

from zmq_peers import PEERS, Ours

CUTS = int(os.environ.get("ZMQ_CUTS", "40"))
SECONDS = 30 + CUTS


class Cutter:
    """A TCP relay that ends each connection after a random number of bytes or time, with a FIN or a reset, until it has done so `times` times."""

    def __init__(self, target, times, seed):
        self._target, self._left, self._random = target, times, random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cuts = 0
        self._ends = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ends:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            isLast = self.cuts >= self._left
            # Some in the handshake (NULL's has some 100 bytes each way), most in the traffic.
            bytes_left = None if isLast else self._random.choice([self._random.randrange(1, 150), self._random.randrange(150, 30_000)])
            seconds = None if isLast else self._random.uniform(0.001, 0.15)
            threading.Thread(target=self._relay, args=(client, server, bytes_left, seconds), daemon=True).start()

    def _relay(self, client, server, bytes_left, seconds):
        deadline = None if seconds is None else time.monotonic() + seconds
        left = [bytes_left]
        ended = threading.Event()

        def copy(one, other):
            with contextlib.suppress(OSError):
                while chunk := one.recv(4096 if left[0] is None else max(1, min(4096, left[0]))):
                    other.sendall(chunk)
                    if left[0] is not None:
                        left[0] -= len(chunk)
                        if left[0] <= 0:
                            break
            ended.set()

        for ends in [(client, server), (server, client)]:
            threading.Thread(target=copy, args=ends, daemon=True).start()
        ended.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        if bytes_left is not None:
            self.cuts += 1
        for end in (client, server):
            with contextlib.suppress(OSError):
                if self._random.random() < 0.5 and bytes_left is not None:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.shutdown(socket.SHUT_RDWR)
        for end in (client, server):
            end.close()

    def end(self):
        self._ends = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture(params=PEERS)
def ends(request):
    with contextlib.ExitStack() as stack:
        stack.peer = PEERS[request.param]
        yield stack


def cutter(ends, endpoint, seed):
    made = Cutter(int(endpoint.rsplit(":", 1)[1]), CUTS, seed)
    ends.callback(made.end)
    return made


def numbers(frames):
    return [int(frame) for frame in frames]


@pytest.mark.parametrize("who", ["ours pushes", "libzmq pushes"])
def test_push_and_pull_across_cuts_double_nothing(ends, who):
    """What a cut loses was in the kernel's and the relay's buffers, or read by libzmq and not yet received, which it throws away with the connection;
    nothing that has arrived comes again."""
    received = []
    if who == "ours pushes":
        pull = ends.enter_context(ends.peer("pull", rcvtimeo=100))
        relay = cutter(ends, pull.bind("tcp://127.0.0.1:*"), 1)
        running = ends.enter_context(Ours("push", f"connect=tcp://127.0.0.1:{relay.port}", "retry=1", "every=1"))
        deadline = time.monotonic() + SECONDS
        after = 0
        while after < 50:
            assert time.monotonic() < deadline, (relay.cuts, len(received))
            with contextlib.suppress(OSError, zmq.Again):
                received.append(pull.receive()[0])
                after += relay.cuts >= CUTS
    else:
        running = ends.enter_context(Ours("pull", "bind=tcp://127.0.0.1:*"))
        relay = cutter(ends, running.endpoint(), 2)
        push = ends.enter_context(ends.peer("push", reconnect_ivl=1, sndtimeo=100))
        push.connect(f"tcp://127.0.0.1:{relay.port}")
        number, deadline, after = 0, time.monotonic() + SECONDS, 0
        while after < 50:
            assert time.monotonic() < deadline, relay.cuts
            with contextlib.suppress(OSError, zmq.Again):
                push.send(b"%d" % number)
                number += 1
            time.sleep(0.001)
            after += relay.cuts >= CUTS
        running.prints(r"(^|\n)%d\n" % (number - 1), SECONDS)
        received = bytes(running.output).split()
    seen = numbers(received)
    assert len(set(seen)) == len(seen), "a message came twice"
    assert relay.cuts >= CUTS
    # Below the mark nothing is thrown away: what is missing was on its way when a connection was cut.
    print(f"{who}: {relay.cuts} cuts, {len(seen)} of {max(seen) + 1} messages arrived")


def test_requests_across_cuts_have_their_own_reply_or_fail(ends):
    """Our REQ asks libzmq's REP: each number has its own answer, in order, and a request whose connection went is asked again by who asked."""
    rep = ends.enter_context(ends.peer("rep", rcvtimeo=100))
    relay = cutter(ends, rep.bind("tcp://127.0.0.1:*"), 3)
    running = ends.enter_context(Ours("req", f"connect=tcp://127.0.0.1:{relay.port}", "retry=1"))
    deadline, after, asked = time.monotonic() + SECONDS, 0, []
    while after < 50:
        assert time.monotonic() < deadline, (relay.cuts, len(asked))
        with contextlib.suppress(OSError, zmq.Again):
            (question,) = rep.receive()
            asked.append(int(question))
            rep.send(question)
            after += relay.cuts >= CUTS
    running.prints(r"(^|\n)%d\n" % (asked[-1] - 1))
    replies = numbers(bytes(running.output).split())
    assert replies == list(range(len(replies))), "a reply that was another's"
    assert asked == sorted(asked) and set(range(len(replies))) <= set(asked)
    # One that was asked twice was lost on its way, there or back.
    print(f"{relay.cuts} cuts, {len(replies)} replies, {len(asked) - len(set(asked))} asked again")


def test_libzmqs_requests_across_cuts_have_their_own_reply(ends):
    """libzmq's REQ, relaxed and with numbers, asks our REP."""
    running = ends.enter_context(Ours("rep", "bind=tcp://127.0.0.1:*"))
    relay = cutter(ends, running.endpoint(), 4)
    req = ends.enter_context(ends.peer("req", reconnect_ivl=1, rcvtimeo=50, sndtimeo=50, req_relaxed=1, req_correlate=1))
    req.connect(f"tcp://127.0.0.1:{relay.port}")
    deadline, after, number = time.monotonic() + SECONDS, 0, 0
    while after < 50:
        assert time.monotonic() < deadline, (relay.cuts, number)
        with contextlib.suppress(OSError, zmq.Again):
            req.send(b"%d" % number)
            assert req.receive() == [b"%d" % number]
            number += 1
            after += relay.cuts >= CUTS
    assert number > 50
