"""CLIENT and SERVER, RADIO and DISH with a libzmq that has its drafts, which no distribution packages: MARTLET_LIBZMQ_DRAFTS names the library."""

import ctypes
import os
import time

import pytest

from zmq_peers import SECONDS, Ours, wildcard

LIBRARY = os.environ.get("MARTLET_LIBZMQ_DRAFTS")
pytestmark = pytest.mark.skipif(not LIBRARY, reason="MARTLET_LIBZMQ_DRAFTS names no libzmq with drafts")
TYPES = {"server": 12, "client": 13, "radio": 14, "dish": 15}
LINGER, RCVTIMEO, SNDTIMEO, LAST_ENDPOINT, IPV6 = 17, 27, 28, 32, 42


class Message(ctypes.Structure):
    """`zmq_msg_t`."""

    _fields_ = [("opaque", ctypes.c_ubyte * 64)]
    _align_ = 8


class Draft:
    """A socket of libzmq's drafts: single frames, with a group or a routing id."""

    _library = _context = None

    def __init__(self, kind):
        if Draft._library is None:
            Draft._library = library = ctypes.CDLL(LIBRARY, use_errno=True)
            for name in ("zmq_ctx_new", "zmq_socket", "zmq_msg_data", "zmq_msg_group", "zmq_strerror"):
                getattr(library, name).restype = ctypes.c_void_p
            library.zmq_msg_group.restype = library.zmq_strerror.restype = ctypes.c_char_p
            library.zmq_msg_size.restype = ctypes.c_size_t
            library.zmq_msg_routing_id.restype = ctypes.c_uint32
            Draft._context = ctypes.c_void_p(library.zmq_ctx_new())
        self._socket = ctypes.c_void_p(self._library.zmq_socket(self._context, TYPES[kind]))
        for option, value in ((LINGER, 2_000), (RCVTIMEO, SECONDS * 1000), (SNDTIMEO, SECONDS * 1000), (IPV6, 1)):
            self._check(self._library.zmq_setsockopt(self._socket, option, ctypes.byref(ctypes.c_int(value)), ctypes.c_size_t(4)))

    def _check(self, result):
        if result < 0:
            raise OSError(self._library.zmq_strerror(self._library.zmq_errno()).decode())
        return result

    def bind(self, endpoint):
        self._check(self._library.zmq_bind(self._socket, endpoint.encode()))
        text, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
        self._check(self._library.zmq_getsockopt(self._socket, LAST_ENDPOINT, text, ctypes.byref(size)))
        return text.value.decode()

    def connect(self, endpoint):
        self._check(self._library.zmq_connect(self._socket, endpoint.encode()))

    def join(self, group):
        self._check(self._library.zmq_join(self._socket, group))

    def leave(self, group):
        self._check(self._library.zmq_leave(self._socket, group))

    def send(self, body, group=None, client=0):
        message = Message()
        self._check(self._library.zmq_msg_init_size(ctypes.byref(message), ctypes.c_size_t(len(body))))
        ctypes.memmove(self._library.zmq_msg_data(ctypes.byref(message)), body, len(body))
        if group is not None:
            self._check(self._library.zmq_msg_set_group(ctypes.byref(message), group))
        if client:
            self._check(self._library.zmq_msg_set_routing_id(ctypes.byref(message), ctypes.c_uint32(client)))
        self._check(self._library.zmq_msg_send(ctypes.byref(message), self._socket, 0))

    def receive(self):
        """The body, its group and its routing id."""
        message = Message()
        self._check(self._library.zmq_msg_init(ctypes.byref(message)))
        size = self._check(self._library.zmq_msg_recv(ctypes.byref(message), self._socket, 0))
        body = ctypes.string_at(self._library.zmq_msg_data(ctypes.byref(message)), size)
        result = body, self._library.zmq_msg_group(ctypes.byref(message)), self._library.zmq_msg_routing_id(ctypes.byref(message))
        self._library.zmq_msg_close(ctypes.byref(message))
        return result

    def close(self):
        self._check(self._library.zmq_close(self._socket))


@pytest.fixture
def draft():
    made = []

    def make(kind):
        made.append(Draft(kind))
        return made[-1]

    yield make
    for socket in made:
        socket.close()


@pytest.fixture(params=["tcp", "tcp6", "ipc", "abstract"])
def join(request, tmp_path, draft):
    """Joins a program in a role of ours with libzmq's socket, one of them bound."""
    programs = []

    def make(role, kind, ours_binds, *words):
        socket, endpoint = draft(kind), wildcard(request.param, tmp_path)
        if not ours_binds:
            endpoint = socket.bind(endpoint)
        programs.append(Ours(role, f"{'bind' if ours_binds else 'connect'}={endpoint}", *words))
        programs[-1].__enter__()
        if ours_binds:
            socket.connect(programs[-1].endpoint())
        return programs[-1], socket

    yield make
    for program in programs:
        program.__exit__(None, None, None)


BOTH = pytest.mark.parametrize("ours_binds", [True, False], ids=["we bind", "they bind"])


@BOTH
def test_server(join, ours_binds):
    _, client = join("server", "client", ours_binds)
    for size in (0, 1, 255, 256, 100_000):
        client.send(b"x" * size)
        assert client.receive()[0] == b"x" * size


@BOTH
def test_client(join, ours_binds):
    program, server = join("client", "server", ours_binds)
    for number in range(1, 101):
        body, _, client = server.receive()
        assert body == b"%d" % number and client
        server.send(b"<%d>" % number, client=client)
    assert program.lines(100) == [b"<%d>" % number for number in range(1, 101)]


@BOTH
def test_radio(join, ours_binds):
    """Groups are matched whole, and one may be left before anybody has sent to it."""
    _, dish = join("radio", "dish", ours_binds, "groups=weather,w,sports")
    for group in (b"other", b"weather", b"sports"):
        dish.join(group)
    dish.leave(b"other")
    dish.join(b"y" * 255)
    got = [dish.receive()[:2] for _ in range(200)]
    assert got == [(b"%d" % number, group) for number in range(1, 101) for group in (b"weather", b"sports")]


@BOTH
def test_dish(join, ours_binds):
    program, radio = join("dish", "radio", ours_binds, f"groups=weather,{'g' * 200}")
    deadline = time.monotonic() + SECONDS
    # RADIO says nobody's joining: so it repeats itself until somebody prints.
    while program.output.count(b"\n") < 1:
        assert time.monotonic() < deadline
        radio.send(b"hello", group=b"weather")
        time.sleep(0.01)
    for number in range(100):
        radio.send(b"not for you", group=b"weather2")
        radio.send(b"%d" % number, group=b"g" * 200)
    radio.send(b"end", group=b"weather")
    assert program.wait(SECONDS) == 0
    lines = [line for line in bytes(program.output).split(b"\n")[:-1] if line != b"weather\thello"]
    assert lines == [b"g" * 200 + b"\t%d" % number for number in range(100)]
