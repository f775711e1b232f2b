public import MartletBytes

/// Takes a JSON document (RFC 8259) apart where it lies: tokens with places in the bytes, nothing copied and nothing kept.
///
/// Invariant: what it gives is the beginning of a valid document, and after nil the whole was one. Not here: whether strings are UTF-8, which whoever
/// received them knows, and what names mean; a name that is there twice is given twice.
public struct JSONReader: ~Escapable {
    public enum Token: Equatable, Sendable {
        case beginObject, endObject, beginArray, endArray
        /// Of a member of an object; its value comes next.
        case name(JSONString)
        case text(JSONString)
        /// As it is written.
        case number(ByteRange)
        case flag(Bool)
        case null
    }
    /// Objects and arrays in each other.
    public static let levelsMax = 512

    private enum Place { case value, firstMember, firstElement, separator, name, end }

    public let bytes: Span<UInt8>
    private var at = 0
    private var place = Place.value
    private var level = 0
    /// A bit for each level: it is an object.
    private var objects: [8 of UInt64] = .init(repeating: 0)

    @_lifetime(copy bytes)
    public init(_ bytes: Span<UInt8>) { self.bytes = bytes }

    /// Where the next token is looked for.
    public var offset: Int { at }

    /// The next token; nil after the last, when nothing but blanks is left.
    @_lifetime(self: copy self)
    public mutating func next() throws(JSONViolation) -> Token? {
        skipBlanks()
        if place == .separator, try takeSeparator() { return close() }
        if place == .end {
            guard at == bytes.count else { throw .unexpected(at) }
            return nil
        }
        skipBlanks()
        guard at < bytes.count else { throw .cut }
        if place == .firstMember && bytes[at] == UInt8(ascii: "}") || place == .firstElement && bytes[at] == UInt8(ascii: "]") {
            at += 1
            return close()
        }
        return place == .firstMember || place == .name ? .name(try name()) : try value()
    }

    /// Passes over the next value with all that is in it: a member's that means nothing.
    @_lifetime(self: copy self)
    public mutating func skip() throws(JSONViolation) {
        if let token = try next(), token == .beginObject || token == .beginArray { try skipRest() }
    }

    /// Passes over the rest of the object or array that has begun.
    @_lifetime(self: copy self)
    public mutating func skipRest() throws(JSONViolation) {
        let start = level
        while level >= start { guard try next() != nil else { return } }
    }

    // MARK: Structure

    @_lifetime(self: copy self)
    private mutating func skipBlanks() {
        while at < bytes.count {
            let byte = bytes[at]
            switch byte {
            case 0x20, 0x0A, 0x0D, 0x09: at += 1
            default: return
            }
        }
    }

    private var isInObject: Bool { objects[level >> 6] >> UInt64(level & 63) & 1 == 1 }

    @_lifetime(self: copy self)
    private mutating func open(_ isObject: Bool) throws(JSONViolation) -> Token {
        guard level < Self.levelsMax - 1 else { throw .levels }
        at += 1
        level += 1
        let bit: UInt64 = 1 << UInt64(level & 63)
        if isObject { objects[level >> 6] |= bit } else { objects[level >> 6] &= ~bit }
        place = isObject ? .firstMember : .firstElement
        return isObject ? .beginObject : .beginArray
    }

    @_lifetime(self: copy self)
    private mutating func close() -> Token {
        let token: Token = isInObject ? .endObject : .endArray
        level -= 1
        endValue()
        return token
    }

    @_lifetime(self: copy self)
    private mutating func endValue() { place = level == 0 ? .end : .separator }

    /// Behind a value; true: its object or array ends here.
    @_lifetime(self: copy self)
    private mutating func takeSeparator() throws(JSONViolation) -> Bool {
        guard at < bytes.count else { throw .cut }
        let byte = bytes[at]
        switch byte {
        case UInt8(ascii: ","):
            place = isInObject ? .name : .value
            at += 1
            return false
        case UInt8(ascii: "}") where isInObject, UInt8(ascii: "]") where !isInObject:
            at += 1
            return true
        default: throw .unexpected(at)
        }
    }

    @_lifetime(self: copy self)
    private mutating func name() throws(JSONViolation) -> JSONString {
        guard bytes[at] == UInt8(ascii: "\"") else { throw .unexpected(at) }
        let name = try string()
        skipBlanks()
        guard at < bytes.count else { throw .cut }
        guard bytes[at] == UInt8(ascii: ":") else { throw .unexpected(at) }
        at += 1
        place = .value
        return name
    }

    // MARK: Values

    @_lifetime(self: copy self)
    private mutating func value() throws(JSONViolation) -> Token {
        let byte = bytes[at]
        switch byte {
        case UInt8(ascii: "{"): return try open(true)
        case UInt8(ascii: "["): return try open(false)
        default: break
        }
        let token = try scalar()
        endValue()
        return token
    }

    @_lifetime(self: copy self)
    private mutating func scalar() throws(JSONViolation) -> Token {
        let byte = bytes[at]
        switch byte {
        case UInt8(ascii: "\""):
            let text = try string()
            return .text(text)
        case UInt8(ascii: "t"): return try word("true", .flag(true))
        case UInt8(ascii: "f"): return try word("false", .flag(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default:
            let number = try number()
            return .number(number)
        }
    }

    @_lifetime(self: copy self)
    private mutating func word(_ text: StaticString, _ token: Token) throws(JSONViolation) -> Token {
        let letters = text.bytes
        for index in letters.indices {
            guard at < bytes.count else { throw .cut }
            guard bytes[at] == letters[index] else { throw .unexpected(at) }
            at += 1
        }
        return token
    }

    @_lifetime(self: copy self)
    private mutating func number() throws(JSONViolation) -> ByteRange {
        let start = at
        if bytes[at] == UInt8(ascii: "-") { at += 1 }
        let isZero = at < bytes.count && bytes[at] == UInt8(ascii: "0")
        try digits()
        if isZero, at - start > (bytes[start] == UInt8(ascii: "-") ? 2 : 1) { throw .unexpected(start) }
        if at < bytes.count, bytes[at] == UInt8(ascii: ".") {
            at += 1
            try digits()
        }
        if at < bytes.count, bytes[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            if at < bytes.count, bytes[at] == UInt8(ascii: "+") || bytes[at] == UInt8(ascii: "-") { at += 1 }
            try digits()
        }
        return ByteRange(start, at - start)
    }

    /// At least one.
    @_lifetime(self: copy self)
    private mutating func digits() throws(JSONViolation) {
        let start = at
        while at < bytes.count, bytes[at] &- 48 < 10 { at += 1 }
        guard at > start else { throw at < bytes.count ? .unexpected(at) : .cut }
    }

    /// From quotation mark to quotation mark.
    @_lifetime(self: copy self)
    private mutating func string() throws(JSONViolation) -> JSONString {
        at += 1
        let start = at
        var isEscaped = false
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                at += 1
                return JSONString(range: ByteRange(start, at - 1 - start), isEscaped: isEscaped)
            }
            guard byte >= 0x20 else { throw .unexpected(at) }
            guard byte == UInt8(ascii: "\\") else {
                at += 1
                continue
            }
            isEscaped = true
            guard let (_, next) = try JSONString.escape(in: bytes, at: at) else { throw .cut }
            at = next
        }
        throw .cut
    }
}

/// Why a document is none.
public enum JSONViolation: Error, Equatable, Sendable, CustomStringConvertible {
    /// What stands at this byte cannot stand there.
    case unexpected(Int)
    /// It ends too early.
    case cut
    /// More levels than `JSONReader.levelsMax`.
    case levels

    public var description: String {
        switch self {
        case .unexpected(let at): "byte \(at) cannot stand there"
        case .cut: "it ends too early"
        case .levels: "it has over \(JSONReader.levelsMax) levels"
        }
    }
}
