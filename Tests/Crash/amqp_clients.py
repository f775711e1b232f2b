"""AMQP publishers with confirms or transactions, and consumers that acknowledge, on a durable exchange and durable queues."""

import struct

from loop import Acknowledging, Client, Publisher
from pamqp import commands, frame, header

import amqp_raw
import promises
from amqp_raw import BODY, FRAME_END, HEADER, HEARTBEAT, METHOD, frame_bytes

EXCHANGE = "crash"
ACK, NACK, DELIVER, COMMIT_OK, CHANNEL_CLOSE, CONNECTION_CLOSE = (60, 80), (60, 120), (60, 60), (90, 21), (20, 40), (10, 50)
CHANNEL_OPEN_OK, CONSUME_OK = (20, 11), (60, 21)
# start, tune, open-ok, blocked, unblocked; the answers to declarations, bindings, qos, and the two select
QUIET = ((10, 10), (10, 30), (10, 41), (10, 60), (10, 61), (40, 11), (50, 11), (50, 21), (60, 11), (90, 11), (85, 11), CONSUME_OK)


def persistent_header(size):
    return struct.pack(">HHQHB", 60, 0, size, 0x1000, 2)


assert frame_bytes(HEADER, 1, persistent_header(5)) == frame.marshal(header.ContentHeader(body_size=5, properties=commands.Basic.Properties(delivery_mode=2)), 1)


class AMQPClient(Client):
    protocol = "amqp"

    def opened(self):
        """The whole handshake at once: the server takes it step by step, and nothing here waits."""
        steps = [
            (commands.Connection.StartOk({"capabilities": amqp_raw.CAPABILITIES}, "PLAIN", "\0guest\0guest", "en_US"), 0),
            (commands.Connection.TuneOk(2047, 131072, 0), 0), (commands.Connection.Open("/"), 0), (commands.Channel.Open(), 1),
        ]  # fmt: skip
        self.content = None
        self.write(b"AMQP\0\0\x09\x01" + b"".join(frame.marshal(*step) for step in steps))

    def declare(self):
        """What it needs is there: asked passively, but the first time."""

    def begin(self):
        """Its channel is open."""

    def send(self, *commands):
        self.write(b"".join(frame.marshal(command, 1) for command in commands))

    def read(self, raw):
        at, end = 0, len(raw)
        while end - at >= 8:
            kind, _, size = struct.unpack_from(">BHI", raw, at)
            if at + 8 + size > end:
                break
            payload = raw[at + 7 : at + 7 + size]
            if raw[at + 7 + size] != FRAME_END[0]:
                self.promises.breach("a broken frame", self.name)
            at += 8 + size
            if kind == METHOD:
                self.method(struct.unpack_from(">HH", payload), payload)
            elif kind == HEADER:
                self.expected = struct.unpack_from(">Q", payload, 4)[0]
                self.content = b""
            elif kind == BODY:
                self.content += payload
            elif kind == HEARTBEAT:
                self.write(frame_bytes(HEARTBEAT, 0, b""))
            if kind in (HEADER, BODY) and len(self.content) == self.expected:
                self.delivered(self.content)
            if not self.socket:
                return b""
        self.read_all()
        return raw[at:]

    def method(self, kind, payload):
        if kind in (CHANNEL_CLOSE, CONNECTION_CLOSE):
            text = payload[7 : 7 + payload[6]].decode()
            if not (kind == CONNECTION_CLOSE and payload[4:6] == b"\x01\x40"):  # 320: the server is leaving
                self.promises.breach("closed", f"{self.name}: {text}")
            self.lose()
        elif kind == CHANNEL_OPEN_OK:
            self.declare()
            self.is_ready = True
            self.begin()
        elif kind not in QUIET:
            self.promises.breach("an unexpected method", f"{self.name} got {kind}")

    def delivered(self, payload):
        pass

    def read_all(self):
        """What came in one read has been handled."""


class AMQPSender(AMQPClient, Publisher):
    is_first = True

    def __init__(self, loop, server, promises, name, flows, exchange=EXCHANGE, window=300):
        self.exchange = exchange
        super().__init__(loop, server, promises, name, flows, window)

    def declare(self):
        if self.exchange == EXCHANGE:
            self.send(commands.Exchange.Declare(exchange=EXCHANGE, exchange_type="topic", durable=True, passive=not self.is_first))
        self.is_first = False

    def publish(self, flow, number):
        payload = promises.body(flow.number, number)
        exchange, key = self.exchange.encode(), flow.name.encode()
        method = struct.pack(">HHH", 60, 40, 0) + bytes([len(exchange)]) + exchange + bytes([len(key)]) + key + b"\0"
        self.write(frame_bytes(METHOD, 1, method) + frame_bytes(HEADER, 1, persistent_header(len(payload))) + frame_bytes(BODY, 1, payload))


class AMQPPublisher(AMQPSender):
    """With confirms: publishes again what was not confirmed when the connection was lost."""

    def __init__(self, *words, **more):
        self.sent = {}  # by delivery tag, in the order of publishing: (flow, number)
        super().__init__(*words, **more)

    def unacknowledged(self):
        return len(self.sent)

    def begin(self):
        again, self.sent, self.tag = list(self.sent.values()), {}, 0
        self.send(commands.Confirm.Select())
        for flow, number in again:
            flow.repeat(number)
            self.send_next(flow, number)
        self.pump()

    def send_next(self, flow, number):
        self.tag += 1
        self.sent[self.tag] = (flow, number)
        self.publish(flow, number)

    def pump(self):
        while self.is_ready and len(self.sent) < self.window and (message := self.next_message()):
            self.send_next(*message)

    def method(self, kind, payload):
        if kind not in (ACK, NACK):
            return super().method(kind, payload)
        tag, flags = struct.unpack_from(">QB", payload, 4)
        if kind == NACK:
            self.promises.breach("refused", f"{self.name} got basic.nack {tag}")
        if not flags & 1:
            tags = [tag]
        else:
            tags = [one for one in self.sent if not tag or one <= tag]
        for one in tags:
            found = self.sent.pop(one, None)
            if not found:
                self.promises.breach("an unexpected method", f"{self.name} got a confirm of {one}")
            elif kind == ACK:
                found[0].acknowledge(found[1])

    def read_all(self):
        self.pump()


class AMQPTransactions(AMQPSender):
    """Batches, one transaction each. One whose commit was not answered when the connection was lost is given up: it may be there, whole."""

    def __init__(self, loop, server, promises, name, flow, **more):
        self.flow = flow
        self.batch = []
        super().__init__(loop, server, promises, name, [flow], **more)

    def unacknowledged(self):
        return len(self.batch)

    def begin(self):
        self.send(commands.Tx.Select())
        self.pump()

    def lost(self):
        self.flow.given_up_count += len(self.batch)
        self.batch.clear()

    def pump(self):
        while self.is_ready and not self.batch and (message := self.next_message()):
            self.batch = [message[1]] + [self.flow.send() for _ in range(self.flow.batch - 1)]
            for number in self.batch:
                self.publish(self.flow, number)
            self.send(commands.Tx.Commit())

    def method(self, kind, payload):
        if kind != COMMIT_OK:
            return super().method(kind, payload)
        for number in self.batch:
            self.flow.acknowledge(number)
        self.batch.clear()
        self.pump()

    def read_all(self):
        self.pump()


class AMQPConsumer(AMQPClient, Acknowledging):
    is_first = True

    def __init__(self, loop, server, promises, name, flows, bindings, prefetch=400, **more):
        self.bindings, self.prefetch = bindings, prefetch
        super().__init__(loop, server, promises, name, flows, **more)

    def declare(self):
        self.send(commands.Queue.Declare(queue=self.name, durable=True, passive=not self.is_first))
        for exchange, key in self.bindings if self.is_first else []:
            if exchange == EXCHANGE:
                self.send(commands.Exchange.Declare(exchange=EXCHANGE, exchange_type="topic", durable=True))
            self.send(commands.Queue.Bind(queue=self.name, exchange=exchange, routing_key=key))
        self.is_first = False
        self.send(commands.Basic.Qos(prefetch_count=self.prefetch))

    def begin(self):
        self.send(commands.Basic.Consume(queue=self.name))

    def method(self, kind, payload):
        if kind == CONSUME_OK:
            self.is_subscribed = True
        if kind != DELIVER:
            return super().method(kind, payload)
        at = 5 + payload[4]
        self.delivery, self.is_redelivered = struct.unpack_from(">QB", payload, at)

    def delivered(self, payload):
        self.arrived(payload, bool(self.is_redelivered), self.delivery)

    def read_all(self):
        self.acknowledge(len(self.open) - self.LAG)

    def acknowledge(self, count):
        if count <= 0:
            return
        acknowledged, self.open = self.open[:count], self.open[count:]
        self.write(frame_bytes(METHOD, 1, struct.pack(">HHQB", 60, 80, acknowledged[-1][0], 1)))
        self.settle(acknowledged)
