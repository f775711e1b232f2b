public import MartletBytes

/// The properties of class basic, in the order of their flags: the first has bit 15 (section 4.2.6.1).
public enum AMQPProperty: UInt8, Sendable, CaseIterable {
    case contentType, contentEncoding, headers, deliveryMode, priority, correlationID, replyTo, expiration, messageID, timestamp, type, userID, appID
    case clusterID

    var flag: UInt16 { 0x8000 >> UInt16(rawValue) }
}

/// The content header of a message: size, and properties as a range of the machine's input, all checked.
/// ```
/// | class 2 | weight 2 | body size 8 | flags 2 | properties that have a flag ... |
///                                    ^ properties
/// ```
public struct AMQPContentHeader: Equatable, Sendable {
    /// Bytes of body that belong to it.
    public var bodySize: UInt64
    /// The flags and what follows them: what a broker keeps and sends on as it is.
    public var properties: ByteRange
    /// Field table without its length; empty: none.
    public var headers = ByteRange.empty
    /// Milliseconds in decimal digits, as its sender wrote them; empty: none.
    public var expiration = ByteRange.empty
    public var classID: UInt16
    public var flags: UInt16
    /// 2: persistent; 0: none was given, which means 1.
    public var deliveryMode: UInt8 = 0
    /// 0: none was given, which means 0.
    public var priority: UInt8 = 0

    public func has(_ property: AMQPProperty) -> Bool { flags & property.flag != 0 }

    /// Where the value of a property lies: a string or a table without its length, a number's bytes. `nil`: not given.
    public func place(of property: AMQPProperty, in bytes: Span<UInt8>) -> ByteRange? {
        guard has(property) else { return nil }
        var at = Int(properties.start) + 2
        for other in AMQPProperty.allCases where has(other) {
            guard let value = Self.value(other.flag, at: at, end: properties.end, in: bytes) else { return nil }
            if other == property { return value }
            at = value.end
        }
        return nil
    }

    /// The headers in properties (flags and values) that a machine has checked, without their length; `nil`: none were given.
    public static func headers(in properties: Span<UInt8>) -> ByteRange? {
        var reader = ByteReader(properties)
        guard let flags = reader.readUInt16(), flags & AMQPProperty.headers.flag != 0 else { return nil }
        do throws(AMQPFault) {
            if flags & AMQPProperty.contentType.flag != 0 { _ = try reader.shortString() }
            if flags & AMQPProperty.contentEncoding.flag != 0 { _ = try reader.shortString() }
            return try reader.longString()
        } catch { return nil }
    }

    /// A content header with bytes of its own.
    public struct Owned: Equatable, Sendable {
        public var bodySize: UInt64
        public var properties: AMQPProperties

        public init(bodySize: UInt64, properties: AMQPProperties = AMQPProperties()) {
            self.bodySize = bodySize
            self.properties = properties
        }
    }

    public func owned(in bytes: Span<UInt8>) -> Owned { Owned(bodySize: bodySize, properties: AMQPProperties(self, in: bytes)) }
}

extension AMQPContentHeader {
    /// | class 2 | weight 2 | body size 8 | flags 2 |
    private static var countLeast: Int { 14 }

    @inline(__always)
    init(_ frame: AMQPFrame, in bytes: Span<UInt8>, depthMax: UInt8) throws(AMQPFault) {
        let at = frame.body
        guard frame.count >= Self.countLeast else { throw .frameTooShort }
        // Two words hold the fixed fields; they overlap in the middle of the body size.
        let first = bytes.word(at: at).byteSwapped, last = bytes.word(at: at &+ 6).byteSwapped
        guard (first >> 32) & 0xFFFF == 0 else { throw .headerWeight }
        classID = UInt16(truncatingIfNeeded: first >> 48)
        bodySize = first << 32 | (last >> 16) & 0xFFFF_FFFF
        properties = ByteRange(at &+ 12, frame.count &- 12)
        flags = UInt16(truncatingIfNeeded: last)
        if flags != 0 {
            try check(from: at &+ Self.countLeast, to: frame.end, in: bytes, depthMax: depthMax)
        } else if frame.count != Self.countLeast {
            throw .trailingBytes
        }
    }

    /// Walks the properties that are there, from flag to flag.
    @inline(__always)
    private mutating func check(from start: Int, to end: Int, in bytes: Span<UInt8>, depthMax: UInt8) throws(AMQPFault) {
        guard flags & 3 == 0 else { throw .propertyFlags }
        var at = start, left = flags
        while left != 0 {
            let flag: UInt16 = 0x8000 >> UInt16(truncatingIfNeeded: left.leadingZeroBitCount)
            left ^= flag
            guard let value = Self.value(flag, at: at, end: end, in: bytes) else { throw .cutShort }
            at = value.end
            if flag == AMQPProperty.deliveryMode.flag {
                deliveryMode = bytes[Int(value.start)]
            } else if flag == AMQPProperty.headers.flag {
                headers = value
                try AMQPTableCursor.check(value, in: bytes, isArray: false, depthMax: depthMax)
            } else if flag == AMQPProperty.priority.flag {
                priority = bytes[Int(value.start)]
            } else if flag == AMQPProperty.expiration.flag {
                expiration = value
            }
        }
        guard at == end else { throw .trailingBytes }
    }

    /// The value at `at` of the property that has this flag, without its length; `nil` when it reaches beyond `end`.
    @inline(__always)
    private static func value(_ flag: UInt16, at: Int, end: Int, in bytes: Span<UInt8>) -> ByteRange? {
        let start: Int, count: Int
        if flag == AMQPProperty.headers.flag {
            guard at <= end &- 4 else { return nil }
            (start, count) = (at &+ 4, Int(bytes.uint32(at: at)))
        } else if flag == AMQPProperty.deliveryMode.flag || flag == AMQPProperty.priority.flag {
            (start, count) = (at, 1)
        } else if flag == AMQPProperty.timestamp.flag {
            (start, count) = (at, 8)
        } else {
            guard at < end else { return nil }
            (start, count) = (at &+ 1, Int(bytes[at]))
        }
        return start &+ count <= end ? ByteRange(start, count) : nil
    }
}
