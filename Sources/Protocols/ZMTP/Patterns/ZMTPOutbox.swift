public import MartletBytes
internal import MartletCollections

/// What waits for one peer: whole messages, as the frames they will be, behind one another, so that many leave in one copy. Owns nothing while it is empty.
///
/// Invariant: `count <= highWaterMark` and, but for a first message, bytes <= `bytesMax`. Not here: what a full one means, which is the pattern's: PUSH, DEALER and
/// REQ wait, PUB, RADIO and ROUTER drop the newest (`drop` counts it), SERVER and STREAM tell their caller.
public struct ZMTPOutbox: ~Copyable {
    /// Messages that may wait. libzmq's ZMQ_SNDHWM: 1,000.
    public let highWaterMark: Int
    /// Bytes that may wait, because a thousand messages may be large.
    public let bytesMax: Int
    /// Only the newest message is kept: what it replaces is `replacedCount` (libzmq's ZMQ_CONFLATE).
    public let conflates: Bool
    private var bytes = ByteBuffer()
    private var sizes = Ring<UInt32>()
    public private(set) var droppedCount: UInt64 = 0
    public private(set) var replacedCount: UInt64 = 0

    public init(highWaterMark: Int = 1000, bytesMax: Int = 64 << 20, conflates: Bool = false) {
        precondition(highWaterMark > 0 && bytesMax > 0 && bytesMax <= 1 << 30)
        self.highWaterMark = highWaterMark
        self.bytesMax = bytesMax
        self.conflates = conflates
    }

    public var count: Int { sizes.count }
    public var isEmpty: Bool { sizes.isEmpty }
    public var byteCount: Int { bytes.count }
    /// Nothing more is taken.
    public var isFull: Bool { !conflates && (sizes.count >= highWaterMark || bytes.count >= bytesMax) }
    /// After it was full, whoever waits goes on from here: half, so that not each message wakes somebody.
    public var isHalfEmpty: Bool { conflates || sizes.count <= highWaterMark / 2 && bytes.count <= bytesMax / 2 }

    /// One whole message, as `ZMTPEncoder` writes it. False: it is full, nothing was done.
    public mutating func append(_ frames: Span<UInt8>) -> Bool {
        if conflates, !sizes.isEmpty {
            replacedCount += UInt64(sizes.count)
            clear()
        }
        if isFull || !sizes.isEmpty && bytes.count + frames.count > bytesMax { return false }
        bytes.append(frames)
        sizes.append(UInt32(frames.count))
        return true
    }

    /// A message that was not taken is gone for good.
    public mutating func drop() { droppedCount += 1 }

    /// The oldest messages, as many as fit into `limit` bytes and at least one, behind one another; they go with `removeFirst`.
    public func take(atMost limit: Int) -> (frames: ByteRange, messages: Int) {
        var size = 0, messages = 0
        while messages < sizes.count, messages == 0 || size + Int(sizes[messages]) <= limit {
            size += Int(sizes[messages])
            messages += 1
        }
        return (ByteRange(0, size), messages)
    }

    /// What `take`'s range speaks of.
    public var frames: Span<UInt8> {
        @_lifetime(borrow self) get { bytes.span }
    }

    /// The oldest messages have been written.
    public mutating func removeFirst(_ messages: Int) {
        var size = 0
        for _ in 0..<messages { size += Int(sizes.removeFirst()) }
        bytes.consume(size)
        if sizes.isEmpty { clear() }
    }

    private mutating func clear() {
        while !sizes.isEmpty { sizes.removeFirst() }
        if bytes.capacity > 4096 { bytes.release() } else { bytes.removeAll() }
    }
}
