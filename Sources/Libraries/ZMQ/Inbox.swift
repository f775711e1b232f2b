internal import MartletBytes

/// Whole messages in the order in which they came, as flat bytes and boundaries.
///
/// Invariant: `wholeMarks` and `wholeBytes` end with the last frame of a message; what lies behind them is a message that still goes on.
struct Inbox: Sendable {
    struct Mark: Sendable {
        /// Where the frame ends in `bytes`.
        var end: UInt32
        var hasMore: Bool
        /// The whole message lies in `handed`, and no byte of it in `bytes`.
        var isHanded: Bool
    }
    var bytes: [UInt8] = []
    var marks: [Mark] = []
    /// Messages that were handed over as they were, in order.
    var handed: [ZMQMessage] = []
    private(set) var wholeMarks = 0
    private(set) var wholeBytes = 0
    /// Whole messages.
    private(set) var count = 0
    /// Bytes of handed messages.
    private var handedBytes = 0

    /// From this size on a message in the process is handed over instead of being copied, in bytes: below, an array's life costs more.
    static let handedMin = 1 << 10

    /// Bytes of whole messages.
    var size: Int { wholeBytes + handedBytes }
    var isEmpty: Bool { count == 0 }

    @inline(__always) mutating func append(_ frame: Span<UInt8>, more: Bool) {
        bytes.append(frame)
        marks.append(Mark(end: UInt32(truncatingIfNeeded: bytes.count), hasMore: more, isHanded: false))
        if !more { noteWhole() }
    }

    @inline(__always) private mutating func noteWhole() {
        wholeMarks = marks.count
        wholeBytes = bytes.count
        count &+= 1
    }

    /// The frames of `prefix`, then those of `message` from `first` on. Only between two messages.
    mutating func append(_ prefix: ZMQMessage?, _ message: ZMQMessage, from first: Int) {
        if prefix == nil, first == 0, message.byteCount >= Self.handedMin {
            handed.append(message)
            handedBytes += message.byteCount
            marks.append(Mark(end: UInt32(truncatingIfNeeded: bytes.count), hasMore: false, isHanded: true))
            return noteWhole()
        }
        if let prefix { for frame in 0..<prefix.count { append(prefix.span(of: frame), more: true) } }
        for frame in first..<message.count { append(message.span(of: frame), more: frame + 1 < message.count) }
    }

    /// Moves all whole messages of `other` behind the own; a message that goes on stays there.
    mutating func take(wholeOf other: inout Inbox) {
        if marks.isEmpty, other.wholeMarks == other.marks.count {
            swap(&self, &other)
            return other.removeAll()
        }
        let base = UInt32(truncatingIfNeeded: bytes.count)
        bytes.append(other.bytes.span.extracting(..<other.wholeBytes))
        marks.reserveCapacity(marks.count + other.wholeMarks)
        for mark in other.marks[..<other.wholeMarks] { marks.append(Mark(end: mark.end &+ base, hasMore: mark.hasMore, isHanded: mark.isHanded)) }
        handed += other.handed
        handedBytes += other.handedBytes
        (wholeMarks, wholeBytes, count) = (marks.count, bytes.count, count + other.count)
        other.dropWhole()
    }

    private mutating func dropWhole() {
        let cut = wholeBytes
        bytes.removeFirst(cut)
        marks.removeFirst(wholeMarks)
        for index in marks.indices { marks[index].end -= UInt32(truncatingIfNeeded: cut) }
        handed = []
        (wholeMarks, wholeBytes, count, handedBytes) = (0, 0, 0, 0)
    }

    /// Drops all messages but the last; none may go on behind it. Answers how many those were.
    mutating func keepLast() -> Int {
        guard count > 1 else { return 0 }
        let isHanded = marks[wholeMarks - 1].isHanded, dropped = count - 1
        var first = wholeMarks - 1
        while first > 0, marks[first - 1].hasMore { first -= 1 }
        let cut = first > 0 ? Int(marks[first - 1].end) : 0
        bytes.removeFirst(cut)
        marks.removeFirst(first)
        for index in marks.indices { marks[index].end -= UInt32(truncatingIfNeeded: cut) }
        handed.removeFirst(isHanded ? handed.count - 1 : handed.count)
        (wholeMarks, wholeBytes, count) = (marks.count, bytes.count, 1)
        handedBytes = handed.reduce(0) { $0 + $1.byteCount }
        return dropped
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: bytes.capacity <= 1 << 20)
        marks.removeAll(keepingCapacity: true)
        handed.removeAll()
        (wholeMarks, wholeBytes, count, handedBytes) = (0, 0, 0, 0)
    }
}

/// Messages of one peer that were taken out of its inbox and that nobody has read yet.
struct Batch: Sendable {
    let peer: PeerName
    /// What a ROUTER calls the peer; empty in other patterns.
    let routingID: [UInt8]
    var inbox = Inbox()
    private var mark = 0, start = 0, handed = 0

    init(peer: PeerName, routingID: [UInt8]) {
        self.peer = peer
        self.routingID = routingID
    }

    var isAtEnd: Bool { mark == inbox.wholeMarks }

    /// The next message; `isAtEnd` must be false.
    @inline(__always) mutating func next() -> ZMQMessage {
        let first = inbox.marks[mark]
        if !first.hasMore, !first.isHanded, routingID.isEmpty {
            let end = Int(first.end), frame = inbox.bytes.span.extracting(start..<end).array
            mark &+= 1
            start = end
            return ZMQMessage(bytes: frame, ends: [])
        }
        return nextOfMany()
    }

    private mutating func nextOfMany() -> ZMQMessage {
        if inbox.marks[mark].isHanded {
            mark += 1
            handed += 1
            let message = inbox.handed[handed - 1]
            guard !routingID.isEmpty else { return message }
            return ZMQMessage(frames: [routingID] + message.frames)
        }
        var ends: [Int] = routingID.isEmpty ? [] : [routingID.count]
        let began = start - routingID.count
        var end = start
        while true {
            let last = inbox.marks[mark]
            mark += 1
            end = Int(last.end)
            guard last.hasMore else { break }
            ends.append(end - began)
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(end - began)
        bytes += routingID
        bytes.append(inbox.bytes.span.extracting(start..<end))
        start = end
        return ZMQMessage(bytes: bytes, ends: ends)
    }

    /// Where a message lies.
    struct Place: Sendable {
        fileprivate var mark = 0, start = 0
        /// Frames.
        var count = 0
        /// It was handed over: `handedMessage`.
        var isHanded = false
    }

    /// Where the next message lies, which is passed by; `isAtEnd` must be false.
    @inline(__always) mutating func advance() -> Place {
        var place = Place(mark: mark, start: start, count: 1)
        if inbox.marks[mark].isHanded {
            mark &+= 1
            handed &+= 1
            (place.count, place.isHanded) = (inbox.handed[handed - 1].count, true)
            return place
        }
        while inbox.marks[mark].hasMore {
            mark &+= 1
            place.count &+= 1
        }
        start = Int(inbox.marks[mark].end)
        mark &+= 1
        return place
    }

    /// The message that was passed by last.
    var handedMessage: ZMQMessage { inbox.handed[handed - 1] }

    /// A frame's bytes.
    @inline(__always) func range(of frame: Int, _ place: Place) -> Range<Int> {
        let start = frame == 0 ? place.start : Int(inbox.marks[place.mark &+ frame &- 1].end)
        return start..<Int(inbox.marks[place.mark &+ frame].end)
    }

    /// Takes the memory away, for the next batch.
    mutating func surrender() -> Inbox {
        var inbox = Inbox()
        swap(&inbox, &self.inbox)
        inbox.removeAll()
        (mark, start, handed) = (0, 0, 0)
        return inbox
    }
}

/// One peer of a socket, told from all others that had its place.
struct PeerName: Sendable, Hashable {
    let index: Int
    let serial: UInt32
}
