"""DISH over udp:// with datagrams as libzmq's RADIO writes them: from Python's sockets, to one address and to a group, and from a libzmq with drafts."""

import contextlib
import ctypes
import os
import socket
import time

import pytest

from programs import SECONDS
from test_zmq_drafts import IPV6, Draft
from zmq_peers import Ours


def dish(place):
    return Ours("dish", f"bind={place}", f"groups=weather,{'g' * 200}")


def send_until_heard(program, send):
    """Nothing says that a datagram arrives, nor that the sender has begun: rounds until all is printed, then the end."""
    deadline = time.monotonic() + SECONDS
    wanted = {b"weather\t", b"g" * 200 + b"\t" + b"x" * 7_000, b"weather\tlast"}
    while not wanted <= set(bytes(program.output).split(b"\n")):
        assert time.monotonic() < deadline
        for group, body in [(b"other", b"no"), (b"weather", b""), (b"g" * 200, b"x" * 7_000), (b"weathe", b"no"), (b"weather", b"last")]:
            send(group, body)
        time.sleep(0.02)
    while program.process.poll() is None:
        assert time.monotonic() < deadline
        send(b"weather", b"end")
        time.sleep(0.02)
    assert set(bytes(program.output).split(b"\n")[:-1]) == wanted


@pytest.mark.parametrize("place", ["udp://127.0.0.1:*", "udp://lo;239.77.2.8:*"])
def test_datagrams_of_a_plain_socket(place):
    with dish(place) as program, contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        host, port = program.endpoint().removeprefix("udp://").split(":")
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        send_until_heard(program, lambda group, body: sender.sendto(bytes([len(group)]) + group + body, (host, int(port))))


@pytest.mark.skipif(not os.environ.get("MARTLET_LIBZMQ_DRAFTS"), reason="MARTLET_LIBZMQ_DRAFTS names no libzmq with drafts")
@pytest.mark.parametrize("place", ["udp://127.0.0.1:*", "udp://127.0.0.1;239.77.2.9:*"])
def test_datagrams_of_libzmq(place):
    with dish(place) as program, contextlib.closing(Draft("radio")) as radio:
        # With it libzmq takes no group of IPv4.
        radio._check(radio._library.zmq_setsockopt(radio._socket, IPV6, ctypes.byref(ctypes.c_int(0)), ctypes.c_size_t(4)))
        interface = "127.0.0.1;" if ";" in place else ""
        radio.connect(program.endpoint().replace("udp://", "udp://" + interface))
        send_until_heard(program, lambda group, body: radio.send(body, group=group))
