internal import MartletBytes

/// Messages on their way to a peer's connection, framed as every peer without CURVE reads them (RFC 37, Framing).
struct Outbox: Sendable {
    private(set) var bytes: [UInt8] = []
    /// Messages.
    private(set) var count = 0

    /// The frames of `prefix`, then those of `message` from `first` on.
    @inline(__always) mutating func append(_ prefix: ZMQMessage?, _ message: ZMQMessage, from first: Int) {
        count &+= 1
        if prefix == nil, first == 0, message.ends.isEmpty { return append(message.bytes.span, more: false) }
        if let prefix { for frame in 0..<prefix.count { append(prefix.span(of: frame), more: true) } }
        for frame in first..<message.count { append(message.span(of: frame), more: frame + 1 < message.count) }
    }

    /// The same without framing.
    mutating func append(bare message: ZMQMessage, from first: Int) {
        count &+= 1
        for frame in first..<message.count { bytes.append(message.span(of: frame)) }
    }

    @inline(__always) private mutating func append(_ frame: Span<UInt8>, more: Bool) {
        let length = frame.count
        if length <= 255 {
            bytes.append(more ? 1 : 0)
            bytes.append(UInt8(truncatingIfNeeded: length))
        } else {
            bytes.append(more ? 3 : 2)
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: length >> shift)) }
        }
        bytes.append(frame)
    }

    /// Replaces the bytes with an emptied array, whose memory is used again.
    mutating func exchange(with emptied: inout [UInt8]) {
        swap(&bytes, &emptied)
        count = 0
    }

    mutating func removeAll() {
        bytes = []
        count = 0
    }

    /// The messages of framed bytes that end behind `offset`, and how many.
    static func messages(of bytes: [UInt8], from offset: Int) -> (bytes: [UInt8], count: Int) {
        var at = 0, start = 0, first: Int?, count = 0
        while at < bytes.count {
            let flags = bytes[at]
            let isLong = flags & 2 != 0
            let size = isLong ? Int(bytes.span.uint64(at: at + 1)) : Int(bytes[at + 1])
            at += (isLong ? 9 : 2) + size
            guard flags & 1 == 0 else { continue }
            if at > offset {
                first = first ?? start
                count += 1
            }
            start = at
        }
        return first.map { (Array(bytes[$0...]), count) } ?? ([], 0)
    }

    /// Before the own messages those that were taken and came back.
    mutating func putBack(_ messages: [UInt8], count: Int) {
        bytes = messages + bytes
        self.count += count
    }
}
