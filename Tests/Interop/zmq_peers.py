"""ZeroMQ at the other end: pyzmq with the libzmq it brings, and Debian's libzmq by its C interface. Both look the same to a test."""

import ctypes
import ctypes.util
import itertools
import os
import threading

import zmq

import brokers
from programs import SECONDS, Program

TYPES = {name: getattr(zmq, name.upper()) for name in "pair pub sub req rep dealer router pull push xpub xsub".split()}
OPTIONS = {
    "subscribe": zmq.SUBSCRIBE,
    "unsubscribe": zmq.UNSUBSCRIBE,
    "routing_id": zmq.ROUTING_ID,
    "linger": zmq.LINGER,
    "rcvtimeo": zmq.RCVTIMEO,
    "sndtimeo": zmq.SNDTIMEO,
    "ipv6": zmq.IPV6,
    "plain_server": zmq.PLAIN_SERVER,
    "plain_username": zmq.PLAIN_USERNAME,
    "plain_password": zmq.PLAIN_PASSWORD,
    "curve_server": zmq.CURVE_SERVER,
    "curve_serverkey": zmq.CURVE_SERVERKEY,
    "curve_publickey": zmq.CURVE_PUBLICKEY,
    "curve_secretkey": zmq.CURVE_SECRETKEY,
    "sndhwm": zmq.SNDHWM,
    "rcvhwm": zmq.RCVHWM,
    "reconnect_ivl": zmq.RECONNECT_IVL,
    "req_relaxed": zmq.REQ_RELAXED,
    "req_correlate": zmq.REQ_CORRELATE,
    # Of its drafts.
    "wss_key": 103,
    "wss_certificate": 104,
    "wss_trust": 105,
    "wss_hostname": 106,
}
_numbers = itertools.count(1)


class Peer:
    """One socket. `send` and `receive` take and give lists of frames."""

    def __init__(self, kind, **options):
        self._open(kind)
        for name, value in {"linger": 2_000, "rcvtimeo": SECONDS * 1000, "sndtimeo": SECONDS * 1000, "ipv6": 1, **options}.items():
            self.set(name, value)

    def nudge(self):
        """libzmq's bound sockets say what they subscribe to only while they are used."""
        self.events()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class PyZMQ(Peer):
    def _open(self, kind):
        self.socket = zmq.Context.instance().socket(TYPES[kind])

    def set(self, name, value):
        self.socket.setsockopt(OPTIONS[name], value)

    def bind(self, endpoint):
        self.socket.bind(endpoint)
        return self.socket.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")

    def connect(self, endpoint):
        self.socket.connect(endpoint)

    def send(self, *frames):
        self.socket.send_multipart(frames)

    def receive(self):
        return self.socket.recv_multipart()

    def events(self):
        return self.socket.getsockopt(zmq.EVENTS)

    def close(self):
        self.socket.close()


class LibZMQ(Peer):
    """Without libzmq3-dev's library it cannot be made."""

    _name = "libzmq.so.5"
    _library = None
    _context = None
    _loading = threading.Lock()

    @classmethod
    def version(cls):
        with cls._loading:
            if cls._library is None:
                library = ctypes.CDLL(cls._name, use_errno=True)
                for name in ("zmq_ctx_new", "zmq_socket", "zmq_strerror"):
                    getattr(library, name).restype = ctypes.c_void_p
                cls._context = ctypes.c_void_p(library.zmq_ctx_new())
                cls._library = library
        parts = [ctypes.c_int() for _ in range(3)]
        cls._library.zmq_version(*map(ctypes.byref, parts))
        return tuple(part.value for part in parts)

    def _call(self, name, *arguments):
        result = getattr(self._library, name)(self.socket, *arguments)
        if result < 0:
            raise OSError(ctypes.get_errno(), f"{name}: errno {self._library.zmq_errno()}")
        return result

    def _open(self, kind):
        self.version()
        self._area = ctypes.create_string_buffer(1 << 20)
        self.socket = ctypes.c_void_p(self._library.zmq_socket(self._context, TYPES[kind]))

    def set(self, name, value):
        raw = value if isinstance(value, bytes) else ctypes.c_int(value)
        self._call("zmq_setsockopt", OPTIONS[name], raw if isinstance(raw, bytes) else ctypes.byref(raw), ctypes.c_size_t(len(raw) if isinstance(raw, bytes) else 4))

    def bind(self, endpoint):
        self._call("zmq_bind", endpoint.encode())
        text, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
        self._call("zmq_getsockopt", zmq.LAST_ENDPOINT, text, ctypes.byref(size))
        return text.value.decode()

    def connect(self, endpoint):
        self._call("zmq_connect", endpoint.encode())

    def send(self, *frames):
        for index, frame in enumerate(frames):
            self._call("zmq_send", bytes(frame), ctypes.c_size_t(len(frame)), zmq.SNDMORE if index + 1 < len(frames) else 0)

    def receive(self):
        frames = []
        while True:
            count = self._call("zmq_recv", self._area, ctypes.c_size_t(len(self._area)), 0)
            frames.append(ctypes.string_at(self._area, count))
            more, size = ctypes.c_int(), ctypes.c_size_t(4)
            self._call("zmq_getsockopt", zmq.RCVMORE, ctypes.byref(more), ctypes.byref(size))
            if not more.value:
                return frames

    def events(self):
        events, size = ctypes.c_int(), ctypes.c_size_t(4)
        self._call("zmq_getsockopt", zmq.EVENTS, ctypes.byref(events), ctypes.byref(size))
        return events.value

    def close(self):
        self._call("zmq_close")


class Gate:
    """RFC 27's handler of one libzmq: lets in a user and a key, and nobody else."""

    def __init__(self, peer, user=b"ann", password=b"secret", key=b""):
        self._known = {b"PLAIN": [user, password], b"CURVE": [key], b"NULL": []}
        self._socket = peer("rep", rcvtimeo=50)
        self._socket.bind("inproc://zeromq.zap.01")
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ends.is_set():
            try:
                version, number, _, _, _, mechanism, *credentials = self._socket.receive()
            except (OSError, zmq.Again):
                continue
            answer = [b"200", b"OK"] if credentials == self._known[mechanism] else [b"400", b"No"]
            self._socket.send(version, number, *answer, b"", b"")
        self._socket.close()

    def close(self):
        self._ends.set()
        self._thread.join()


class Drafts(LibZMQ):
    """A libzmq with its drafts, which no distribution packages; WebSocket is one of them. MARTLET_LIBZMQ_DRAFTS names the library."""

    _name = os.environ.get("MARTLET_LIBZMQ_DRAFTS")
    _library = _context = None


PEERS = {"pyzmq": PyZMQ, "libzmq": LibZMQ}


class Ours(Program):
    """`interop-zmq` (Tests/Interop/ZMQPeer): one socket of ours."""

    def __init__(self, kind, *words):
        super().__init__(brokers.binary().rsplit("/", 1)[0] + "/interop-zmq", kind, *words)

    def endpoint(self):
        """Where it is bound."""
        return self.says(r"bound (\S+)\n")[1]

    def lines(self, count):
        self._wait(lambda: self.output.count(b"\n") >= count, SECONDS, f"{count} lines")
        return bytes(self.output).split(b"\n")[:-1]


def wildcard(transport, folder):
    """Where to bind, so that nobody else is there."""
    number = next(_numbers)
    return {"tcp": "tcp://127.0.0.1:*", "tcp6": "tcp://[::1]:*", "ipc": f"ipc://{folder}/{number}.sock", "ws": "ws://127.0.0.1:*/zeromq", "wss": "wss://127.0.0.1:*/zeromq", "abstract": f"ipc://@martlet-{os.getpid()}-{number}"}[transport]
