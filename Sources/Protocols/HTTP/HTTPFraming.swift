import MartletBytes

/// Whose field lines are read: what they may say differs.
enum HTTPSection { case request, response, trailers }

/// What a message's fields say about the message itself: where it ends, whose it is, what becomes of the connection.
struct HTTPFraming {
    enum Expectation: UInt8 { case nothing, goAhead, unknown }

    var host = ByteRange.empty
    var contentLength: UInt64 = 0
    var hasHost = false
    var hasContentLength = false
    /// Its only coding, or the last one.
    var isChunked = false
    var closes = false
    var keepsAlive = false
    var namesUpgrade = false
    var hasUpgrade = false
    var expectation = Expectation.nothing

    /// Reads field lines up to the empty line; answers where the bytes behind it begin, or `nil` when more are needed.
    mutating func read(_ bytes: Span<UInt8>, from start: Int, _ section: HTTPSection, _ bounds: HTTPBounds) throws(HTTPViolation) -> Int? {
        let bound = min(bytes.count, start &+ Int(bounds.fieldsBytesMax))
        var at = start
        var lineCount: Int32 = 0
        while at < bound {
            let lineStart = at
            at = HTTPWire.endOfToken(in: bytes, from: at, to: bound)
            guard at < bound else { break }
            guard bytes[at] == HTTPWire.colon, at > lineStart else {
                guard at == lineStart, bytes[at] == HTTPWire.carriageReturn else { throw Self.nameViolation(bytes[at], isFirst: at == lineStart) }
                guard at &+ 1 < bound else { break }
                guard bytes[at &+ 1] == HTTPWire.lineFeed else { throw .bareCarriageReturn }
                return at &+ 2
            }
            let name = ByteRange(lineStart, at &- lineStart)
            lineCount &+= 1
            if lineCount > bounds.fieldsMax { throw .fieldsTooMany }
            let valueStart = at &+ 1
            at = HTTPWire.firstControl(in: bytes, from: valueStart, to: bound)
            guard at < bound else { break }
            guard bytes[at] == HTTPWire.carriageReturn else { throw bytes[at] == HTTPWire.lineFeed ? .bareLineFeed : .fieldValue }
            guard at &+ 1 < bound else { break }
            guard bytes[at &+ 1] == HTTPWire.lineFeed else { throw .bareCarriageReturn }
            switch name.count {
            case 4, 6, 7, 10, 14, 17: try take(bytes, name, HTTPWire.trimmed(bytes, from: valueStart, to: at), section)
            default: break
            }
            at &+= 2
        }
        if bound &- start == Int(bounds.fieldsBytesMax) { throw .fieldsTooLong }
        return nil
    }

    private static func nameViolation(_ byte: UInt8, isFirst: Bool) -> HTTPViolation {
        switch byte {
        case HTTPWire.lineFeed: .bareLineFeed
        case HTTPWire.blank, HTTPWire.tab: isFirst ? .foldedLine : .blankBeforeColon
        case HTTPWire.carriageReturn: .noColon
        default: .fieldName
        }
    }

    /// Names that a machine writes itself.
    static func isFramingName(_ bytes: Span<UInt8>, _ name: ByteRange) -> Bool {
        switch name.count {
        case 10: HTTPWire.isName(bytes, name, "connection")
        case 14: HTTPWire.isName(bytes, name, "content-length")
        case 17: HTTPWire.isName(bytes, name, "transfer-encoding")
        default: false
        }
    }

    private mutating func take(_ bytes: Span<UInt8>, _ name: ByteRange, _ value: ByteRange, _ section: HTTPSection) throws(HTTPViolation) {
        guard section != .trailers else {
            if Self.isFramingName(bytes, name) || HTTPWire.isName(bytes, name, "host") { throw .trailerField }
            return
        }
        switch name.count {
        case 4 where section == .request && HTTPWire.isName(bytes, name, "host"):
            if hasHost { throw .hostTwice }
            guard HTTPWire.isAuthority(bytes.at(value)) else { throw .host }
            host = value
            hasHost = true
        case 6 where section == .request && HTTPWire.isName(bytes, name, "expect"):
            let isKnown = HTTPWire.isName(bytes, value, "100-continue") && expectation != .unknown
            expectation = isKnown ? .goAhead : .unknown
        case 7 where HTTPWire.isName(bytes, name, "upgrade"): hasUpgrade = true
        case 10 where HTTPWire.isName(bytes, name, "connection"): takeConnection(bytes, value)
        case 14 where HTTPWire.isName(bytes, name, "content-length"):
            if hasContentLength { throw .contentLengthTwice }
            hasContentLength = true
            contentLength = try Self.number(bytes.at(value))
        case 17 where HTTPWire.isName(bytes, name, "transfer-encoding"):
            if isChunked { throw .transferEncodingTwice }
            isChunked = true
            try Self.checkCodings(bytes.at(value))
        default: break
        }
    }

    private static func number(_ digits: Span<UInt8>) throws(HTTPViolation) -> UInt64 {
        guard digits.count > 0 else { throw .contentLength }
        var value: UInt64 = 0, isOver = false
        for at in 0..<digits.count {
            guard HTTPWire.isDigit(digits[at]) else { throw .contentLength }
            let (scaled, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, overSum) = scaled.addingReportingOverflow(UInt64(digits[at] &- 0x30))
            isOver = isOver || over || overSum
            value = sum
        }
        if isOver { throw .bodyTooLong }
        return value
    }

    /// Only a single `chunked` passes.
    private static func checkCodings(_ value: Span<UInt8>) throws(HTTPViolation) {
        if HTTPWire.equals(value, StaticString("chunked").bytes) { return }
        var hasUnknown = false, start = 0
        while start <= value.count {
            var end = start
            while end < value.count, value[end] != UInt8(ascii: ",") { end += 1 }
            let coding = value.at(HTTPWire.trimmed(value, from: start, to: end))
            guard HTTPWire.isToken(coding) else { throw .transferEncoding }
            let isChunked = HTTPWire.equals(coding, StaticString("chunked").bytes)
            // Something behind it.
            if isChunked, end < value.count { throw .transferEncoding }
            hasUnknown = hasUnknown || !isChunked
            start = end + 1
        }
        throw hasUnknown ? .transferCodingUnknown : .transferEncoding
    }

    private mutating func takeConnection(_ bytes: Span<UInt8>, _ value: ByteRange) {
        var start = Int(value.start)
        while start < value.end {
            var end = start
            while end < value.end, bytes[end] != UInt8(ascii: ",") { end &+= 1 }
            let option = HTTPWire.trimmed(bytes, from: start, to: end)
            switch option.count {
            case 5 where HTTPWire.isName(bytes, option, "close"): closes = true
            case 7 where HTTPWire.isName(bytes, option, "upgrade"): namesUpgrade = true
            case 10 where HTTPWire.isName(bytes, option, "keep-alive"): keepsAlive = true
            default: break
            }
            start = end &+ 1
        }
    }
}

/// How far a message's lines have been looked at, so that a head that comes byte by byte is not read once for each of them.
///
/// Invariant: whether a head or its violation is due depends on the bytes that have come alone, not on how they were cut.
struct HTTPScan {
    private static let unknown = UInt32.max

    private var scanned: UInt32 = 0
    /// Where the field lines begin, from the head's first byte, once the start line is known to be right.
    private var fieldsStart: UInt32

    /// A head, which begins by a line of its own.
    init() { fieldsStart = Self.unknown }

    /// Trailers.
    init(fieldsAt start: Int) { fieldsStart = UInt32(start) }

    /// Nothing has been looked at.
    var isFresh: Bool { scanned == 0 }

    mutating func startLineEnds(at offset: Int) { fieldsStart = UInt32(offset) }

    /// Everything was read and needs more.
    mutating func wait(count: Int) { scanned = UInt32(count) }

    /// Whether reading from `start` can come to an end now: the empty line is there, a line that is none, the start line's end, or too much.
    mutating func isDue(_ bytes: Span<UInt8>, from start: Int, _ bounds: HTTPBounds) -> Bool {
        let count = bytes.count &- start
        var from = Int(scanned)
        if fieldsStart == Self.unknown {
            let lead = HTTPScan.leadingLine(bytes, at: start)
            if count >= lead &+ Int(bounds.startLineMax) &+ 2 { return true }
            from = max(from, lead)
        } else {
            if count >= Int(fieldsStart) &+ Int(bounds.fieldsBytesMax) { return true }
            from = max(from, Int(fieldsStart))
        }
        var at = start &+ from
        while let feed = bytes.first(HTTPWire.lineFeed, from: at) {
            if fieldsStart == Self.unknown || feed == start || bytes[feed &- 1] != HTTPWire.carriageReturn { return true }
            if feed &- 1 == start &+ Int(fieldsStart) || bytes[feed &- 2] == HTTPWire.lineFeed { return true }
            at = feed &+ 1
        }
        scanned = UInt32(count)
        return false
    }

    /// The bytes of an empty line in front of a start line: one is forgiven (RFC 9112 section 2.2).
    static func leadingLine(_ bytes: Span<UInt8>, at start: Int) -> Int {
        bytes.count &- start >= 2 && bytes[start] == HTTPWire.carriageReturn && bytes[start &+ 1] == HTTPWire.lineFeed ? 2 : 0
    }
}
