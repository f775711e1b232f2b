public import MartletBytes

/// The types of a field's value, by the letters that RabbitMQ and its clients use (they differ from the specification's section 4.2.1).
public enum AMQPFieldKind: UInt8, Sendable, CaseIterable {
    case bool = 0x74
    case int8 = 0x62
    case uint8 = 0x42
    case int16 = 0x73
    case uint16 = 0x75
    case int32 = 0x49
    case uint32 = 0x69
    case int64 = 0x6C
    /// `L`, which some clients write for the same as `l`.
    case int64Upper = 0x4C
    case float = 0x66
    case double = 0x64
    /// An octet of scale and four bytes of value.
    case decimal = 0x44
    case string = 0x53
    case array = 0x41
    /// Seconds since 1970.
    case timestamp = 0x54
    case table = 0x46
    case void = 0x56
    case bytes = 0x78

    /// Bytes the value takes; `nil`: four bytes of length say so.
    var width: Int? {
        switch self {
        case .void: 0
        case .bool, .int8, .uint8: 1
        case .int16, .uint16: 2
        case .int32, .uint32, .float: 4
        case .decimal: 5
        case .int64, .int64Upper, .double, .timestamp: 8
        case .string, .array, .table, .bytes: nil
        }
    }
}

/// One field of a table, or one element of an array, where it lies.
public struct AMQPField: Equatable, Sendable {
    /// Empty in an array.
    public var key: ByteRange
    public var kind: AMQPFieldKind
    /// The value without its letter and its length.
    public var value: ByteRange

    /// An integer of any width, or a timestamp.
    public func integer(in bytes: Span<UInt8>) -> Int64? {
        let value = bytes.at(value)
        switch kind {
        case .int8: return Int64(Int8(bitPattern: value[0]))
        case .uint8: return Int64(value[0])
        case .int16: return Int64(Int16(bitPattern: value.uint16(at: 0)))
        case .uint16: return Int64(value.uint16(at: 0))
        case .int32: return Int64(Int32(bitPattern: value.uint32(at: 0)))
        case .uint32: return Int64(value.uint32(at: 0))
        case .int64, .int64Upper, .timestamp: return Int64(bitPattern: UInt64(value.uint32(at: 0)) << 32 | UInt64(value.uint32(at: 4)))
        default: return nil
        }
    }

    /// A boolean; any byte but 0 is true.
    public func bool(in bytes: Span<UInt8>) -> Bool? { kind == .bool ? bytes[Int(value.start)] != 0 : nil }
}

/// Walks a field table or a field array (section 4.2.5.5) where it lies. Ranges speak of `bytes`.
///
/// Invariant: bytes that no machine has checked end the walk early; they never trap.
/// Not here: that no key comes twice (readers take the first, as RabbitMQ).
public struct AMQPTableCursor: ~Escapable {
    private var reader: ByteReader
    private let isArray: Bool

    /// Over the table at `range`, without its length.
    @_lifetime(copy bytes)
    public init(_ range: ByteRange, in bytes: Span<UInt8>, isArray: Bool = false) {
        let isInside = range.end <= bytes.count
        reader = ByteReader(bytes.extracting(0..<(isInside ? range.end : 0)), offset: isInside ? Int(range.start) : 0)
        self.isArray = isArray
    }

    @_lifetime(self: copy self)
    public mutating func next() -> AMQPField? {
        do { return try nextChecked() } catch { return nil }
    }

    /// The first field of this name from here on.
    @_lifetime(self: copy self)
    public mutating func first(_ key: Span<UInt8>) -> AMQPField? {
        while let field = next() { if reader.bytes.at(field.key).equals(key) { return field } }
        return nil
    }

    @_lifetime(self: copy self)
    private mutating func nextChecked() throws(AMQPFault) -> AMQPField? {
        if reader.isAtEnd { return nil }
        let key = isArray ? ByteRange.empty : try reader.shortString()
        guard let kind = AMQPFieldKind(rawValue: try reader.octet()) else { throw .tableValue }
        let value = if let width = kind.width { try reader.range(width) } else { try reader.longString() }
        return AMQPField(key: key, kind: kind, value: value)
    }

    /// Looks at all of it, and at what is nested in it: each message's headers come by here.
    static func check(_ range: ByteRange, in bytes: Span<UInt8>, isArray: Bool, depthMax: UInt8) throws(AMQPFault) {
        guard depthMax > 0 else { throw .tableTooDeep }
        var at = Int(range.start)
        let end = range.end
        while at < end {
            if !isArray {
                at &+= 1 &+ Int(bytes[at])
                guard at < end else { throw .cutShort }
            }
            let letter = bytes[at]
            at &+= 1
            switch AMQPFieldKind(rawValue: letter) {
            case .string, .bytes:
                guard at <= end &- 4 else { throw .cutShort }
                at &+= 4 &+ Int(bytes.uint32(at: at))
            case .table, .array:
                guard at <= end &- 4 else { throw .cutShort }
                let value = ByteRange(at &+ 4, Int(bytes.uint32(at: at)))
                guard value.end <= end else { throw .cutShort }
                try check(value, in: bytes, isArray: letter == AMQPFieldKind.array.rawValue, depthMax: depthMax - 1)
                at = value.end
            case .void: break
            case .bool, .int8, .uint8: at &+= 1
            case .int16, .uint16: at &+= 2
            case .int32, .uint32, .float: at &+= 4
            case .decimal: at &+= 5
            case .int64, .int64Upper, .double, .timestamp: at &+= 8
            case nil: throw .tableValue
            }
            guard at <= end else { throw .cutShort }
        }
    }
}
