"""MQTT publishers and consumers with a session that outlives their connections, at QoS 1 and 2, as the protocol tells clients that keep their state."""

import struct

from loop import Acknowledging, Client, Publisher
from raw import CONNACK, CONNECT, PINGRESP, PUBACK, PUBLISH, SUBACK, SUBSCRIBE, packet, text, varint

import promises

PUBREC, PUBREL, PUBCOMP = 5, 6, 7
RECEIVE_MAXIMUM = 500


class MQTTClient(Client):
    """Its session must be there on every connection but the first."""

    protocol = "mqtt"

    def __init__(self, *words, version=4, **more):
        self.version = version
        self.has_session = False
        super().__init__(*words, **more)

    def opened(self):
        named = b"\x11" + struct.pack(">I", 3600) + b"\x21" + struct.pack(">H", RECEIVE_MAXIMUM)
        session = varint(len(named)) + named if self.version == 5 else b""
        self.write(packet(CONNECT, 0, text("MQTT") + bytes([self.version, 0]) + struct.pack(">H", 0) + session + text(self.name)))

    def read(self, raw):
        at, end = 0, len(raw)
        while end - at >= 2:
            length, shift, start = 0, 0, at + 1
            while start < end:
                byte = raw[start]
                start += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            else:
                break
            if raw[start - 1] >= 0x80 or start + length > end:
                break
            self.packet(raw[at] >> 4, raw[at], raw[start : start + length])
            if not self.socket:
                return b""
            at = start + length
        self.read_all()
        return raw[at:]

    def packet(self, kind, first, body):
        if kind == CONNACK:
            self.connack(body)
        elif kind == 14:
            self.lose()
        elif kind != PINGRESP:
            self.promises.breach("an unexpected packet", f"{self.name} got {kind}: {body[:20]!r}")

    def connack(self, body):
        if body[1] != 0:
            self.promises.breach("refused", f"{self.name} got CONNACK {body[1]:#x}")
            return self.lose()
        if self.has_session and not body[0] & 1:
            self.promises.breach("a session is lost", self.name)
            self.session_lost()
        self.is_ready = True
        self.resume(bool(body[0] & 1))
        self.has_session = True

    def session_lost(self):
        pass

    def resume(self, is_present):
        pass

    def read_all(self):
        """What came in one read has been handled."""


def acknowledged(body):
    """(packet identifier, reason)"""
    return body[0] << 8 | body[1], body[2] if len(body) > 2 else 0


class MQTTPublisher(MQTTClient, Publisher):
    def __init__(self, loop, server, promises, name, flows, qos, version=4, window=300):
        self.qos = qos
        self.identifier = 0
        self.sent = {}  # by packet identifier, in the order of sending: (flow, number, packet)
        self.released = {}  # QoS 2: identifiers after PUBREC, in the order of their PUBREC
        super().__init__(loop, server, promises, name, flows, window, version=version)
        self.topics = {flow: text(flow.name.replace(".", "/")) for flow in flows}

    def unacknowledged(self):
        return len(self.sent) + len(self.released)

    def resume(self, is_present):
        for flow, number, raw in self.sent.values():
            flow.repeat(number)
            self.write(bytes([raw[0] | 8]) + raw[1:])
        for identifier in self.released:
            self.release(identifier)
        self.pump()

    def session_lost(self):
        self.released.clear()  # the exchange is the session's

    def pump(self):
        while self.is_ready and self.unacknowledged() < self.window and (message := self.next_message()):
            flow, number = message
            while (identifier := self._next_identifier()) in self.sent or identifier in self.released:
                pass
            topic = self.topics[flow] + struct.pack(">H", identifier) + (b"\0" if self.version == 5 else b"")
            raw = packet(PUBLISH, self.qos << 1, topic + promises.body(flow.number, number))
            self.sent[identifier] = (flow, number, raw)
            self.write(raw)

    def _next_identifier(self):
        self.identifier = self.identifier % 65535 + 1
        return self.identifier

    def release(self, identifier):
        self.write(bytes([PUBREL << 4 | 2, 2, identifier >> 8, identifier & 255]))

    def packet(self, kind, first, body):
        if kind == (PUBACK if self.qos == 1 else PUBREC):
            identifier, reason = acknowledged(body)
            found = self.sent.pop(identifier, None)
            if found and reason < 0x80:
                found[0].acknowledge(found[1])
            elif reason >= 0x80:
                self.promises.breach("refused", f"{self.name} got reason {reason:#x} for a message")
            elif identifier not in self.released:
                self.promises.breach("an unexpected packet", f"{self.name} got {kind} for packet identifier {identifier}, which is free")
            if kind == PUBREC and reason < 0x80:
                self.released[identifier] = True
                self.release(identifier)
        elif kind == PUBCOMP:
            if self.released.pop(acknowledged(body)[0], None) is None:
                self.promises.breach("an unexpected packet", f"{self.name} got PUBCOMP for packet identifier {acknowledged(body)[0]}, which is free")
        else:
            super().packet(kind, first, body)

    def read_all(self):
        self.pump()


class MQTTConsumer(MQTTClient, Acknowledging):
    def __init__(self, loop, server, promises, name, flows, filter, qos, version=4, **more):
        self.filter, self.qos = filter, qos
        self.unreleased = {}  # QoS 2: what was taken under a packet identifier, until PUBREL; kept across connections
        super().__init__(loop, server, promises, name, flows, exactly_once=qos == 2, version=version, **more)

    def resume(self, is_present):
        if not is_present:
            self.write(packet(SUBSCRIBE, 2, b"\0\1" + (b"\0" if self.version == 5 else b"") + text(self.filter) + bytes([self.qos])))
            self.is_subscribed = False

    def session_lost(self):
        self.unreleased.clear()

    def packet(self, kind, first, body):
        if kind == PUBLISH:
            self.publish(first, body)
        elif kind == PUBREL:
            self.unreleased.pop(acknowledged(body)[0], None)
            self.write(bytes([PUBCOMP << 4, 2]) + body[:2])
        elif kind == SUBACK:
            self.is_subscribed = True
            if body[-1] != self.qos:
                self.promises.breach("refused", f"{self.name} got SUBACK {body[-1]:#x}")
        else:
            super().packet(kind, first, body)

    def publish(self, first, body):
        qos = first >> 1 & 3
        at = 2 + (body[0] << 8 | body[1])
        if not qos:
            return self.promises.breach("a lower QoS", f"{self.name} got QoS 0")
        identifier = body[at : at + 2]
        at += 2
        if self.version == 5:
            at += 1 + body[at]  # its properties are few
        payload = body[at:]
        if qos == 1:
            return self.arrived(payload, bool(first & 8), (PUBACK, identifier))
        key = identifier[0] << 8 | identifier[1]
        if key not in self.unreleased:
            self.unreleased[key] = payload
            return self.arrived(payload, bool(first & 8), (PUBREC, identifier))
        if self.unreleased[key] != payload:
            self.promises.breach("a packet identifier is used twice", f"{self.name}: {key}")
        elif not first & 8:
            self.promises.breach("repeated, not flagged", f"{self.name}: PUBLISH with packet identifier {key}")
        self.open.append(((PUBREC, identifier), None, 0))

    def read_all(self):
        self.acknowledge(len(self.open) - self.LAG)

    def acknowledge(self, count):
        if count <= 0:
            return
        acknowledged, self.open = self.open[:count], self.open[count:]
        self.write(b"".join(bytes([kind << 4, 2]) + identifier for (kind, identifier), _, _ in acknowledged))
        self.settle(acknowledged)
