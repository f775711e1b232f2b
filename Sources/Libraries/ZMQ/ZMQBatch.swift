internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

/// What has come, read in place: no array is made for a message.
/// ```swift
/// try await socket.withBatch { batch in
///     while batch.next() { total += batch.span(of: 0).count }
/// }
/// ```
public struct ZMQBatch: ~Copyable {
    private let core: SocketCore
    private var current: Batch
    /// Of other peers, whose messages come in turn with those of `current`: none of them is at its end, and the next is at `turn`.
    private var others: [Batch]
    private var turn = 0
    private var place = Batch.Place()
    /// The message that is shown, if it was handed over.
    private var handed = ZMQMessage()

    init(_ core: SocketCore, _ first: Batch, _ others: [Batch]) {
        self.core = core
        current = first
        self.others = others
    }

    /// Moves on to the next message, of each peer that has one in turn; the first call to the first. False at the end.
    public mutating func next() -> Bool {
        repeat {
            if place.count > 0, !others.isEmpty {
                if turn >= others.count { turn = 0 }
                if current.isAtEnd {
                    current = others.remove(at: turn)
                } else {
                    swap(&current, &others[turn])
                    turn += 1
                }
            }
            guard !current.isAtEnd else {
                place = Batch.Place()
                return false
            }
            place = current.advance()
            if place.isHanded { handed = current.handedMessage }
        } while !core.isWanted(self)
        return true
    }

    /// Frames of the message; a ROUTER's first names the peer.
    public var count: Int { current.routingID.isEmpty ? place.count : place.count + 1 }

    /// A frame of the message. Traps outside of 0..<count.
    @_lifetime(borrow self)
    public func span(of frame: Int) -> Span<UInt8> {
        if current.routingID.isEmpty { return body(frame) }
        if frame == 0 { return current.routingID.span }
        return body(frame - 1)
    }

    @_lifetime(borrow self)
    private func body(_ frame: Int) -> Span<UInt8> {
        precondition(frame >= 0 && frame < place.count, "a frame that the message has not")
        if place.isHanded { return handed.span(of: frame) }
        return current.inbox.bytes.span.extracting(current.range(of: frame, place))
    }

    /// What was not shown, and memory to use again.
    consuming func end() -> (rest: [Batch], spare: Inbox) {
        var rest = others
        if current.isAtEnd { return (rest, current.surrender()) }
        rest.append(current)
        return (rest, Inbox())
    }
}

extension ZMQSocket where Pattern: ZMQReceiver {
    /// Waits until something has come, and shows all of it to `body`; messages that `body` does not look at come again. Another task that receives meanwhile
    /// gets what comes later. Throws `closed` once nothing can come, `cancelled`, `timedOut` after `timeout`, or what `body` throws.
    public func withBatch<Result>(timeout: Duration? = nil, _ body: (inout ZMQBatch) throws -> Result) async throws -> Result {
        let deadline = core.deadline(timeout)
        while true {
            let (taken, isClosed) = core.takeAll()
            guard let first = taken.first else {
                if isClosed { throw ZMQError.closed }
                try await core.waitForMessage(until: deadline)
                continue
            }
            var batch = ZMQBatch(core, first, Array(taken.dropFirst()))
            do {
                let result = try body(&batch)
                core.giveBack(batch.end())
                return result
            } catch {
                core.giveBack(batch.end())
                throw error
            }
        }
    }
}

extension SocketCore {
    fileprivate func takeAll() -> (taken: [Batch], isClosed: Bool) {
        var resumed: [PeerName] = [], credits: [(InprocLink, Int)] = [], taken: [Batch] = []
        let isClosed = reading.withLock { reading in
            var isClosed = false
            if reading.batches.isEmpty {
                isClosed = shared.withLock { shared in
                    shared.state.take(into: &reading.batches, spare: &reading.spare, resumed: &resumed, credits: &credits)
                    return shared.isClosed
                }
            }
            swap(&taken, &reading.batches)
            return isClosed
        }
        if !resumed.isEmpty { onLoop { [resumed] host in host.resumeReading(resumed) } }
        for (link, count) in credits { link.core.credit(count, to: link.peer) }
        return (taken, isClosed)
    }

    fileprivate func giveBack(_ left: (rest: [Batch], spare: Inbox)) {
        reading.withLock { reading in
            reading.batches.insert(contentsOf: left.rest, at: 0)
            if reading.spare.bytes.capacity < left.spare.bytes.capacity { reading.spare = left.spare }
        }
    }

    /// SUB: whether it is subscribed to.
    fileprivate func isWanted(_ batch: borrowing ZMQBatch) -> Bool {
        switch type {
        case .client: return batch.count == 1
        case .sub:
            let topic = batch.span(of: 0)
            return reading.withLock { reading in
                if reading.filter.wants(topic) != options.invertsMatching { return true }
                reading.unwanted &+= 1
                return false
            }
        default: return true
        }
    }
}
