internal import MartletBytes

/// A message's fields (RFC 9110 section 5) in their order; names are the same whatever the case of their letters.
///
/// Invariant: they are whole, valid lines. What is not valid is refused when it is set, never mended: no value can end a line.
public struct HTTPFields: Sendable {
    /// `Name: value` and CRLF, one after the other, in a part of these bytes: a request's fields are where its head is.
    private var bytes: [UInt8]
    private var place: ByteRange

    public init() { (bytes, place) = ([], .empty) }

    /// Lines that a machine has accepted.
    init(_ bytes: [UInt8], _ place: ByteRange) { (self.bytes, self.place) = (bytes, place) }

    public var isEmpty: Bool { place.isEmpty }

    /// The value of a field; of one that is there several times, all of them with ", " between.
    public subscript(name: String) -> String? {
        let all = values(of: name)
        return all.count < 2 ? all.first : all.joined(separator: ", ")
    }

    /// The values of a field, one for each of its lines.
    public func values(of name: String) -> [String] {
        let name = Array(name.utf8), bytes = bytes.span
        var cursor = HTTPFieldCursor(place, in: bytes), found: [String] = []
        while let value = cursor.find(name.span) { found.append(bytes.at(value).text) }
        return found
    }

    /// Every line.
    public var all: [(name: String, value: String)] {
        let bytes = bytes.span
        var cursor = HTTPFieldCursor(place, in: bytes), found: [(name: String, value: String)] = []
        while let line = cursor.next() { found.append((bytes.at(line.name).text, bytes.at(line.value).text)) }
        return found
    }

    /// The field's value in place of those that it had. Throws what `HTTPFieldRefusal` says.
    public mutating func set(_ name: String, to value: String) throws(HTTPFieldRefusal) {
        try Self.check(name, value)
        remove(name)
        write(name, value)
    }

    /// One more line of that field. Throws what `HTTPFieldRefusal` says.
    public mutating func append(_ name: String, _ value: String) throws(HTTPFieldRefusal) {
        try Self.check(name, value)
        write(name, value)
    }

    public mutating func remove(_ name: String) {
        guard !isEmpty else { return }
        let name = Array(name.utf8)
        var kept: [UInt8] = []
        let source = bytes
        let span = source.span
        var cursor = HTTPFieldCursor(place, in: span)
        while let line = cursor.next() {
            if Self.isSame(span.at(line.name), name.span) { continue }
            kept += source[Int(line.name.start)..<line.value.end] + [0x0D, 0x0A]
        }
        (bytes, place) = (kept, ByteRange(0, kept.count))
    }

    /// A name and a value that the program wrote: they are right.
    mutating func put(_ name: StaticString, _ value: String) { write("\(name)", value) }

    private mutating func write(_ name: String, _ value: String) {
        if Int(place.start) != 0 || place.end != bytes.count { bytes = Array(bytes[Int(place.start)..<place.end]) }
        bytes += Array(name.utf8) + [0x3A, 0x20] + Array(value.utf8) + [0x0D, 0x0A]
        place = ByteRange(0, bytes.count)
    }

    private static func check(_ name: String, _ value: String) throws(HTTPFieldRefusal) {
        let nameBytes = Array(name.utf8), valueBytes = Array(value.utf8)
        guard HTTPField.isName(nameBytes.span) else { throw .name(name) }
        guard HTTPField.isValue(valueBytes.span) else { throw .value(name) }
        for own in ["connection", "content-length", "transfer-encoding", "keep-alive", "date"] where name.lowercased() == own { throw .framing(name) }
    }

    private static func isSame(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        for at in 0..<a.count where a[at] != b[at] {
            guard a[at] | 0x20 == b[at] | 0x20, (a[at] | 0x20) &- 0x61 < 26 else { return false }
        }
        return true
    }

    // MARK: Without strings

    /// Where the value of the first such field lies in `withBytes`.
    func find(_ name: StaticString) -> ByteRange? {
        if isEmpty { return nil }
        var cursor = HTTPFieldCursor(place, in: bytes.span)
        return cursor.find(name)
    }

    func has(_ name: StaticString) -> Bool { find(name) != nil }

    /// The first such field's value.
    func value(_ name: StaticString) -> String? { find(name).map { bytes.span.at($0).text } }

    func appendLines(to buffer: inout ByteBuffer) {
        if !isEmpty { buffer.append(bytes.span.at(place)) }
    }
}

/// Why a field is not taken.
public enum HTTPFieldRefusal: Error, Equatable, Sendable, CustomStringConvertible {
    /// The name is no token (RFC 9110 section 5.1).
    case name(String)
    /// The value of the field of this name has a control byte, or blanks at its ends (RFC 9110 section 5.5).
    case value(String)
    /// The server or client writes this field itself: Connection, Content-Length, Transfer-Encoding, Keep-Alive, Date.
    case framing(String)

    public var description: String {
        switch self {
        case .name(let name): "\"\(name)\" is no field name: letters, digits and !#$%&'*+-.^_`|~ alone"
        case .value(let name): "the value of \(name) has a control byte or blanks at its ends"
        case .framing(let name): "\(name) is written by the connection itself"
        }
    }
}
