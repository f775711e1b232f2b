import MartletAMQPProtocol
import MartletBytes
import MartletCore

/// Reads headers out of a content header's properties. A value is as `AMQPField.comparable` has it.
struct AMQPHeaderReader: HeaderReader {
    func header(_ name: [UInt8], in properties: Span<UInt8>) -> [UInt8]? {
        guard let headers = AMQPContentHeader.headers(in: properties) else { return nil }
        var cursor = AMQPTableCursor(headers, in: properties)
        guard let field = cursor.first(name.span) else { return nil }
        return field.comparable(in: properties)
    }
}

extension HeaderCondition {
    /// A binding's arguments: `x-match` is `all` (the default), `any`, and both `-with-x`; other arguments that begin with `x-` count only
    /// with that. A void value asks only that the header is there. `label`: the binding's key.
    init(arguments: [UInt8], label: [UInt8]) throws(AMQPException) {
        var quantifier = Quantifier.all, fields: [[UInt8]: [UInt8]?] = [:], countsX = false
        let span = arguments.span
        var cursor = AMQPTableCursor(ByteRange(0, arguments.count), in: span)
        while let field = cursor.next() {
            let name = span.at(field.key).array, value = span.at(field.value).array
            guard name.text == "x-match" else {
                fields[name] = .some(field.kind == .void ? nil : field.comparable(in: span))
                continue
            }
            guard field.kind == .string else {
                throw AMQPException(.preconditionFailed, "Invalid x-match field type \(field.kind) (value \(value.text)); expected longstr")
            }
            switch value.text {
            case "all", "all-with-x": quantifier = .all
            case "any", "any-with-x": quantifier = .any
            default:
                throw AMQPException(
                    .preconditionFailed,
                    "Invalid x-match field value <<\"\(value.text)\">>; expected all, any, all-with-x, or any-with-x")
            }
            countsX = value.text.hasSuffix("-with-x")
        }
        if !countsX { fields = fields.filter { !$0.key.starts(with: "x-".utf8) } }
        self.init(quantifier, fields)
        self.label = label
    }
}

extension AMQPField {
    /// The same for what RabbitMQ takes as equal: numbers and timestamps of any width by their value, strings and byte arrays by their bytes;
    /// else a type's letter and what follows it on the wire.
    func comparable(in bytes: Span<UInt8>) -> [UInt8] {
        if let number = integer(in: bytes) { return Self.comparable(.int64, UInt64(bitPattern: number)) }
        let value = bytes.at(value)
        switch kind {
        case .bool: return [kind.rawValue, bool(in: bytes) == true ? 1 : 0]
        case .float: return Self.comparable(Double(Float(bitPattern: value.uint32(at: 0))))
        case .double: return Self.comparable(Double(bitPattern: UInt64(value.uint32(at: 0)) << 32 | UInt64(value.uint32(at: 4))))
        case .bytes: return [AMQPFieldKind.string.rawValue] + value.array
        default: return [kind.rawValue] + value.array
        }
    }

    private static func comparable(_ number: Double) -> [UInt8] {
        if let whole = Int64(exactly: number) { return comparable(.int64, UInt64(bitPattern: whole)) }
        return comparable(.double, number.bitPattern)
    }

    private static func comparable(_ kind: AMQPFieldKind, _ bits: UInt64) -> [UInt8] {
        [kind.rawValue] + (0..<8).map { UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * $0)) }
    }
}
