public import MartletBytes

/// What a server says, straight into a connection's output: no machine, no array and no string. Whether the channel is open is the
/// caller's to know. `properties`: flags and values (`AMQPContentHeader.properties`), or nothing; they fit into a frame, as they came in one
/// unless frame-max differs: then the message has none. Names and keys have at most 255 bytes. The body is cut at frame-max.
public enum AMQPServerEncoder {
    /// basic.deliver with its content.
    public static func deliver(
        channel: UInt16, consumerTag: Span<UInt8>, deliveryTag: UInt64, redelivered: Bool, from origin: AMQPOrigin, properties: Span<UInt8>,
        body: Span<UInt8>, frameMax: UInt32, into output: inout ByteBuffer
    ) {
        let properties = fitting(properties, frameMax)
        AMQPEncoder.message(
            .basicDeliver, channel: channel, count: 10 &+ consumerTag.count &+ origin.count, properties: properties, body: body, frameMax: frameMax,
            into: &output
        ) { writer in
            writer.write(shortString: consumerTag)
            writer.write(deliveryTag)
            writer.write(redelivered ? 1 as UInt8 : 0)
            writer.write(shortString: origin.exchange)
            writer.write(shortString: origin.routingKey)
        }
    }

    /// basic.get-ok with its content.
    public static func getOk(
        channel: UInt16, deliveryTag: UInt64, redelivered: Bool, from origin: AMQPOrigin, messageCount: UInt32, properties: Span<UInt8>,
        body: Span<UInt8>, frameMax: UInt32, into output: inout ByteBuffer
    ) {
        let properties = fitting(properties, frameMax)
        AMQPEncoder.message(
            .basicGetOk, channel: channel, count: 13 + origin.count, properties: properties, body: body, frameMax: frameMax, into: &output
        ) { writer in
            writer.write(deliveryTag)
            writer.write(redelivered ? 1 as UInt8 : 0)
            writer.write(shortString: origin.exchange)
            writer.write(shortString: origin.routingKey)
            writer.write(messageCount)
        }
    }

    /// basic.return with its content: 312 and the text NO_ROUTE.
    public static func noRoute(
        channel: UInt16, from origin: AMQPOrigin, properties: Span<UInt8>, body: Span<UInt8>, frameMax: UInt32, into output: inout ByteBuffer
    ) {
        let properties = fitting(properties, frameMax)
        AMQPEncoder.message(
            .basicReturn, channel: channel, count: 11 + origin.count, properties: properties, body: body, frameMax: frameMax, into: &output
        ) { writer in
            writer.write(AMQPReplyCode.noRoute.rawValue)
            writer.write(8 as UInt8)
            writer.write(0x4E4F_5F52_4F55_5445 as UInt64)
            writer.write(shortString: origin.exchange)
            writer.write(shortString: origin.routingKey)
        }
    }

    /// basic.ack.
    public static func ack(channel: UInt16, deliveryTag: UInt64, multiple: Bool, into output: inout ByteBuffer) {
        AMQPEncoder.ack(channel: channel, deliveryTag: deliveryTag, multiple: multiple, into: &output)
    }

    /// Any method without content that changes no channel's state. Nothing is written if it is longer than frame-max.
    public static func method(_ method: AMQPMethod<[UInt8]>, channel: UInt16, frameMax: UInt32, into output: inout ByteBuffer) {
        try? AMQPEncoder.method(method, channel: channel, frameMax: frameMax, into: &output)
    }

    @inline(__always) @_lifetime(copy properties)
    private static func fitting(_ properties: Span<UInt8>, _ frameMax: UInt32) -> Span<UInt8> {
        AMQPEncoder.fits(propertyCount: properties.count, frameMax: frameMax) ? properties : properties.extracting(first: 0)
    }
}
