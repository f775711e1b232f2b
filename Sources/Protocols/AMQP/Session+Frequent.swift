internal import MartletBytes

/// The short way for what most bytes are: whole messages and acknowledgements on an open channel, without a fault. Everything else, and what
/// is not all there yet, is `nil` here and judged by `nextFrame` from its first byte, so nothing on this way says what is wrong.
extension AMQPSession {
    /// basic.publish with its content, or basic.ack.
    @inline(__always)
    mutating func publishOrAck(from input: inout ByteReader) -> AMQPEvent? {
        let bytes = input.bytes
        guard let frame = readyMethod(at: input.offset, in: bytes) else { return nil }
        let at = frame.body
        // Ids, ticket, length of the exchange's name.
        let head = bytes.word(at: at).byteSwapped
        guard head >> 32 == UInt64(AMQPMethodID.basicPublish.rawValue) else { return ack(frame, from: &input) }
        let exchange = ByteRange(at &+ 7, Int(UInt8(truncatingIfNeeded: head >> 8)))
        guard let routingKey = bytes.shortString(at: exchange.end, end: frame.end),
            routingKey.end == frame.end &- 1, let content = content(after: frame, in: bytes)
        else { return nil }
        let bits = bytes[routingKey.end]
        let publish = AMQPMethod<ByteRange>.BasicPublish(
            ticket: UInt16(truncatingIfNeeded: head >> 16), exchange: exchange, routingKey: routingKey, mandatory: bits & 1 != 0, immediate: bits & 2 != 0)
        input.offset = content.next
        return .content(channel: frame.channel, .basicPublish(publish), content.header, body: content.body)
    }

    /// basic.deliver with its content, or basic.ack.
    @inline(__always)
    mutating func deliverOrAck(from input: inout ByteReader) -> AMQPEvent? {
        let bytes = input.bytes
        guard let frame = readyMethod(at: input.offset, in: bytes) else { return nil }
        let at = frame.body
        guard bytes.uint32(at: at) == AMQPMethodID.basicDeliver.rawValue else { return ack(frame, from: &input) }
        guard let consumerTag = bytes.shortString(at: at &+ 4, end: frame.end) else { return nil }
        let fixed = consumerTag.end
        guard let exchange = bytes.shortString(at: fixed &+ 9, end: frame.end), let routingKey = bytes.shortString(at: exchange.end, end: frame.end),
            routingKey.end == frame.end, let content = content(after: frame, in: bytes)
        else { return nil }
        let deliver = AMQPMethod<ByteRange>.BasicDeliver(
            consumerTag: consumerTag, deliveryTag: bytes.word(at: fixed).byteSwapped, redelivered: bytes[fixed &+ 8] & 1 != 0, exchange: exchange,
            routingKey: routingKey)
        input.offset = content.next
        return .content(channel: frame.channel, .basicDeliver(deliver), content.header, body: content.body)
    }

    @inline(__always)
    private func ack(_ frame: AMQPFrame, from input: inout ByteReader) -> AMQPEvent? {
        let bytes = input.bytes
        guard bytes.uint32(at: frame.body) == AMQPMethodID.basicAck.rawValue, frame.count == 13 else { return nil }
        input.offset = frame.next
        let ack = AMQPMethod<ByteRange>.BasicAck(
            deliveryTag: bytes.word(at: frame.body &+ 4).byteSwapped, multiple: bytes[frame.body &+ 12] & 1 != 0)
        return .method(channel: frame.channel, .basicAck(ack))
    }

    /// A method frame on a channel that waits for one.
    @inline(__always)
    private func readyMethod(at offset: Int, in bytes: Span<UInt8>) -> AMQPFrame? {
        guard phase == .open, let frame = AMQPFrame.whole(AMQPFrame.method, in: bytes, at: offset, frameMax: frameMax), frame.count >= 9,
            let index = channels.index(of: frame.channel), channels.entries[index].isReady
        else { return nil }
        return frame
    }
}

extension Span where Element == UInt8 {
    /// The short string whose length is at `offset`, if it ends before `end`, which lies in the span.
    @inline(__always)
    fileprivate func shortString(at offset: Int, end: Int) -> ByteRange? {
        guard offset < end else { return nil }
        let text = ByteRange(offset &+ 1, Int(self[offset]))
        return text.end <= end ? text : nil
    }
}
