"""One thread that drives all clients: sockets that do not block, connections that are made again whenever they are lost, and timers."""

import contextlib
import heapq
import itertools
import selectors
import socket
import time


class Loop:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.timers = []
        self.order = itertools.count()
        self.written = set()

    def after(self, seconds, call):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.order), call))

    def run(self, until, seconds):
        """Until the condition holds, which is looked at every 20 ms; false if it does not within `seconds`."""
        end = time.monotonic() + seconds
        look = 0
        while True:
            now = time.monotonic()
            if now >= look:
                look = now + 0.02
                if until():
                    return True
                if now > end:
                    return False
            while self.timers and self.timers[0][0] <= now:
                heapq.heappop(self.timers)[2]()
            for client in list(self.written):
                client.flush()
            wait = min([look, *(time for time, _, _ in self.timers[:1])]) - time.monotonic()
            for key, events in self.selector.select(max(0, wait)):
                key.data.ready(events)


class Client:
    """A connection that is wanted all the time while `is_wanted`. `connections` counts those that were made."""

    def __init__(self, loop, server, promises, name):
        self.loop, self.server, self.promises, self.name = loop, server, promises, name
        self.socket = None
        self.is_ready = False  # the protocol's handshake is done
        self.is_wanted = True
        self.connections = 0
        self.losses = []  # when they ended
        self.unread = b""
        self.output = bytearray()
        loop.after(0, self.connect)

    @property
    def port(self):
        return self.server.ports[self.protocol]

    def connect(self):
        if not self.is_wanted or self.socket:
            return
        try:
            self.socket = socket.create_connection((self.server.host, self.port), 5)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.unread = b""
            self.output.clear()
            self.opened()
            self.socket.setblocking(False)
            self.loop.selector.register(self.socket, selectors.EVENT_READ, self)
            self.loop.written.add(self)
        except (OSError, EOFError):
            self.lose()

    def leave(self):
        """Closes without a word, and does not come back until `is_wanted` again and `connect`."""
        self.is_wanted = False
        self.lose()

    def lose(self):
        if self.socket:
            with contextlib.suppress(KeyError, ValueError):
                self.loop.selector.unregister(self.socket)
            self.socket.close()
            self.losses.append(time.monotonic())
        self.socket = None
        self.is_ready = False
        self.loop.written.discard(self)
        self.lost()
        if self.is_wanted:
            self.loop.after(0.02, self.connect)

    def write(self, raw):
        if self.socket:
            self.output += raw
            self.loop.written.add(self)

    def flush(self):
        self.loop.written.discard(self)
        if not self.socket or not self.output:
            return
        try:
            count = self.socket.send(self.output)
            del self.output[:count]
        except BlockingIOError:
            pass
        except OSError:
            return self.lose()
        with contextlib.suppress(KeyError):
            self.loop.selector.modify(self.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if self.output else 0), self)

    def ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.flush()
        if not self.socket or not events & selectors.EVENT_READ:
            return
        try:
            piece = self.socket.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            return self.lose()
        self.unread = self.read(self.unread + piece if self.unread else piece)

    def opened(self):
        """Connected: says its first words."""

    def lost(self):
        """The connection is gone: forgets what belonged to it alone."""

    def read(self, raw):
        """Takes whole packets; what is left of it."""
        raise NotImplementedError


class Publisher(Client):
    """Sends the next numbers of its flows in turn while they are wanted, at most `window` of them unacknowledged."""

    def __init__(self, loop, server, promises, name, flows, window, ahead=4000):
        super().__init__(loop, server, promises, name)
        self.flows, self.window, self.ahead = itertools.cycle(flows), window, ahead
        self.is_sending = True
        loop.after(0.02, self._tick)

    def _tick(self):
        if self.is_ready:
            self.pump()
        self.loop.after(0.02, self._tick)

    def next_message(self):
        """(flow, number), or None for now: at the end, and when the readers that are there are far behind."""
        flow = next(self.flows)
        if not self.is_sending or any(reading.is_followed and reading.behind() > self.ahead for reading in flow.readings):
            return None
        return flow, flow.send()

    def pump(self):
        """Sends what may be sent now."""
        raise NotImplementedError

    def unacknowledged(self):
        raise NotImplementedError


class Acknowledging(Client):
    """A consumer: acknowledges with a lag, so that some of what came is open at every moment."""

    LAG = 20

    def __init__(self, loop, server, promises, name, flows, exactly_once=False, is_followed=True):
        super().__init__(loop, server, promises, name)
        self.readings = {}
        for flow in flows:
            reading = promises.reading(name, flow, exactly_once and flow.exactly_once, self.losses)
            reading.is_followed = is_followed
            self.readings[flow.number] = reading
        self.open = []
        self.loop.after(0.03, self._tick)

    def _tick(self):
        if self.is_ready:
            self.acknowledge(len(self.open))
        self.loop.after(0.03, self._tick)

    def arrived(self, payload, is_flagged, tag):
        reading = self.readings.get(int.from_bytes(payload[:4], "big"))
        if reading is None:
            return self.promises.breach("not asked for", f"{self.name} got {payload[:16]!r}")
        number = reading.arrive(payload, is_flagged, self.connections)
        if number is not None:
            self.open.append((tag, reading, number))

    def lost(self):
        self.open.clear()

    def acknowledge(self, count):
        """Acknowledges the first `count` of what is open."""
        raise NotImplementedError

    def settle(self, acknowledged):
        """Their acknowledgements are written; what the socket does not take at once is not sent."""
        self.flush()
        now = time.monotonic()
        for _, reading, number in acknowledged if self.socket and not self.output else []:
            if reading:
                reading.settle(number, now)

    def is_complete(self):
        return all(reading.is_complete() for reading in self.readings.values())
