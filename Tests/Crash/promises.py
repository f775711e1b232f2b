"""What a server promised, what came of it, and whether that agrees. The whole check of the crash tests is in this file.

A *flow* is what one publisher sends to one address, numbered from 0. A *reading* is what one consumer gets of one flow. A run is good if for every reading

  1. nothing acknowledged to the publisher is missing at the end;
  2. nothing arrives that was not sent, and bodies are whole;
  3. the first arrivals are in the order of sending;
  4. a message arrives again only as a redelivery or as a copy:
     - a redelivery carries the flag (MQTT's DUP, AMQP's redelivered), comes on a later connection than what it repeats, once on each, and that was not
       acknowledged by the consumer, or so shortly before a kill or the end of its connection that the server may not have read or kept that: `GRACE` seconds;
     - a copy is one for each time that the publisher repeated the message because it was unconfirmed;
  5. exactly once where the protocol says that (QoS 2 on both sides): never again;
  6. a transaction is there whole or not at all, and whole if its commit was confirmed.
"""

import bisect
from array import array

GRACE = 2.0
PATTERN = bytes(range(251)) * 8
HEAD = 12


def body(flow, number):
    """Says what it is; its length and its filling follow from the number."""
    return flow.to_bytes(4, "big") + number.to_bytes(8, "big") + PATTERN[number % 251 : number % 251 + number * 7919 % flow_size(flow)]


def flow_size(flow):
    return (40, 200, 1200)[flow % 3]


def is_shortly_before(time, times):
    at = bisect.bisect_left(times, time)
    return at < len(times) and times[at] - time <= GRACE


class Promises:
    """All flows and readings of a run. Times are the monotonic clock's seconds."""

    def __init__(self):
        self.flows = []
        self.readings = []
        self.kills = []
        self.broken = {}
        self.examples = []

    def flow(self, name, exactly_once=False, batch=0):
        flow = Flow(self, len(self.flows), name, exactly_once, batch)
        self.flows.append(flow)
        return flow

    def reading(self, reader, flow, exactly_once=False, losses=()):
        """`losses`: when the reader's connections ended."""
        reading = Reading(self, reader, flow, exactly_once, losses)
        self.readings.append(reading)
        flow.readings.append(reading)
        return reading

    def breach(self, kind, text):
        self.broken[kind] = self.broken.get(kind, 0) + 1
        if self.broken[kind] <= 5:
            self.examples.append(f"{kind}: {text}")

    def arrived(self):
        return sum(reading.count + reading.redelivered + reading.copies for reading in self.readings) + sum(flow.acknowledged_count for flow in self.flows)

    def finish(self):
        """Whether everything was kept; `report` says it in words."""
        for reading in self.readings:
            reading.finish()
        return not self.broken

    def report(self):
        counted = {
            "kills": len(self.kills), "sent": sum(len(flow.transmissions) for flow in self.flows),
            "acknowledged": sum(flow.acknowledged_count for flow in self.flows), "delivered": sum(reading.count for reading in self.readings),
            "redelivered": sum(reading.redelivered for reading in self.readings), "copies": sum(reading.copies for reading in self.readings),
        }  # fmt: skip
        words = ", ".join(f"{name} {count:,}" for name, count in counted.items())
        return "\n".join([words, *(f"BROKEN {kind}: {count:,} times" for kind, count in self.broken.items()), *self.examples])


class Flow:
    def __init__(self, promises, number, name, exactly_once, batch):
        self.promises, self.number, self.name, self.exactly_once, self.batch = promises, number, name, exactly_once, batch
        self.transmissions = array("B")
        self.acknowledged = bytearray()
        self.acknowledged_count = self.given_up_count = 0
        self.readings = []

    def send(self):
        """The next number."""
        self.transmissions.append(1)
        self.acknowledged.append(0)
        return len(self.transmissions) - 1

    def repeat(self, number):
        """Sent again as its protocol says. With QoS 2 that makes no copies."""
        if not self.exactly_once:
            self.transmissions[number] = min(255, self.transmissions[number] + 1)

    def acknowledge(self, number):
        if not self.acknowledged[number]:
            self.acknowledged[number] = 1
            self.acknowledged_count += 1


class Reading:
    def __init__(self, promises, reader, flow, exactly_once, losses):
        self.promises, self.reader, self.flow, self.exactly_once, self.losses = promises, reader, flow, exactly_once, losses
        self.arrivals = bytearray()  # by number: first arrivals and copies
        self.connection = array("L")  # by number: on which of the reader's connections it came last
        self.repeatable = bytearray()  # by number: how many of the arrivals before that connection have not come again on it
        self.settled = array("d")  # by number: when the consumer acknowledged it last; 0: not
        self.highest, self.low = -1, 0
        self.count = self.redelivered = self.copies = 0

    def _breach(self, kind, number, text=""):
        self.promises.breach(kind, f"{self.reader}, {self.flow.name} number {number} {text}".rstrip())

    def arrive(self, payload, is_flagged, connection):
        """Its number; None if it is none of ours."""
        number = int.from_bytes(payload[4:HEAD], "big")
        if number >= len(self.flow.transmissions):
            return self._breach("never sent", number)
        if payload != body(self.flow.number, number):
            self._breach("a damaged body", number, f"{len(payload)} bytes")
        while len(self.arrivals) <= number:
            self.arrivals.append(0)
            self.connection.append(0)
            self.repeatable.append(0)
            self.settled.append(0)
        if not self.arrivals[number]:
            if number < self.highest:
                self._breach("out of order", number, f"first came after {self.highest}")
            self.highest = max(self.highest, number)
            self.arrivals[number] = 1
            self.count += 1
        elif self.exactly_once:
            self._breach("not exactly once", number)
        else:
            is_later = connection > self.connection[number]
            if is_later:
                self.repeatable[number] = self.arrivals[number] if self._was_open(self.settled[number]) else 0
            self._again(number, is_flagged, is_later)
        self.connection[number] = connection
        self.settled[number] = 0
        return number

    def _was_open(self, settled):
        return not settled or is_shortly_before(settled, self.promises.kills) or is_shortly_before(settled, self.losses)

    def _again(self, number, is_flagged, is_later):
        if is_flagged and self.repeatable[number]:
            self.repeatable[number] -= 1
            self.redelivered += 1
            return
        self.copies += 1
        self.arrivals[number] = min(255, self.arrivals[number] + 1)
        if self.arrivals[number] > self.flow.transmissions[number]:
            why = "not flagged" if self.repeatable[number] else "acknowledged before" if is_later else "on one connection"
            self._breach(f"repeated, {why}", number, f"sent {self.flow.transmissions[number]} times")

    def settle(self, number, now):
        self.settled[number] = now

    def behind(self):
        """How many that may still come have not."""
        return len(self.flow.transmissions) - self.flow.given_up_count - self.count

    def is_complete(self):
        while self.low < len(self.flow.acknowledged) and (not self.flow.acknowledged[self.low] or self._has(self.low)):
            self.low += 1
        return self.low == len(self.flow.acknowledged)

    def _has(self, number):
        return number < len(self.arrivals) and self.arrivals[number] > 0

    def finish(self):
        for number, is_acknowledged in enumerate(self.flow.acknowledged):
            if is_acknowledged and not self._has(number):
                self._breach("acknowledged and lost", number)
        size = self.flow.batch
        for start in range(0, len(self.flow.transmissions) if size else 0, size or 1):
            there = sum(map(bool, self.arrivals[start : start + size]))
            if there not in (0, size):
                self._breach("a part of a transaction", start, f"{there} of {size}")
