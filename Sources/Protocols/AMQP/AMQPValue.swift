public import MartletBytes

/// A value of a field table with bytes of its own: what a client builds and reads. `AMQPTableCursor` reads without a copy.
public enum AMQPValue: Equatable, Sendable {
    case bool(Bool)
    case int8(Int8)
    case uint8(UInt8)
    case int16(Int16)
    case uint16(UInt16)
    case int32(Int32)
    case uint32(UInt32)
    case int64(Int64)
    case float(Float)
    case double(Double)
    /// `value` divided by ten to the power of `scale`.
    case decimal(scale: UInt8, value: UInt32)
    /// A long string, UTF-8 by custom.
    case string([UInt8])
    case array([AMQPValue])
    /// Seconds since 1970.
    case timestamp(UInt64)
    case table(AMQPTable)
    case void
    case bytes([UInt8])
}

extension AMQPValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral {
    public init(stringLiteral text: String) { self = .string(Array(text.utf8)) }
    public init(booleanLiteral flag: Bool) { self = .bool(flag) }
    /// As `int64`, which all peers read.
    public init(integerLiteral number: Int64) { self = .int64(number) }
}

/// A field table in the order of its fields.
public struct AMQPTable: Equatable, Sendable, ExpressibleByDictionaryLiteral {
    public struct Field: Equatable, Sendable {
        /// At most 255 bytes.
        public var key: [UInt8]
        public var value: AMQPValue

        public init(_ key: [UInt8], _ value: AMQPValue) {
            self.key = key
            self.value = value
        }
    }

    public var fields: [Field]

    public init(_ fields: [Field] = []) { self.fields = fields }

    public init(dictionaryLiteral elements: (String, AMQPValue)...) { fields = elements.map { Field(Array($0.0.utf8), $0.1) } }

    /// The first field of this name.
    public subscript(key: String) -> AMQPValue? { fields.first { $0.key.elementsEqual(key.utf8) }?.value }

    /// The table as it is encoded, without its length. Traps when a key is longer than 255 bytes.
    public var encoded: [UInt8] {
        var output: [UInt8] = []
        for field in fields {
            output.append(UInt8(field.key.count))
            output += field.key
            field.value.encode(into: &output)
        }
        return output
    }

    /// The table at `range`, whole or up to its first fault; a machine has checked the tables that it gives. What is nested deeper than
    /// any machine allows (255) is read as empty.
    public init(_ range: ByteRange, in bytes: Span<UInt8>) { self.init(range, in: bytes, depthMax: .max) }

    init(_ range: ByteRange, in bytes: Span<UInt8>, depthMax: UInt8) {
        fields = []
        var cursor = AMQPTableCursor(range, in: bytes)
        while depthMax > 0, let field = cursor.next() { fields.append(Field(bytes.at(field.key).array, AMQPValue(field, in: bytes, depthMax: depthMax - 1))) }
    }

    /// The same, from a table that an event's owner keeps.
    public init(encoded: [UInt8]) { self.init(ByteRange(0, encoded.count), in: encoded.span) }
}

extension AMQPValue {
    init(_ field: AMQPField, in bytes: Span<UInt8>, depthMax: UInt8) {
        let value = bytes.at(field.value)
        let integer = field.integer(in: bytes) ?? 0
        switch field.kind {
        case .bool: self = .bool(value[0] != 0)
        case .int8: self = .int8(Int8(integer))
        case .uint8: self = .uint8(UInt8(integer))
        case .int16: self = .int16(Int16(integer))
        case .uint16: self = .uint16(UInt16(integer))
        case .int32: self = .int32(Int32(integer))
        case .uint32: self = .uint32(UInt32(integer))
        case .int64, .int64Upper: self = .int64(integer)
        case .float: self = .float(Float(bitPattern: value.uint32(at: 0)))
        case .double: self = .double(Double(bitPattern: UInt64(value.uint32(at: 0)) << 32 | UInt64(value.uint32(at: 4))))
        case .decimal: self = .decimal(scale: value[0], value: value.uint32(at: 1))
        case .string: self = .string(value.array)
        case .array:
            var elements: [AMQPValue] = []
            var cursor = AMQPTableCursor(field.value, in: bytes, isArray: true)
            while depthMax > 0, let element = cursor.next() { elements.append(AMQPValue(element, in: bytes, depthMax: depthMax - 1)) }
            self = .array(elements)
        case .timestamp: self = .timestamp(UInt64(bitPattern: integer))
        case .table: self = .table(AMQPTable(field.value, in: bytes, depthMax: depthMax))
        case .void: self = .void
        case .bytes: self = .bytes(value.array)
        }
    }

    /// Letter, length where there is one, value.
    func encode(into output: inout [UInt8]) {
        switch self {
        case .bool(let flag): output += [AMQPFieldKind.bool.rawValue, flag ? 1 : 0]
        case .int8(let number): Self.append(.int8, UInt8(bitPattern: number), to: &output)
        case .uint8(let number): Self.append(.uint8, number, to: &output)
        case .int16(let number): Self.append(.int16, UInt16(bitPattern: number), to: &output)
        case .uint16(let number): Self.append(.uint16, number, to: &output)
        case .int32(let number): Self.append(.int32, UInt32(bitPattern: number), to: &output)
        case .uint32(let number): Self.append(.uint32, number, to: &output)
        case .int64(let number): Self.append(.int64, UInt64(bitPattern: number), to: &output)
        case .float(let number): Self.append(.float, number.bitPattern, to: &output)
        case .double(let number): Self.append(.double, number.bitPattern, to: &output)
        case .decimal(let scale, let value):
            Self.append(.decimal, scale, to: &output)
            Self.append(value, to: &output)
        case .string(let text): Self.append(.string, text, to: &output)
        case .array(let elements):
            var encoded: [UInt8] = []
            for element in elements { element.encode(into: &encoded) }
            Self.append(.array, encoded, to: &output)
        case .timestamp(let seconds): Self.append(.timestamp, seconds, to: &output)
        case .table(let table): Self.append(.table, table.encoded, to: &output)
        case .void: output.append(AMQPFieldKind.void.rawValue)
        case .bytes(let bytes): Self.append(.bytes, bytes, to: &output)
        }
    }

    private static func append(_ kind: AMQPFieldKind, _ bytes: [UInt8], to output: inout [UInt8]) {
        append(kind, UInt32(bytes.count), to: &output)
        output += bytes
    }

    private static func append(_ kind: AMQPFieldKind, _ number: some FixedWidthInteger, to output: inout [UInt8]) {
        output.append(kind.rawValue)
        append(number, to: &output)
    }

    private static func append(_ number: some FixedWidthInteger, to output: inout [UInt8]) {
        for shift in stride(from: number.bitWidth - 8, through: 0, by: -8) { output.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }
}
