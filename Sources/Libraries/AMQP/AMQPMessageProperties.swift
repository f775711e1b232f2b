public import MartletAMQPProtocol
internal import MartletBytes

/// The properties of a message (section 1.8 of the class reference, "basic"). `nil`: not given. Texts have at most 255 bytes.
public struct AMQPMessageProperties: Sendable, Equatable {
    /// The server keeps the message over a restart, in a durable queue (delivery mode 2).
    public var isPersistent = false
    /// MIME type.
    public var contentType: String?
    public var contentEncoding: String?
    /// What headers exchanges route by, and anything else.
    public var headers: AMQPTable?
    /// 0...255.
    public var priority: UInt8?
    /// To which request this is the answer.
    public var correlationID: String?
    /// The queue for the answer.
    public var replyTo: String?
    /// Milliseconds in decimal digits: how long the message is of use.
    public var expiration: String?
    public var messageID: String?
    /// Seconds since 1970.
    public var timestamp: UInt64?
    /// The kind of message.
    public var type: String?
    /// The server checks that it is the publisher's user name.
    public var userID: String?
    public var appID: String?

    public init() {}

    init(_ properties: AMQPProperties) {
        func text(_ bytes: [UInt8]?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
        isPersistent = properties.deliveryMode == 2
        contentType = text(properties.contentType)
        contentEncoding = text(properties.contentEncoding)
        headers = properties.headers.map { AMQPTable(encoded: $0) }
        priority = properties.priority
        correlationID = text(properties.correlationID)
        replyTo = text(properties.replyTo)
        expiration = text(properties.expiration)
        messageID = text(properties.messageID)
        timestamp = properties.timestamp
        type = text(properties.type)
        userID = text(properties.userID)
        appID = text(properties.appID)
    }

    private static let none = AMQPMessageProperties()
    private static let persistent: AMQPMessageProperties = {
        var properties = AMQPMessageProperties()
        properties.isPersistent = true
        return properties
    }()
    private static let persistentEncoded: [UInt8] = [0x10, 0, 2]

    /// Flags and values, as they go on the wire; empty: none. The commonest cost nothing.
    func encoded() throws(AMQPError) -> [UInt8] {
        if self == Self.none { return [] }
        if self == Self.persistent { return Self.persistentEncoded }
        func bytes(_ text: String?) -> [UInt8]? { text.map { Array($0.utf8) } }
        for field in headers?.fields ?? [] where field.key.count > 255 {
            throw .misuse(method: "basic.publish", reason: "a header's name is longer than 255 bytes")
        }
        var properties = AMQPProperties()
        properties.deliveryMode = isPersistent ? 2 : nil
        properties.contentType = bytes(contentType)
        properties.contentEncoding = bytes(contentEncoding)
        properties.headers = headers?.encoded
        properties.priority = priority
        properties.correlationID = bytes(correlationID)
        properties.replyTo = bytes(replyTo)
        properties.expiration = bytes(expiration)
        properties.messageID = bytes(messageID)
        properties.timestamp = timestamp
        properties.type = bytes(type)
        properties.userID = bytes(userID)
        properties.appID = bytes(appID)
        var output = ByteBuffer()
        do throws(AMQPMisuse) {
            try properties.encode(into: &output)
        } catch { throw .misuse(method: "basic.publish", reason: error.sentence) }
        return output.span.array
    }
}

/// A message's properties as they came: read when they are asked for.
final class AMQPReceivedProperties: Sendable {
    private let header: AMQPContentHeader
    private let bytes: [UInt8]

    init(_ header: AMQPContentHeader, in input: Span<UInt8>) {
        bytes = input.at(header.properties).array
        var header = header
        header.properties = ByteRange(0, bytes.count)
        self.header = header
    }

    /// `nil` where `AMQPDelivery` has them all: delivery mode and priority.
    static func of(_ header: AMQPContentHeader, in input: Span<UInt8>) -> AMQPReceivedProperties? {
        header.flags & ~0x1800 == 0 ? nil : AMQPReceivedProperties(header, in: input)
    }

    var read: AMQPMessageProperties {
        let bytes = bytes
        return AMQPMessageProperties(AMQPProperties(header, in: bytes.span))
    }
}
