import MartletBytes
import MartletCollections
import MartletCore
import MartletJournal
import Testing

/// Acknowledgements, the journal's lateness, and other shards, without any protocol.
@Suite struct ReceiptTests {
    @Test("With nothing to wait for, the acknowledgement is the answer") func immediate() {
        let bench = CoreBench(isJournaled: true)
        bench.bind(bench.queue(), "a/b")
        let publisher = bench.core.value.openPublisher(gateway: bench.gateway, token: 1)
        #expect(bench.publish("x", from: publisher, tag: 1) == .routed, "the queue is not durable")
        #expect(bench.publish("x", to: "nobody", from: publisher, tag: 2) == .unroutable)
        #expect(bench.effects.value.records.isEmpty == true)
    }

    private static func bytes(_ buffer: borrowing ByteBuffer) -> [UInt8] { buffer.span.array }

    @Test("A group that is opened while the journal's contents come back is defined when the journal goes on") func groupWhileRestoring() {
        let bench = CoreBench(isJournaled: true)
        bench.core.value.isRestoring = true
        var policy = QueuePolicy()
        policy.isDurable = true
        let member = bench.queue { $0.isDurable = true }, hub = bench.router.meetingPoint
        let isJoined = bench.core.value.join(
            Array("g".utf8), hub, Array("s/#".utf8), member, BindingOptions(), policy: policy, limit: 0, into: &bench.effects.value)
        #expect(isJoined)
        #expect(bench.effects.value.records.isEmpty == true, "nothing has a name yet")
        bench.core.value.begin(at: JournalTail(segment: 64, offset: 92, ordinal: 5), into: &bench.effects.value)
        let records = Self.bytes(bench.effects.value.records)
        #expect(records[4] == 17, "a definition")
        #expect(records[5...8] == [0, 0, 0, 5])
        #expect(bench.core.value.journalTail.ordinal == 6)
    }

    @Test("An acknowledgement waits for a late journal, and a later transient one does not overtake it") func lateJournal() {
        let bench = CoreBench(isJournaled: true)
        let durable = bench.queue { $0.isDurable = true }, transient = bench.queue()
        bench.bind(durable, "durable")
        bench.bind(transient, "transient")
        let publisher = bench.core.value.openPublisher(gateway: bench.gateway, token: 1)
        let other = bench.core.value.openPublisher(gateway: bench.gateway, token: 2)
        #expect(bench.publish("1", to: "durable", from: publisher, tag: 1) == nil)
        #expect(bench.publish("2", to: "transient", from: publisher, tag: 2) == nil, "behind the first one")
        #expect(bench.publish("3", to: "nobody", from: publisher, tag: 3) == nil)
        #expect(bench.publish("4", to: "transient", from: other, tag: 9) == .routed, "another connection does not wait")
        #expect(bench.takeAcknowledgements().isEmpty)
        bench.core.value.journalCompleted(upTo: bench.effects.value.lastTicket, into: &bench.effects.value)
        let out = bench.takeAcknowledgements()
        #expect(out.map(\.tag) == [1, 2, 3])
        #expect(out.map(\.outcome) == [.routed, .routed, .unroutable])
        #expect(bench.core.value.isWaiting(publisher) == false)
    }

    @Test("What is not on disk yet is not delivered, nor is what stands behind it") func watermark() {
        let bench = CoreBench(isJournaled: true)
        let queue = bench.queue { $0.isDurable = true }
        bench.bind(queue, "a/b")
        _ = bench.consumer(queue, token: 1)
        #expect(bench.publish("transient", flags: []).given.map(\.text) == ["transient"])
        #expect(bench.publish("1", flags: .persistent).given.isEmpty)
        let first = bench.effects.value.lastTicket
        #expect(bench.publish("behind", flags: []).given.isEmpty)
        #expect(bench.publish("2", flags: .persistent).given.isEmpty)
        bench.core.value.journalCompleted(upTo: first, into: &bench.effects.value)
        #expect(bench.take().map(\.text) == ["1", "behind"])
        bench.core.value.journalCompleted(upTo: bench.effects.value.lastTicket, into: &bench.effects.value)
        #expect(bench.take().map(\.text) == ["2"])
    }

    @Test("A full queue refuses, and the refusal keeps its place in the order") func refusedInOrder() {
        let bench = CoreBench(isJournaled: true)
        let queue = bench.queue {
            $0.isDurable = true; $0.messagesMax = 1
        }
        bench.bind(queue, "a/b")
        let publisher = bench.core.value.openPublisher(gateway: bench.gateway, token: 1)
        #expect(bench.publish("1", from: publisher, tag: 1) == nil)
        #expect(bench.publish("2", from: publisher, tag: 2) == nil)
        bench.core.value.journalCompleted(upTo: bench.effects.value.lastTicket, into: &bench.effects.value)
        #expect(bench.takeAcknowledgements().map(\.outcome) == [.routed, .refused])
    }

    @Test("A publisher that goes is owed nothing, and its number's next holder gets none of it") func publisherGone() {
        let bench = CoreBench(isJournaled: true)
        let queue = bench.queue { $0.isDurable = true }
        bench.bind(queue, "a/b")
        let gone = bench.core.value.openPublisher(gateway: bench.gateway, token: 1)
        _ = bench.publish("1", from: gone, tag: 1)
        bench.core.value.closePublisher(gone)
        let next = bench.core.value.openPublisher(gateway: bench.gateway, token: 2)
        #expect(next == gone)
        _ = bench.publish("2", from: next, tag: 7)
        bench.core.value.journalCompleted(upTo: bench.effects.value.lastTicket, into: &bench.effects.value)
        #expect(bench.takeAcknowledgements().map(\.tag) == [7])
    }

    @Test("A memory journal completes late and in batches, in order") func memoryJournal() {
        let journal = MemoryJournal(latency: .milliseconds(10))
        var records = ByteBuffer(), now = Instant(nanoseconds: 0)
        #expect(journal.completed(at: now) == 0)
        #expect(journal.deadline == .never)
        journal.append(&records, upTo: 3, order: 0, at: now)
        now = now + .milliseconds(4)
        journal.append(&records, upTo: 5, order: 0, at: now)
        journal.append(&records, upTo: 9, order: 0, at: now)
        #expect(journal.completed(at: now) == 0)
        now = now + .milliseconds(6)
        #expect(journal.completed(at: now) == 3)
        #expect(journal.deadline == now + .milliseconds(10))
        now = now + .milliseconds(10)
        #expect(journal.completed(at: now) == 9)
        #expect(journal.syncs == 2)
    }

    // MARK: Several shards

    @Test("A message for another shard crosses once, with its properties, and is matched there") func crossing() {
        let router = Router()
        let here = CoreBench(shard: 0, shards: 2, router: router), there = CoreBench(shard: 1, shards: 2, router: router)
        let mine = here.queue(), one = there.queue(), two = there.queue()
        here.bind(mine, "a/+")
        there.bind(one, "a/#")
        there.bind(two, "a/b")
        _ = there.consumer(one, token: 1)
        _ = there.consumer(two, token: 2)
        #expect(here.publish("x", properties: [1, 2, 3]).outcome == .routed)
        #expect(here.depth(mine) == (1, 0))
        #expect(Set(here.send(to: there).map(\.token)) == [1, 2])
        #expect(here.send(to: there).isEmpty)
    }

    @Test("An acknowledgement waits for the other shard's answer, and says if its queue refused") func remoteRefusal() {
        let router = Router()
        let here = CoreBench(shard: 0, shards: 2, router: router), there = CoreBench(shard: 1, shards: 2, router: router)
        let queue = there.queue { $0.messagesMax = 1 }
        there.bind(queue, "a/b")
        let publisher = here.core.value.openPublisher(gateway: here.gateway, token: 1)
        #expect(here.publish("1", from: publisher, tag: 1) == nil)
        #expect(here.publish("2", from: publisher, tag: 2) == nil)
        _ = here.send(to: there)
        #expect(here.takeAcknowledgements().isEmpty)
        _ = there.send(to: here)
        let out = here.takeAcknowledgements()
        #expect(out.map(\.tag) == [1, 2])
        #expect(out.map(\.outcome) == [.routed, .refused])
    }

    @Test("A durable queue on another shard delivers when the publisher's journal has it") func remoteWatermark() {
        let router = Router()
        let here = CoreBench(shard: 0, shards: 2, router: router, isJournaled: true), there = CoreBench(shard: 1, shards: 2, router: router, isJournaled: true)
        let queue = there.queue { $0.isDurable = true }
        there.bind(queue, "a/b")
        _ = there.consumer(queue, token: 1)
        let publisher = here.core.value.openPublisher(gateway: here.gateway, token: 1)
        #expect(here.publish("1", from: publisher, tag: 1) == nil)
        #expect(here.send(to: there).isEmpty)
        _ = there.send(to: here)
        #expect(here.takeAcknowledgements().isEmpty, "answered, but not on disk")
        here.core.value.journalCompleted(upTo: here.effects.value.lastTicket, into: &here.effects.value)
        #expect(here.takeAcknowledgements().map(\.tag) == [1])
        #expect(here.send(to: there).map(\.text) == ["1"])
    }

    @Test("An answer that comes after its publisher has gone changes nothing") func lateAnswer() {
        let router = Router()
        let here = CoreBench(shard: 0, shards: 2, router: router), there = CoreBench(shard: 1, shards: 2, router: router)
        there.bind(there.queue(), "a/b")
        let gone = here.core.value.openPublisher(gateway: here.gateway, token: 1)
        _ = here.publish("1", from: gone, tag: 1)
        here.core.value.closePublisher(gone)
        let next = here.core.value.openPublisher(gateway: here.gateway, token: 2)
        _ = here.publish("2", from: next, tag: 2)
        _ = here.send(to: there)
        _ = there.send(to: here)
        #expect(here.takeAcknowledgements().map(\.tag) == [2])
    }

    // MARK: Endpoints

    @Test("An endpoint outlives its connection for its lifetime, then goes with its queue and bindings") func endpointLifetime() {
        let bench = CoreBench()
        let identity = Array("meter-7".utf8)
        #expect(bench.router.claim(identity.span, for: 0).endpoint.isNone)
        let endpoint = bench.core.value.openEndpoint(identity.span, gateway: bench.gateway, queue: QueuePolicy(), lifetime: .seconds(60))
        bench.core.value.attach(endpoint, token: 5, gatewayState: 3, lifetime: .seconds(60), into: &bench.effects.value)
        bench.bind(bench.core.value.queue(of: endpoint), "a/b")
        #expect(bench.core.value.detach(endpoint, lost: true, into: &bench.effects.value) == false)
        #expect(bench.router.claim(identity.span, for: 1) == (0, endpoint))
        #expect(bench.publish("kept").outcome == .routed)
        #expect(bench.core.value.deadline == Instant(nanoseconds: 60_000_000_000))
        bench.core.value.wake(at: Instant(nanoseconds: 59_000_000_000), into: &bench.effects.value)
        #expect(bench.core.value.endpointCount == 1)
        bench.core.value.wake(at: Instant(nanoseconds: 60_000_000_000), into: &bench.effects.value)
        var ended: [UInt32] = []
        bench.effects.value.removeAnnouncements { ended.append($0.gatewayState) }
        #expect(ended == [3])
        #expect(bench.publish("lost").outcome == .unroutable)
        #expect(bench.router.claim(identity.span, for: 1) == (1, .none))
        #expect(bench.core.value.storedBytes == 0)
    }

    @Test("An endpoint that comes back in time stays") func endpointReturns() {
        let bench = CoreBench()
        let identity = Array("m".utf8)
        _ = bench.router.claim(identity.span, for: 0)
        let endpoint = bench.core.value.openEndpoint(identity.span, gateway: bench.gateway, queue: QueuePolicy(), lifetime: .seconds(10))
        for _ in 0..<3 {
            _ = bench.core.value.detach(endpoint, lost: false, into: &bench.effects.value)
            bench.core.value.attach(endpoint, token: 1, gatewayState: 1, lifetime: .seconds(10), into: &bench.effects.value)
        }
        bench.core.value.wake(at: Instant(nanoseconds: 11_000_000_000), into: &bench.effects.value)
        #expect(bench.core.value.endpointCount == 1)
        bench.core.value.heard(at: Instant(nanoseconds: 20_000_000_000), WallTime(milliseconds: 0))
        _ = bench.core.value.detach(endpoint, lost: false, into: &bench.effects.value)
        bench.core.value.wake(at: Instant(nanoseconds: 29_000_000_000), into: &bench.effects.value)
        #expect(bench.core.value.endpointCount == 1)
        bench.core.value.wake(at: Instant(nanoseconds: 30_000_000_000), into: &bench.effects.value)
        #expect(bench.core.value.endpointCount == 0)
    }

    @Test("The farewell is published when the connection is lost, and not when it ends in good order", arguments: [true, false])
    func farewell(lost: Bool) {
        let bench = CoreBench()
        let identity = Array("m".utf8), address = Array("gone".utf8), body = Array("m is gone".utf8)
        let watcher = bench.queue { $0.passesAtMostOnce = true }
        bench.bind(watcher, "gone")
        _ = bench.consumer(watcher, token: 9)
        _ = bench.router.claim(identity.span, for: 0)
        let endpoint = bench.core.value.openEndpoint(identity.span, gateway: bench.gateway, queue: QueuePolicy(), lifetime: .zero)
        let message = Message(
            hub: bench.router.meetingPoint, address: address.span, properties: Span(), body: body.span,
            header: MessageHeader(origin: bench.gateway, flags: .atMostOnce))
        bench.core.value.setFarewell(endpoint, message, into: &bench.effects.value)
        #expect(bench.core.value.detach(endpoint, lost: lost, into: &bench.effects.value) == true)
        #expect(bench.take().map(\.text) == (lost ? ["m is gone"] : []))
        #expect(bench.core.value.storedBytes == 0)
    }
}
