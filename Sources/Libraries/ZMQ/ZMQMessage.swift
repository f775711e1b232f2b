internal import MartletBytes

/// A message: one or more frames, which travel together or not at all.
///
/// The frames lie one behind the other in one array, so that a message of one frame is one allocation. A frame may be empty.
public struct ZMQMessage: Sendable, Hashable {
    /// All frames, one behind the other.
    @usableFromInline var bytes: [UInt8]
    /// Where each frame ends but the last; empty for one frame.
    @usableFromInline var ends: [Int]

    @usableFromInline init(bytes: [UInt8], ends: [Int]) {
        self.bytes = bytes
        self.ends = ends
    }

    /// One frame.
    @inlinable public init(_ frame: [UInt8] = []) {
        bytes = frame
        ends = []
    }

    /// One frame of UTF-8.
    @inlinable public init(_ text: String) { self.init(Array(text.utf8)) }

    /// As many frames as there are arrays; one empty frame for none.
    public init(frames: [[UInt8]]) {
        self.init()
        bytes.reserveCapacity(frames.reduce(0) { $0 + $1.count })
        for (index, frame) in frames.enumerated() {
            if index > 0 { ends.append(bytes.count) }
            bytes += frame
        }
    }

    /// A frame of UTF-8 for each text.
    public init(texts: [String]) { self.init(frames: texts.map { Array($0.utf8) }) }

    /// Frames, at least one.
    @inlinable public var count: Int { ends.count + 1 }
    /// Bytes of all frames together.
    @inlinable public var byteCount: Int { bytes.count }

    /// Where a frame lies in the message's bytes. Traps outside of 0..<count.
    @inlinable public func range(of frame: Int) -> Range<Int> {
        let start = frame == 0 ? 0 : ends[frame - 1]
        return start..<(frame == ends.count ? bytes.count : ends[frame])
    }

    /// A copy of a frame; of the only one, the array itself. Traps outside of 0..<count.
    @inlinable public subscript(frame: Int) -> [UInt8] { ends.isEmpty && frame == 0 ? bytes : Array(bytes[range(of: frame)]) }

    /// All frames, each a copy.
    public var frames: [[UInt8]] { (0..<count).map { self[$0] } }

    /// A frame in place.
    @inlinable @_lifetime(borrow self)
    public func span(of frame: Int) -> Span<UInt8> { bytes.span.extracting(range(of: frame)) }

    /// A frame as text, repaired where it is not UTF-8. Traps outside of 0..<count.
    public func text(of frame: Int) -> String { String(decoding: bytes[range(of: frame)], as: UTF8.self) }

    /// The last frame as text, repaired where it is not UTF-8: the payload, in most patterns.
    public var text: String { text(of: ends.count) }

    /// Adds a frame behind the others.
    public mutating func append(_ frame: [UInt8]) {
        ends.append(bytes.count)
        bytes += frame
    }

    /// The frames from `first` on, at least one.
    func suffix(from first: Int) -> ZMQMessage {
        guard first > 0 else { return self }
        let cut = ends[first - 1]
        return ZMQMessage(bytes: Array(bytes[cut...]), ends: ends[first...].map { $0 - cut })
    }

    /// The first `count` frames, at least one.
    func prefix(_ count: Int) -> ZMQMessage {
        guard count <= ends.count else { return self }
        return ZMQMessage(bytes: Array(bytes[..<ends[count - 1]]), ends: Array(ends[..<(count - 1)]))
    }
}

extension ZMQMessage: ExpressibleByStringLiteral {
    public init(stringLiteral text: String) { self.init(text) }
}

extension ZMQMessage: ExpressibleByArrayLiteral {
    /// A frame for each text.
    public init(arrayLiteral frames: String...) { self.init(texts: frames) }
}

extension ZMQMessage: CustomStringConvertible {
    /// The frames as text, with `|` between two.
    public var description: String { (0..<count).map { text(of: $0) }.joined(separator: "|") }
}
