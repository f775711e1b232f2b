public import MartletBytes

/// One field line: the name as it was written, the value without the blanks around it.
public struct HTTPFieldLine: Equatable, Sendable, BitwiseCopyable {
    public let name: ByteRange
    public let value: ByteRange
}

/// Walks field lines: a head's or trailers' that a machine has accepted, or what is to be sent. Ranges speak of `bytes`.
///
/// Invariant: bytes that no machine has checked end the walk early; they never trap.
public struct HTTPFieldCursor: ~Escapable {
    private let bytes: Span<UInt8>
    private var offset: Int
    private let end: Int

    @_lifetime(copy bytes)
    public init(_ fields: ByteRange, in bytes: Span<UInt8>) {
        let isInside = fields.end <= bytes.count
        self.bytes = bytes
        offset = isInside ? Int(fields.start) : 0
        end = isInside ? fields.end : 0
    }

    @_lifetime(copy lines)
    public init(_ lines: Span<UInt8>) {
        bytes = lines
        offset = 0
        end = lines.count
    }

    @_lifetime(self: copy self)
    public mutating func next() -> HTTPFieldLine? {
        let at = HTTPWire.endOfToken(in: bytes, from: offset, to: end)
        guard at > offset, at < end, bytes[at] == HTTPWire.colon else { return nil }
        let feed = HTTPWire.firstControl(in: bytes, from: at &+ 1, to: end)
        guard feed &+ 1 < end, bytes[feed] == HTTPWire.carriageReturn, bytes[feed &+ 1] == HTTPWire.lineFeed else { return nil }
        let line = HTTPFieldLine(name: ByteRange(offset, at &- offset), value: HTTPWire.trimmed(bytes, from: at &+ 1, to: feed))
        offset = feed &+ 2
        return line
    }

    /// The value of the next field of that name, whatever the case of its letters.
    @_lifetime(self: copy self)
    public mutating func find(_ name: Span<UInt8>) -> ByteRange? {
        while let line = next() {
            if HTTPWire.equals(bytes.at(line.name), name) { return line.value }
        }
        return nil
    }

    /// As `find(Span)`, for a name that the program holds.
    @_lifetime(self: copy self)
    public mutating func find(_ name: StaticString) -> ByteRange? { find(name.bytes) }

    /// Nothing is left; false where the walk ended at bytes that are no field line.
    public var isAtEnd: Bool { offset == end }
}

/// What whoever sets fields has to ask before: a name or a value that is not valid is refused, never mended.
public enum HTTPField {
    /// A token (RFC 9110 section 5.1).
    public static func isName(_ bytes: Span<UInt8>) -> Bool { HTTPWire.isToken(bytes) }

    /// No control bytes but tabs, and no blanks at its ends (RFC 9110 section 5.5).
    public static func isValue(_ bytes: Span<UInt8>) -> Bool {
        let count = bytes.count
        guard count > 0 else { return true }
        return !HTTPWire.isBlank(bytes[0]) && !HTTPWire.isBlank(bytes[count - 1]) && HTTPWire.firstControl(in: bytes, from: 0, to: count) == count
    }

    /// Whether `value` is `name`, whatever the case of its letters.
    public static func isEqual(_ value: Span<UInt8>, _ name: StaticString) -> Bool { HTTPWire.equals(value, name.bytes) }

    /// Whether all of `lines` are whole field lines, and none is what a machine writes itself: Content-Length, Transfer-Encoding, Connection.
    public static func areLines(_ lines: Span<UInt8>) -> Bool {
        var cursor = HTTPFieldCursor(lines)
        while let line = cursor.next() {
            if HTTPFraming.isFramingName(lines, line.name) { return false }
        }
        return cursor.isAtEnd
    }
}
