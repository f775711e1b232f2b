internal import MartletAMQPProtocol
internal import MartletBytes

/// A message's body and properties as they came.
struct AMQPContent: Sendable {
    var body: [UInt8]
    /// `nil`: none but the two below.
    let received: AMQPReceivedProperties?
    let isPersistent: Bool
    let priority: UInt8?

    init(_ header: AMQPContentHeader, _ body: ByteRange, in bytes: Span<UInt8>) {
        self.body = bytes.at(body).array
        received = AMQPReceivedProperties.of(header, in: bytes)
        isPersistent = header.deliveryMode == 2
        priority = header.has(.priority) ? header.priority : nil
    }

    var properties: AMQPMessageProperties {
        if let received { return received.read }
        var properties = AMQPMessageProperties()
        properties.isPersistent = isPersistent
        properties.priority = priority
        return properties
    }
}

/// A message that comes in pieces.
struct AMQPPieces {
    let method: AMQPMethod<[UInt8]>
    var content: AMQPContent?

    mutating func append(_ piece: Span<UInt8>) {
        content?.body += piece.array
    }
}
