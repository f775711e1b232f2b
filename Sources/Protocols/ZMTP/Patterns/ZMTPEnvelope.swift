public import MartletBytes

/// What a REQ writes around its requests, and reads around their replies (RFC 28): an empty frame in front, and before it, where replies are to be told from each
/// other, the request's number (libzmq's REQ_CORRELATE).
/// ```
/// [number, 4 bytes] [empty] body...
/// ```
/// Invariant: what `read` gives is the body of the reply to the last request, from the peer that it went to; everything else is dropped and counted.
public struct ZMTPRequest: Sendable {
    public enum Misuse: Error, Equatable, Sendable {
        /// A request waits for its reply (and `isRelaxed` is not set).
        case awaitsReply
    }

    private enum Place: UInt8 { case number, delimiter, body, dropped }

    /// Whether requests carry a number.
    public let correlates: Bool
    /// Whether a further request may be made before the reply: the one before is forgotten then (libzmq's REQ_RELAXED).
    public let isRelaxed: Bool
    private var number: UInt32
    private var place: Place
    /// Whose message is being read.
    private var speaker: UInt32?
    /// The peer that has the request.
    public private(set) var awaited: UInt32?
    /// Replies that were not: late, from another peer, or malformed.
    public private(set) var droppedCount = 0

    /// `first`: the first request's number, drawn at random. Relaxed without numbers could take a late reply for the right one, so it has them.
    public init(correlates: Bool = false, isRelaxed: Bool = false, first: UInt32) {
        self.correlates = correlates || isRelaxed
        self.isRelaxed = isRelaxed
        number = first
        place = self.correlates ? .number : .delimiter
    }

    /// Writes what stands before the request's body, which goes to `peer`.
    public mutating func begin(to peer: UInt32, into frames: inout ByteBuffer) throws(Misuse) {
        guard awaited == nil || isRelaxed else { throw .awaitsReply }
        awaited = peer
        // Half of the reply before came: the rest of it is nobody's.
        if speaker != nil { place = .dropped }
        if correlates {
            number &+= 1
            frames.append(0x0104 as UInt16)
            frames.append(number)
        }
        ZMTPEncoder.append(Span(), more: true, into: &frames)
    }

    /// A frame that came from `peer`: whether it is the reply's body. With its last one the request is over.
    public mutating func read(_ frame: Span<UInt8>, more: Bool, from peer: UInt32) -> Bool {
        let isBody: Bool
        speaker = peer
        switch place {
        case .number:
            isBody = false
            let isRight = peer == awaited && more && frame.count == 4 && frame.uint32(at: 0) == number
            place = isRight ? .delimiter : .dropped
        case .delimiter:
            isBody = false
            place = peer == awaited && more && frame.isEmpty ? .body : .dropped
        case .body: isBody = true
        case .dropped: isBody = false
        }
        if !more {
            if place == .body { awaited = nil } else { droppedCount += 1 }
            beginMessage()
        }
        return isBody
    }

    private mutating func beginMessage() {
        place = correlates ? .number : .delimiter
        speaker = nil
    }

    /// A peer has gone: whether its reply will not come, so the request may be made again.
    public mutating func lost(_ peer: UInt32) -> Bool {
        // Half of what it said is nothing.
        if peer == speaker { beginMessage() }
        guard peer == awaited else { return false }
        awaited = nil
        return true
    }
}

/// What a REP keeps of a request and writes before its reply (RFC 28): the frames up to the first empty one, which say the way back.
///
/// Invariant: one request at a time. Not here: which peer's turn it is (`ZMTPRotation`).
public struct ZMTPReply: ~Copyable {
    private enum Place: UInt8 { case envelope, body, dropped }

    /// As many routers as a request may have come through.
    public let envelopeFramesMax: Int
    /// The envelope, as frames.
    private var envelope = ByteBuffer()
    private var envelopeFrames = 0
    private var place = Place.envelope
    /// Whose request is being read or served.
    public private(set) var peer: UInt32?
    /// Requests without an empty frame, or with too many before it.
    public private(set) var droppedCount = 0

    /// 32 frames: two or three are many.
    public init(envelopeFramesMax: Int = 32) { self.envelopeFramesMax = envelopeFramesMax }

    /// A frame of a request: whether it is of the body. Nothing is read between a request's last frame and `begin`.
    public mutating func read(_ frame: Span<UInt8>, more: Bool, from peer: UInt32) -> Bool {
        self.peer = peer
        switch place {
        case .body: return true
        case .envelope where more && (frame.isEmpty || envelopeFrames < envelopeFramesMax):
            ZMTPEncoder.append(frame, more: true, into: &envelope)
            envelopeFrames += 1
            if frame.isEmpty { place = .body }
        case .envelope, .dropped:
            place = .dropped
            if more { return false }
            droppedCount += 1
            forget()
        }
        return false
    }

    /// Writes what stands before the reply's body, and forgets the request. Answers whom it goes to; nil: there was no request.
    public mutating func begin(into output: inout ByteBuffer) -> UInt32? {
        guard place == .body, let peer else { return nil }
        output.append(contentsOf: envelope)
        forget()
        return peer
    }

    /// A peer has gone, and what it asked with it.
    public mutating func lost(_ peer: UInt32) { if peer == self.peer { forget() } }

    private mutating func forget() {
        envelope.removeAll()
        envelopeFrames = 0
        place = .envelope
        peer = nil
    }
}
