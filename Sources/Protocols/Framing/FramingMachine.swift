public import MartletBytes

/// The smallest protocol: cuts a stream into frames and puts frames into a stream. Both sides are the same.
///
/// Invariant: `searched` bytes behind the last frame hold no LF, so that a line that arrives byte by byte is read once.
/// Not here: time (it has no deadline), text, and what a frame means.
public struct FramingMachine: ProtocolMachine, Sendable {
    public typealias Event = FramingEvent
    public typealias Outgoing = [UInt8]
    public typealias Violation = FramingViolation
    public typealias Misuse = FramingMisuse

    public let framing: Framing
    /// The longest frame that is taken and sent.
    public let frameMax: Int
    /// Bytes of a line already looked at.
    private var searched = 0
    /// Bytes of a frame have come that is not whole.
    private var isInFrame = false
    private var isClosed = false

    /// Traps when the fixed size is not positive, or a limit not representable (`FramingLimits`).
    public init(_ framing: Framing, limits: FramingLimits = FramingLimits()) {
        self.framing = framing
        switch framing {
        case .bytes: frameMax = .max
        case .lines: frameMax = limits.lineMax
        case .lengthPrefixed(.uint8): frameMax = min(limits.frameMax, 0xFF)
        case .lengthPrefixed(.uint16): frameMax = min(limits.frameMax, 0xFFFF)
        case .lengthPrefixed: frameMax = limits.frameMax
        case .fixed(let size): frameMax = size
        }
        precondition(framing == .bytes || (0...Int(UInt32.max) - 16).contains(frameMax) && framing != .fixed(0), "a frame of \(frameMax) bytes")
    }

    public mutating func heard(at now: Instant) {}
    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(FramingViolation) {}
    public var deadline: Instant { .never }

    @inline(__always)
    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(FramingViolation) -> FramingEvent? {
        let count = input.remaining
        if count == 0 || isClosed { return nil }
        if case .bytes = framing {
            input.offset += count
            return .frame(ByteRange(input.offset - count, count))
        }
        return try nextFrame(from: &input)
    }

    private mutating func nextFrame(from input: inout ByteReader) throws(FramingViolation) -> FramingEvent? {
        do throws(FramingViolation) {
            let frame =
                switch framing {
                case .bytes: input.readRange(input.remaining)
                case .lines: try nextLine(from: &input)
                case .lengthPrefixed(let width): try nextPrefixed(width, from: &input)
                case .fixed(let size): input.readRange(size)
                }
            isInFrame = frame == nil
            return frame.map { .frame($0) }
        } catch {
            isClosed = true
            throw error
        }
    }

    private mutating func nextLine(from input: inout ByteReader) throws(FramingViolation) -> ByteRange? {
        let start = input.offset, end = input.bytes.count
        guard let feed = input.bytes.first(Self.lineFeed, from: start + min(searched, end - start)) else {
            searched = end - start
            // A CR may yet turn out to belong to the line's end.
            let certain = searched > 0 && input.bytes[end - 1] == Self.carriageReturn ? searched - 1 : searched
            if certain > frameMax { throw .frameTooLong(max: frameMax) }
            return nil
        }
        let count = feed > start && input.bytes[feed - 1] == Self.carriageReturn ? feed - start - 1 : feed - start
        if count > frameMax { throw .frameTooLong(max: frameMax) }
        input.offset = feed + 1
        searched = 0
        return ByteRange(start, count)
    }

    private func nextPrefixed(_ width: Framing.PrefixWidth, from input: inout ByteReader) throws(FramingViolation) -> ByteRange? {
        let start = input.offset
        let length: UInt64? =
            switch width {
            case .uint8: input.readUInt8().map(UInt64.init)
            case .uint16: input.readUInt16().map(UInt64.init)
            case .uint32: input.readUInt32().map(UInt64.init)
            case .uint64: input.readUInt64()
            }
        guard let length else { return nil }
        let frame = length <= UInt64(frameMax) ? input.readRange(Int(length)) : nil
        if frame == nil { input.offset = start }
        if length > UInt64(frameMax) { throw .frameTooLong(max: frameMax) }
        return frame
    }

    private static let lineFeed = UInt8(ascii: "\n"), carriageReturn = UInt8(ascii: "\r")

    /// One frame: a line without its end, which is LF; a frame without its prefix.
    public mutating func send(_ frame: [UInt8], into output: inout ByteBuffer) throws(FramingMisuse) { try send(frame.span, into: &output) }

    /// As `send([UInt8])`, from where the bytes are.
    public mutating func send(_ frame: Span<UInt8>, into output: inout ByteBuffer) throws(FramingMisuse) {
        if isClosed { throw .closed }
        let count = frame.count
        if case .fixed(let size) = framing, count != size { throw .wrongSize(expected: size) }
        if count > frameMax { throw .frameTooLong(max: frameMax) }
        switch framing {
        case .bytes, .fixed: output.append(frame)
        case .lines:
            if frame.first(Self.lineFeed, from: 0) != nil || count > 0 && frame[count - 1] == Self.carriageReturn { throw .notOneLine }
            output.append(frame)
            output.append(Self.lineFeed)
        case .lengthPrefixed(let width):
            switch width {
            case .uint8: output.append(UInt8(count))
            case .uint16: output.append(UInt16(count))
            case .uint32: output.append(UInt32(count))
            case .uint64: output.append(UInt64(count))
            }
            output.append(frame)
        }
    }

    /// An end between two frames is none of the protocol's business; one inside of a frame breaks it.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(FramingViolation) {
        if isClosed { return }
        isClosed = isInFrame
        if isInFrame { throw .endedInFrame }
    }
}
