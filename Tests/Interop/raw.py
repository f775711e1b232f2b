"""MQTT by hand, for what no well-behaved client does. Versions are the protocol's own numbers: 4 (3.1.1) and 5."""

import socket
import struct
import time

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14


def varint(number):
    encoded = b""
    while True:
        number, byte = divmod(number, 128)
        encoded += bytes([byte | (0x80 if number else 0)])
        if not number:
            return encoded


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(raw)) + raw


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect_packet(client="", version=4, keep_alive=60, username=None, password=None, clean=True):
    flags = (2 if clean else 0) | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes([version, flags]) + struct.pack(">H", keep_alive) + (b"\0" if version == 5 else b"") + text(client)
    for part in (username, password):
        body += text(part) if part is not None else b""
    return packet(CONNECT, 0, body)


def publish_packet(topic, payload, qos=0, identifier=1, version=4):
    return packet(PUBLISH, qos << 1, text(topic) + (struct.pack(">H", identifier) if qos else b"") + (b"\0" if version == 5 else b"") + payload)


class Connection:
    """A socket that speaks packets. Every wait ends after `timeout` seconds with an error."""

    def __init__(self, broker, timeout=10, receive_buffer=None, path=None):
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(path or (broker.host, broker.port))
        if not path:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.timeout = timeout
        self.version = 4

    def send(self, raw):
        self.socket.sendall(raw)

    def _exactly(self, count):
        raw = b""
        while len(raw) < count:
            piece = self.socket.recv(count - len(raw))
            if not piece:
                raise EOFError(raw)
            raw += piece
        return raw

    def receive(self):
        """(kind, flags, body); EOFError when the server closed."""
        first = self._exactly(1)[0]
        length = shift = 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        return first >> 4, first & 15, self._exactly(length)

    def expect(self, kind):
        got = self.receive()
        assert got[0] == kind, f"expected packet type {kind}, got {got}"
        return got

    def connect(self, client="", version=4, **more):
        """The CONNACK's code."""
        self.version = version
        self.send(connect_packet(client, version, **more))
        return self.expect(CONNACK)[2][1]

    def subscribe(self, filter, qos=0, identifier=1):
        """The SUBACK's code."""
        properties = b"\0" if self.version == 5 else b""
        self.send(packet(SUBSCRIBE, 2, struct.pack(">H", identifier) + properties + text(filter) + bytes([qos])))
        return self.expect(SUBACK)[2][-1]

    def publish(self, topic, payload, qos=0, identifier=1):
        self.send(publish_packet(topic, payload, qos, identifier, self.version))

    def message(self):
        """The next PUBLISH as (topic, payload, QoS); acknowledged."""
        _, flags, body = self.expect(PUBLISH)
        qos = flags >> 1 & 3
        length = struct.unpack_from(">H", body)[0]
        at = 2 + length
        if qos:
            self.send(packet(PUBACK, 0, body[at : at + 2]))
            at += 2
        if self.version == 5:
            at += 1 + body[at]
        return body[2 : 2 + length].decode(), body[at:], qos

    def seconds_until_closed(self, within=10):
        """How long until the server closed or reset; AssertionError if it did not. What it still says is in `farewell`."""
        start = time.monotonic()
        self.farewell = b""
        self.socket.settimeout(within)
        try:
            while time.monotonic() - start < within:
                piece = self.socket.recv(65536)
                if not piece:
                    return time.monotonic() - start
                self.farewell += piece
        except ConnectionError:
            return time.monotonic() - start
        except TimeoutError:
            pass
        raise AssertionError(f"still open after {within} s")

    def is_quiet(self, seconds):
        """Nothing comes, and the connection stays."""
        self.socket.settimeout(seconds)
        try:
            raw = self.socket.recv(1)
            raise AssertionError(f"expected silence, got {raw!r}")
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(self.timeout)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
