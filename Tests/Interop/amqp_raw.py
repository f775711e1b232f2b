"""AMQP 0-9-1 by hand, for what no well-behaved client does, and for the class and method a close names. pamqp writes and reads the frames."""

import socket
import struct
import time

from pamqp import body, commands, constants, frame, header, heartbeat

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = b"\xce"
CAPABILITIES = {"publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True, "authentication_failure_close": True, "connection.blocked": True}


def frame_bytes(kind, channel, payload, end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def content(payload, channel=1, chunk=1 << 16, **properties):
    """A content header and its body frames."""
    head = header.ContentHeader(body_size=len(payload), properties=commands.Basic.Properties(**properties))
    pieces = [payload[at : at + chunk] for at in range(0, len(payload), chunk)]
    return frame.marshal(head, channel) + b"".join(frame.marshal(body.ContentBody(piece), channel) for piece in pieces)


class Connection:
    """A socket that speaks frames. Every wait ends after `timeout` seconds with an error."""

    def __init__(self, broker, timeout=10, opened=True, **more):
        self.timeout = timeout
        self.socket = socket.create_connection((broker.host, broker.port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""
        if opened:
            self.open(**more)

    def start(self, capabilities=CAPABILITIES, mechanism="PLAIN", response="\0guest\0guest"):
        """To the answer to start-ok."""
        self.write(b"AMQP\0\0\x09\x01")
        self.begun = self.expect(commands.Connection.Start, 0)
        self.send(commands.Connection.StartOk({"capabilities": capabilities}, mechanism, response, "en_US"), 0)
        return self.receive()[1]

    def open(self, vhost="/", channel_max=None, frame_max=None, heartbeat=0, channels=(1,), **more):
        self.tune = self.start(**more)
        assert isinstance(self.tune, commands.Connection.Tune), said(self.tune)
        chosen = [proposed if mine is None else mine for mine, proposed in ((channel_max, self.tune.channel_max), (frame_max, self.tune.frame_max))]
        self.send(commands.Connection.TuneOk(*chosen, heartbeat), 0)
        self.send(commands.Connection.Open(vhost), 0)
        self.expect(commands.Connection.OpenOk, 0)
        for channel in channels:
            self.call(commands.Channel.Open(), channel)

    def write(self, raw):
        self.socket.sendall(raw)

    def send(self, command, channel=1):
        self.write(frame.marshal(command, channel))

    def exactly(self, count):
        while len(self.unread) < count:
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise EOFError(self.unread)
            self.unread += piece
        raw, self.unread = self.unread[:count], self.unread[count:]
        return raw

    def receive(self):
        """(channel, frame), without heartbeats; EOFError when the server closed."""
        while True:
            head = self.exactly(7)
            if head[:4] == b"AMQP":
                return 0, head + self.exactly(1)
            raw = head + self.exactly(1 + struct.unpack_from(">I", head, 3)[0])
            _, channel, got = frame.unmarshal(raw)
            if not isinstance(got, heartbeat.Heartbeat):
                return channel, got

    def expect(self, kind, channel=1):
        got = self.receive()
        assert isinstance(got[1], kind) and got[0] == channel, f"expected {kind.name} on {channel}, got {said(got[1])} on {got[0]}"
        return got[1]

    def call(self, command, channel=1):
        """Sends it; what it is answered with on its channel or on channel 0."""
        self.send(command, channel)
        got = self.receive()
        assert got[0] in (0, channel), f"{said(got[1])} on channel {got[0]}"
        return got[1]

    def message(self, kind=commands.Basic.Deliver, channel=1):
        """The next delivery (or return, or get-ok), its content header and its body."""
        method = self.expect(kind, channel)
        head = self.expect(header.ContentHeader, channel)
        payload = b""
        while len(payload) < head.body_size:
            payload += self.expect(body.ContentBody, channel).value
        return method, head, payload

    def publish(self, payload, exchange="", key="", channel=1, mandatory=False, **properties):
        self.write(frame.marshal(commands.Basic.Publish(0, exchange, key, mandatory, False), channel) + content(payload, channel, **properties))

    def reads_to_end(self, within=10):
        """What still comes until the server closes, and after how many seconds."""
        start = time.monotonic()
        raw, self.unread = self.unread, b""
        self.socket.settimeout(within)
        try:
            while piece := self.socket.recv(65536):
                raw += piece
                assert time.monotonic() - start < within, f"still open after {within} s"
        except ConnectionError:
            pass
        except TimeoutError:
            raise AssertionError(f"still open after {within} s; came: {raw!r}") from None
        return raw, time.monotonic() - start

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def said(got):
    """What a frame says, for messages and comparisons: a close as (kind, code, text, class, method)."""
    if isinstance(got, (commands.Channel.Close, commands.Connection.Close)):
        kind = "channel" if isinstance(got, commands.Channel.Close) else "connection"
        return kind, got.reply_code, got.reply_text, got.class_id, got.method_id
    return repr(got)


assert constants.FRAME_END == FRAME_END[0]
