"""A client that knows every packet and property of MQTT 3.1, 3.1.1 and 5.0 and does with them what a test says, allowed or not."""

import struct
from typing import NamedTuple

from raw import CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, Connection, packet, text, varint

PUBREC, PUBREL, PUBCOMP, AUTH = 5, 6, 7, 15
PROPERTIES = {
    "payload_format": (1, "byte"), "message_expiry": (2, "four"), "content_type": (3, "text"), "response_topic": (8, "text"),
    "correlation": (9, "bytes"), "subscription": (11, "varint"), "session_expiry": (17, "four"), "assigned_client": (18, "text"),
    "server_keep_alive": (19, "two"), "auth_method": (21, "text"), "auth_data": (22, "bytes"), "request_problem": (23, "byte"),
    "will_delay": (24, "four"), "request_response": (25, "byte"), "response_information": (26, "text"), "server_reference": (28, "text"),
    "reason": (31, "text"), "receive_maximum": (33, "two"), "alias_maximum": (34, "two"), "alias": (35, "two"), "qos_maximum": (36, "byte"),
    "retain_available": (37, "byte"), "user": (38, "pair"), "packet_maximum": (39, "four"), "wildcards": (40, "byte"),
    "identifiers": (41, "byte"), "shared": (42, "byte"),
}  # fmt: skip
NAMES = {identifier: (name, form) for name, (identifier, form) in PROPERTIES.items()}
REPEATED = ("user", "subscription")


def property_bytes(name, value):
    identifier, form = PROPERTIES[name]
    forms = {
        "byte": lambda: bytes([value]), "two": lambda: struct.pack(">H", value), "four": lambda: struct.pack(">I", value), "varint": lambda: varint(value),
        "text": lambda: text(value), "bytes": lambda: text(value), "pair": lambda: text(value[0]) + text(value[1]),
    }  # fmt: skip
    return bytes([identifier]) + forms[form]()


def properties(named):
    """A list is written once for each of its members, in its order."""
    parts = [property_bytes(name, one) for name, value in named.items() for one in (value if isinstance(value, list) else [value])]
    raw = b"".join(parts)
    return varint(len(raw)) + raw


class Reader:
    def __init__(self, raw):
        self.raw = raw
        self.at = 0

    def take(self, count):
        assert self.at + count <= len(self.raw), f"cut packet: {self.raw!r}"
        self.at += count
        return self.raw[self.at - count : self.at]

    def number(self, width):
        return int.from_bytes(self.take(width), "big")

    def varint(self):
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def bytes(self):
        return self.take(self.number(2))

    def rest(self):
        return self.take(len(self.raw) - self.at)

    def properties(self):
        end = self.varint() + self.at
        named = {}
        while self.at < end:
            name, form = NAMES[self.number(1)]
            widths = {"byte": 1, "two": 2, "four": 4}
            if form in widths:
                value = self.number(widths[form])
            elif form == "varint":
                value = self.varint()
            elif form == "pair":
                value = (self.bytes().decode(), self.bytes().decode())
            else:
                value = self.bytes() if form == "bytes" else self.bytes().decode()
            if name in REPEATED:
                named.setdefault(name, []).append(value)
            else:
                assert name not in named, f"{name} twice in {self.raw!r}"
                named[name] = value
        assert self.at == end
        return named


class Message(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    identifier: int
    properties: dict


class Will(NamedTuple):
    topic: str
    payload: bytes = b"gone"
    qos: int = 0
    retain: bool = False
    properties: dict = {}


def connect_packet(client, version, clean=True, keep_alive=60, will=None, username=None, password=None, named={}, flags=None):
    if flags is None:
        flags = (2 if clean else 0) | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
        flags |= (4 | will.qos << 3 | (0x20 if will.retain else 0)) if will else 0
    body = text("MQIsdp" if version == 3 else "MQTT") + bytes([version, flags]) + struct.pack(">H", keep_alive)
    body += (properties(named) if version == 5 else b"") + text(client)
    if will:
        body += (properties(will.properties) if version == 5 else b"") + text(will.topic) + text(will.payload)
    for part in (username, password):
        body += text(part) if part is not None else b""
    return packet(CONNECT, 0, body)


class Peer(Connection):
    """Connected when made. Packets that a wait passes over are kept for the next one, in their order."""

    def __init__(self, broker, client="", version=5, code=0, timeout=10, receive_buffer=None, **more):
        super().__init__(broker, timeout, receive_buffer)
        self.version = version
        self.client = client
        self.inbox = []
        self._identifier = 0
        self.send(connect_packet(client, version, **more))
        self.read_connack(code)

    def read_connack(self, code=0):
        reader = Reader(self.expect(CONNACK)[2])
        self.session_present, answered = reader.number(1), reader.number(1)
        self.connack = reader.properties() if self.version == 5 else {}
        assert reader.rest() == b""
        assert answered == code, f"CONNACK {answered:#x} {self.connack}"

    def next_identifier(self):
        self._identifier += 1
        return self._identifier

    def wait(self, kind):
        """The next packet of a kind as (flags, body)."""
        for index, (had, flags, body) in enumerate(self.inbox):
            if had == kind:
                del self.inbox[index]
                return flags, body
        while True:
            got = self.receive()
            if got[0] == kind:
                return got[1:]
            self.inbox.append(got)

    def next_packet(self):
        return self.inbox.pop(0) if self.inbox else self.receive()

    def _acknowledgement(self, body):
        """(packet identifier, reason, properties)"""
        reader = Reader(body)
        identifier = reader.number(2)
        assert self.version == 5 or len(body) == 2
        return identifier, reader.number(1) if len(body) > 2 else 0, reader.properties() if len(body) > 3 else {}

    def acknowledge(self, kind, identifier, reason=None):
        self.send(packet(kind, 2 if kind == PUBREL else 0, struct.pack(">H", identifier) + (bytes([reason]) if reason is not None else b"")))

    def wait_acknowledgement(self, kind, identifier=None):
        """Its reason; the packet identifier must be the one given."""
        flags, body = self.wait(kind)
        got, reason, self.acknowledged_with = self._acknowledgement(body)
        assert flags == (2 if kind == PUBREL else 0)
        assert identifier is None or got == identifier
        return reason

    def publish_bytes(self, topic, payload=b"", qos=0, retain=False, identifier=1, duplicate=False, named={}):
        body = text(topic) + (struct.pack(">H", identifier) if qos else b"") + (properties(named) if self.version == 5 else b"") + payload
        return packet(PUBLISH, (8 if duplicate else 0) | qos << 1 | (1 if retain else 0), body)

    def publish(self, topic, payload=b"", qos=0, retain=False, **named):
        """The reason of PUBACK or of PUBREC; the whole exchange is done when it returns."""
        identifier = self.next_identifier() if qos else 0
        self.send(self.publish_bytes(topic, payload, qos, retain, identifier, named=named))
        if qos == 0:
            return 0
        reason = self.wait_acknowledgement(PUBACK if qos == 1 else PUBREC, identifier)
        if qos == 2 and reason < 0x80:
            self.acknowledge(PUBREL, identifier)
            assert self.wait_acknowledgement(PUBCOMP, identifier) == 0
        return reason

    def parse(self, flags, body):
        reader = Reader(body)
        topic = reader.bytes().decode()
        qos = flags >> 1 & 3
        identifier = reader.number(2) if qos else 0
        assert not qos or identifier
        named = reader.properties() if self.version == 5 else {}
        return Message(topic, reader.rest(), qos, bool(flags & 1), bool(flags & 8), identifier, named)

    def message(self, acknowledge=True):
        """The next PUBLISH; its whole exchange is done when it returns, unless the test does that."""
        got = self.parse(*self.wait(PUBLISH))
        if acknowledge and got.qos == 1:
            self.acknowledge(PUBACK, got.identifier)
        if acknowledge and got.qos == 2:
            self.acknowledge(PUBREC, got.identifier)
            assert self.wait_acknowledgement(PUBREL, got.identifier) == 0
            self.acknowledge(PUBCOMP, got.identifier)
        return got

    def payloads(self, count):
        return [self.message().payload for _ in range(count)]

    def subscribe_bytes(self, filters, identifier, named={}):
        body = b"".join(text(filter) + bytes([options]) for filter, options in filters)
        return packet(SUBSCRIBE, 2, struct.pack(">H", identifier) + (properties(named) if self.version == 5 else b"") + body)

    def subscribe(self, *filters, qos=2, options=0, **named):
        """SUBACK's codes, one for each filter; a filter may be a pair with options of its own."""
        identifier = self.next_identifier()
        pairs = [filter if isinstance(filter, tuple) else (filter, qos | options) for filter in filters]
        self.send(self.subscribe_bytes(pairs, identifier, named))
        flags, body = self.wait(SUBACK)
        reader = Reader(body)
        assert (flags, reader.number(2)) == (0, identifier)
        if self.version == 5:
            reader.properties()
        return list(reader.rest())

    def unsubscribe(self, *filters):
        """UNSUBACK's codes; none before MQTT 5."""
        identifier = self.next_identifier()
        body = struct.pack(">H", identifier) + (b"\0" if self.version == 5 else b"") + b"".join(text(filter) for filter in filters)
        self.send(packet(UNSUBSCRIBE, 2, body))
        flags, body = self.wait(UNSUBACK)
        reader = Reader(body)
        assert (flags, reader.number(2)) == (0, identifier)
        if self.version == 5:
            reader.properties()
        return list(reader.rest())

    def ping(self):
        """What was sent before it has been read by the server."""
        self.send(packet(PINGREQ, 0, b""))
        assert self.wait(PINGRESP) == (0, b"")

    def disconnect(self, reason=None, **named):
        body = b"" if reason is None and not named else bytes([reason or 0]) + (properties(named) if named else b"")
        self.send(packet(DISCONNECT, 0, body))
        self.seconds_until_closed(within=5)
        assert self.farewell == b"", "nothing follows a DISCONNECT"

    def drop(self):
        """Ends the connection without a word."""
        self.close()

    def refused(self, within=5):
        """The server must close; the reason of its DISCONNECT, or None."""
        self.seconds_until_closed(within)
        raw = self.farewell
        while raw:
            reader = Reader(raw)
            kind = reader.number(1) >> 4
            body = reader.take(reader.varint())
            raw = reader.rest()
            if kind == DISCONNECT:
                assert raw == b"", "nothing follows a DISCONNECT"
                self.disconnected_with = Reader(body[1:]).properties() if len(body) > 1 else {}
                return body[0] if body else 0
        return None
