import MartletBytes
import MartletZMTPProtocol
import Testing

/// What stands around requests and replies, and what waits for a peer.
@Suite("ZMTP envelopes and outboxes")
struct ZMTPEnvelopeTests {
    /// The frames of an encoded message.
    private static func frames(_ bytes: [UInt8]) -> [[UInt8]] {
        var frames: [[UInt8]] = [], at = 0
        while at < bytes.count {
            let count = Int(bytes[at + 1])
            frames.append(Array(bytes[at + 2..<at + 2 + count]))
            at += 2 + count
        }
        return frames
    }

    /// What of a message is a reply's body.
    private static func body(_ request: inout ZMTPRequest, _ message: [[UInt8]], from peer: UInt32) -> [[UInt8]] {
        message.enumerated().compactMap { index, frame in request.read(frame.span, more: index + 1 < message.count, from: peer) ? frame : nil }
    }

    private static func body(_ reply: inout ZMTPReply, _ message: [[UInt8]], from peer: UInt32) -> [[UInt8]] {
        var body: [[UInt8]] = []
        for (index, frame) in message.enumerated() where reply.read(frame.span, more: index + 1 < message.count, from: peer) { body.append(frame) }
        return body
    }

    @Test("A REQ takes the reply to its request, from whom it asked, and nothing else")
    func request() throws {
        var request = ZMTPRequest(first: 1), output = ByteBuffer()
        #expect(Self.body(&request, [[], [1]], from: 4) == [])
        try request.begin(to: 4, into: &output)
        let written = Self.frames(output.span.array)
        #expect(written == [[]])
        #expect(throws: ZMTPRequest.Misuse.awaitsReply) { try request.begin(to: 5, into: &output) }
        #expect(Self.body(&request, [[], [1]], from: 5) == [])
        #expect(Self.body(&request, [[1], [], [1]], from: 4) == [])
        #expect(Self.body(&request, [[]], from: 4) == [])
        #expect(request.droppedCount == 4 && request.awaited == 4)
        #expect(Self.body(&request, [[], [2], [3]], from: 4) == [[2], [3]])
        #expect(request.awaited == nil)
        #expect(Self.body(&request, [[], [2], [3]], from: 4) == [])
    }

    @Test("A relaxed REQ asks again, and a late reply is not taken for the new one")
    func relaxed() throws {
        var request = ZMTPRequest(isRelaxed: true, first: 0xFFFF_FFFF), first = ByteBuffer(), second = ByteBuffer()
        try request.begin(to: 4, into: &first)
        let old = Self.frames(first.span.array)
        #expect(old == [[0, 0, 0, 0], []])
        // Half of the reply has come when the next request is made.
        let number = old[0], empty = old[1]
        let isNumberBody = request.read(number.span, more: true, from: 4), isEmptyBody = request.read(empty.span, more: true, from: 4)
        try request.begin(to: 4, into: &second)
        let rest: [UInt8] = [9]
        let isLate = request.read(rest.span, more: false, from: 4)
        #expect(!isNumberBody && !isEmptyBody && !isLate && request.awaited == 4)
        let new = Self.frames(second.span.array)
        #expect(new == [[0, 0, 0, 1], []])
        #expect(Self.body(&request, old + [[1]], from: 4) == [])
        #expect(Self.body(&request, new + [[2]], from: 4) == [[2]])
        #expect(request.droppedCount == 2)
    }

    @Test("A peer that goes leaves half a reply, which is nothing, and the request may be made again")
    func lostPeer() throws {
        var request = ZMTPRequest(first: 1), output = ByteBuffer()
        try request.begin(to: 4, into: &output)
        let empty: [UInt8] = []
        let isBody = request.read(empty.span, more: true, from: 4)
        #expect(!isBody && !request.lost(5) && request.lost(4) && request.awaited == nil)
        try request.begin(to: 6, into: &output)
        #expect(Self.body(&request, [[], [7]], from: 6) == [[7]])
    }

    @Test("A REP's reply goes the way the request came", arguments: [[], [[1]], [[1], [2, 3], [4]]] as [[[UInt8]]])
    func reply(route: [[UInt8]]) {
        var reply = ZMTPReply(), output = ByteBuffer()
        let early = reply.begin(into: &output)
        #expect(early == nil)
        #expect(Self.body(&reply, route + [[], [5], [], [6]], from: 9) == [[5], [], [6]])
        let peer = reply.begin(into: &output), written = Self.frames(output.span.array), again = reply.begin(into: &output)
        #expect(peer == 9 && written == route + [[]] && again == nil)
    }

    @Test("A request without an empty frame, or with too many before it, is dropped whole")
    func malformedRequest() {
        var reply = ZMTPReply(envelopeFramesMax: 2), output = ByteBuffer()
        #expect(Self.body(&reply, [[1]], from: 9) == [])
        #expect(Self.body(&reply, [[1], []], from: 9) == [])
        #expect(Self.body(&reply, [[1], [2], [3], [], [4]], from: 9) == [])
        let peer = reply.begin(into: &output), dropped = reply.droppedCount
        #expect(peer == nil && dropped == 3)
        #expect(Self.body(&reply, [[1], [2], [], [4]], from: 9) == [[4]])
        reply.lost(9)
        let gone = reply.begin(into: &output), isSilent = output.isEmpty
        #expect(gone == nil && isSilent)
    }

    @Test("An outbox takes messages up to its mark, and gives them in order, several at once")
    func outbox() {
        var box = ZMTPOutbox(highWaterMark: 4, bytesMax: 100)
        let messages: [[UInt8]] = (0..<5).map { [UInt8](repeating: $0, count: 10) }
        for (index, message) in messages.enumerated() {
            let isTaken = box.append(message.span)
            #expect(isTaken == (index < 4))
            if !isTaken { box.drop() }
        }
        let isFull = box.isFull, isHalfEmpty = box.isHalfEmpty, dropped = box.droppedCount
        #expect(isFull && !isHalfEmpty && dropped == 1)
        let some = box.take(atMost: 25), one = box.take(atMost: 1)
        #expect(some.messages == 2 && some.frames == ByteRange(0, 20) && one.messages == 1)
        let bytes = box.frames.at(some.frames).array
        #expect(bytes == messages[0] + messages[1])
        box.removeFirst(2)
        let isFreeAgain = box.isHalfEmpty && !box.isFull, rest = box.take(atMost: .max), left = box.frames.at(rest.frames).array
        #expect(isFreeAgain && rest.messages == 2 && left == messages[2] + messages[3])
        box.removeFirst(2)
        let isEmpty = box.isEmpty && box.byteCount == 0
        #expect(isEmpty)
    }

    @Test("Bytes are a limit too, but for a first message, which may be as long as it is")
    func outboxBytes() {
        var box = ZMTPOutbox(bytesMax: 100)
        let long = [UInt8](repeating: 1, count: 300), short: [UInt8] = [1]
        let first = box.append(long.span), second = box.append(short.span)
        #expect(first && !second)
        box.removeFirst(1)
        let third = box.append(short.span), fourth = box.append(long.span)
        #expect(third && !fourth)
    }

    @Test("A conflating outbox holds the newest message and counts the others")
    func conflates() {
        var box = ZMTPOutbox(conflates: true)
        for number in 0..<5 as Range<UInt8> {
            let message = [number], isTaken = box.append(message.span)
            #expect(isTaken)
        }
        let taken = box.take(atMost: .max), bytes = box.frames.at(taken.frames).array, replaced = box.replacedCount, isFull = box.isFull
        #expect(taken.messages == 1 && bytes == [4] && replaced == 4 && !isFull)
    }
}
