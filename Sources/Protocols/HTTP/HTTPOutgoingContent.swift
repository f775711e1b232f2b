import MartletBytes

/// How much content a message will have.
public enum HTTPContentLength: Equatable, Sendable {
    /// None. A response then says length 0 where its status and method have content at all.
    case none
    /// Bytes. Less or more is `HTTPMisuse`.
    case exactly(UInt64)
    /// Chunks; towards HTTP/1.0 the connection's end.
    case unknown
}

/// The content of a message that goes out, and its trailers (RFC 9112 sections 6 and 7).
struct HTTPOutgoingContent {
    enum Framing: UInt8 {
        /// No message has begun, or the last one has ended.
        case nothing
        case counted, chunked, untilEnd
        /// The message has none, whatever is appended.
        case swallowed
    }

    private(set) var framing = Framing.nothing
    /// Bytes still promised.
    private var remaining: UInt64 = 0

    init(_ framing: Framing = .nothing, count: UInt64 = 0) {
        self.framing = framing
        remaining = count
    }

    /// Begun and not ended.
    var isUnderWay: Bool { framing != .nothing }

    @inline(__always)
    mutating func append(_ bytes: Span<UInt8>, into output: inout ByteBuffer) throws(HTTPMisuse) {
        let count = UInt64(bytes.count)
        switch framing {
        case .nothing: throw .outOfTurn
        case .swallowed: return
        case .counted:
            if count > remaining { throw .contentTooLong }
            remaining &-= count
            output.append(bytes)
        case .untilEnd: output.append(bytes)
        case .chunked:
            // An empty chunk would be the last one.
            if count == 0 { return }
            Self.appendHex(count, into: &output)
            output.append(HTTPWire.lineEnd)
            output.append(bytes)
            output.append(HTTPWire.lineEnd)
        }
    }

    /// Counted content that goes past the output.
    mutating func pass(_ count: UInt64) throws(HTTPMisuse) {
        guard framing == .counted else { throw .outOfTurn }
        if count > remaining { throw .contentTooLong }
        remaining &-= count
    }

    /// Trailers go with chunks alone, and are left out otherwise (RFC 9110 section 6.5.1).
    @inline(__always)
    mutating func end(trailers: Span<UInt8>, into output: inout ByteBuffer) throws(HTTPMisuse) {
        switch framing {
        case .nothing: throw .outOfTurn
        case .counted: if remaining > 0 { throw .contentTooShort }
        case .chunked:
            guard HTTPField.areLines(trailers) else { throw .fieldsInvalid }
            output.append(UInt8(ascii: "0"))
            output.append(HTTPWire.lineEnd)
            output.append(trailers)
            output.append(HTTPWire.lineEnd)
        case .untilEnd, .swallowed: break
        }
        framing = .nothing
    }

    private static func appendHex(_ value: UInt64, into output: inout ByteBuffer) {
        var shift = (63 - value.leadingZeroBitCount) / 4 * 4
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift) & 15)
            output.append(digit < 10 ? digit + 0x30 : digit + 0x57)
            shift -= 4
        }
    }

    /// `Content-Length: value` and the line's end.
    @inline(__always)
    static func appendLength(_ value: UInt64, into output: inout ByteBuffer) {
        output.append(literal: "Content-Length: ")
        var power: UInt64 = 1
        while value / power >= 10 { power &*= 10 }
        while power > 0 {
            output.append(UInt8(truncatingIfNeeded: value / power % 10) &+ 0x30)
            power /= 10
        }
        output.append(HTTPWire.lineEnd)
    }
}
