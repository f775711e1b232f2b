/// Something about a journal's files that is not as it should be.
public struct JournalFinding: Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// A write that a crash interrupted: what it was to write was never acknowledged. Or the very last write of a stream, damaged later:
        /// the two look the same.
        case tornTail
        /// Bytes that were on disk once are not what was written.
        case damagedStretch
        /// A segment's first 64 bytes; what follows was recovered, if there is anything.
        case damagedHeader
        /// A segment's file is shorter than it was made.
        case cutShort
        /// The end of a segment is gone.
        case lostEnd
        /// A segment that should be there is not.
        case missingSegment
        /// A stream has lost its list of live segments: entries of earlier runs may come back.
        case missingCheckpoint
    }
    public var kind: Kind
    public var segment: UInt32
    /// Bytes of the segment's file that it is about; empty if it is about no bytes.
    public var bytes: Range<UInt32>

    init(_ kind: Kind, _ segment: UInt32, _ bytes: Range<UInt32> = 0..<0) {
        self.kind = kind
        self.segment = segment
        self.bytes = bytes
    }

    /// Whether something that was on disk has been lost or may have been.
    public var isDamage: Bool { kind != .tornTail }

    public var description: String {
        let digits = String(segment, radix: 16), name = String(repeating: "0", count: 8 - digits.count) + digits + ".segment"
        return switch kind {
        case .tornTail: "\(name): the last write, at byte \(bytes.lowerBound), was cut off: it was interrupted before it was acknowledged, or is damaged"
        case .damagedStretch: "\(name): bytes \(bytes.lowerBound)..<\(bytes.upperBound) are damaged; what they held is lost"
        case .damagedHeader: "\(name): the header is damaged; what follows it, if anything does, was recovered"
        case .cutShort: "\(name): the file was cut to \(bytes.lowerBound) of \(bytes.upperBound) bytes"
        case .lostEnd: "\(name): what was behind byte \(bytes.lowerBound) is lost"
        case .missingSegment: "\(name): the file is missing; what it held is lost"
        case .missingCheckpoint: "stream \(segment): no checkpoint was found; messages that had been settled may come back"
        }
    }
}
