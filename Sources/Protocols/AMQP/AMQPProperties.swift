public import MartletBytes

/// The properties of a message with bytes of their own: what a client sends and reads. `nil`: not given. Strings have at most 255 bytes.
public struct AMQPProperties: Equatable, Sendable {
    public var contentType: [UInt8]?
    public var contentEncoding: [UInt8]?
    /// A field table as it is encoded, without its length (`AMQPTable`).
    public var headers: [UInt8]?
    /// 1: transient, 2: persistent.
    public var deliveryMode: UInt8?
    public var priority: UInt8?
    public var correlationID: [UInt8]?
    public var replyTo: [UInt8]?
    /// Milliseconds in decimal digits.
    public var expiration: [UInt8]?
    public var messageID: [UInt8]?
    /// Seconds since 1970.
    public var timestamp: UInt64?
    public var type: [UInt8]?
    public var userID: [UInt8]?
    public var appID: [UInt8]?
    public var clusterID: [UInt8]?

    public init() {}

    public init(_ header: AMQPContentHeader, in bytes: Span<UInt8>) {
        func text(_ property: AMQPProperty) -> [UInt8]? { header.place(of: property, in: bytes).map { bytes.at($0).array } }
        if header.flags == 0 { return }
        contentType = text(.contentType)
        contentEncoding = text(.contentEncoding)
        headers = text(.headers)
        deliveryMode = header.has(.deliveryMode) ? header.deliveryMode : nil
        priority = header.has(.priority) ? header.priority : nil
        correlationID = text(.correlationID)
        replyTo = text(.replyTo)
        expiration = text(.expiration)
        messageID = text(.messageID)
        timestamp = header.place(of: .timestamp, in: bytes).map { place in
            UInt64(bytes.uint32(at: Int(place.start))) << 32 | UInt64(bytes.uint32(at: Int(place.start) + 4))
        }
        type = text(.type)
        userID = text(.userID)
        appID = text(.appID)
        clusterID = text(.clusterID)
    }

    /// Flags and values, as `AMQPContentHeader.properties` has them.
    public func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        let start = output.count
        var flags: UInt16 = 0
        output.append(flags)
        func append(_ property: AMQPProperty, _ text: [UInt8]?) throws(AMQPMisuse) {
            guard let text else { return }
            flags |= property.flag
            try output.append(shortString: text)
        }
        try append(.contentType, contentType)
        try append(.contentEncoding, contentEncoding)
        if let headers {
            flags |= AMQPProperty.headers.flag
            output.append(longString: headers)
        }
        if let deliveryMode {
            flags |= AMQPProperty.deliveryMode.flag
            output.append(deliveryMode)
        }
        if let priority {
            flags |= AMQPProperty.priority.flag
            output.append(priority)
        }
        try append(.correlationID, correlationID)
        try append(.replyTo, replyTo)
        try append(.expiration, expiration)
        try append(.messageID, messageID)
        if let timestamp {
            flags |= AMQPProperty.timestamp.flag
            output.append(timestamp)
        }
        try append(.type, type)
        try append(.userID, userID)
        try append(.appID, appID)
        try append(.clusterID, clusterID)
        output.set(flags, at: start)
    }
}
