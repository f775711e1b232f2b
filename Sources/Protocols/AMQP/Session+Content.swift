internal import MartletBytes

extension AMQPSession {
    /// The whole message, if it lies in three frames that follow each other; its method alone otherwise; `nil` while that is open.
    mutating func content(
        of method: AMQPMethod<ByteRange>, _ id: AMQPMethodID, _ frame: AMQPFrame, from input: inout ByteReader, at index: Int
    ) -> AMQPEvent? {
        if let content = content(after: frame, in: input.bytes) {
            input.offset = content.next
            return .content(channel: frame.channel, method, content.header, body: content.body)
        }
        if mayBecomeWhole(frame, id, in: input.bytes) { return nil }
        channels.entries[index].content = .header
        channels.entries[index].method = id.rawValue
        input.offset = frame.next
        return .method(channel: frame.channel, method)
    }

    /// Header and body right behind their method, all there and without a fault.
    @inline(__always)
    func content(after method: AMQPFrame, in bytes: Span<UInt8>) -> (header: AMQPContentHeader, body: ByteRange, next: Int)? {
        guard let frame = AMQPFrame.whole(AMQPFrame.header, in: bytes, at: method.next, frameMax: frameMax), frame.channel == method.channel,
            let header = try? AMQPContentHeader(frame, in: bytes, depthMax: limits.tableDepthMax), header.classID == AMQPMethodID.basicPublish.classID,
            header.bodySize <= limits.bodySizeMax
        else { return nil }
        if header.bodySize == 0 { return (header, ByteRange(frame.next, 0), frame.next) }
        guard let body = AMQPFrame.whole(AMQPFrame.body, in: bytes, at: frame.next, frameMax: frameMax), body.channel == method.channel,
            UInt64(truncatingIfNeeded: body.count) == header.bodySize
        else { return nil }
        return (header, ByteRange(body.body, body.count), body.next)
    }

    /// Whether more bytes could make a whole message of the method and what is there. A frame that is wrong is left for its own turn: what
    /// came before is told first.
    private func mayBecomeWhole(_ method: AMQPFrame, _ id: AMQPMethodID, in bytes: Span<UInt8>) -> Bool {
        guard let frame = AMQPFrame.peek(in: bytes, at: method.next) else { return true }
        guard frame.type == AMQPFrame.header, frame.channel == method.channel, frame.count + AMQPFrame.overhead <= Int(frameMax) else { return false }
        guard frame.end < bytes.count else { return true }
        guard bytes[frame.end] == AMQPFrame.endOctet, let header = try? AMQPContentHeader(frame, in: bytes, depthMax: limits.tableDepthMax),
            header.classID == id.classID
        else { return false }
        guard header.bodySize <= limits.bodySizeMax, header.bodySize <= UInt64(frameMax) - UInt64(AMQPFrame.overhead) else { return false }
        guard let body = AMQPFrame.peek(in: bytes, at: frame.next) else { return true }
        return body.type == AMQPFrame.body && body.channel == method.channel && UInt64(body.count) == header.bodySize && body.end >= bytes.count
    }

    /// A content header by itself.
    mutating func header(_ frame: AMQPFrame, in bytes: Span<UInt8>, at index: Int, into output: inout ByteBuffer) throws(AMQPFault) -> AMQPEvent? {
        guard channels.entries[index].content != .none else { throw .noMethod }
        cause = channels.entries[index].method
        guard channels.entries[index].content == .header else { throw .noContentBody }
        let header = try AMQPContentHeader(frame, in: bytes, depthMax: limits.tableDepthMax)
        guard header.classID == UInt16(cause >> 16) else { throw .headerClass }
        channels.entries[index].content = header.bodySize == 0 ? .none : .body
        channels.entries[index].remaining = header.bodySize
        guard header.bodySize <= limits.bodySizeMax else {
            closeChannel(at: index, .preconditionFailed, text: replyText(.bodyTooLarge, at: frame.body - 7, in: bytes), into: &output)
            return .bodyTooLarge(channel: frame.channel, bodySize: header.bodySize)
        }
        return .header(channel: frame.channel, header)
    }

    mutating func body(_ frame: AMQPFrame, at index: Int) throws(AMQPFault) -> AMQPEvent? {
        guard channels.entries[index].content != .none else { throw .noMethod }
        cause = channels.entries[index].method
        guard channels.entries[index].content == .body else { throw .noContentHeader }
        guard UInt64(frame.count) <= channels.entries[index].remaining else { throw .bodyTooLong }
        let remaining = channels.entries[index].remaining - UInt64(frame.count)
        channels.entries[index].remaining = remaining
        if remaining == 0 { channels.entries[index].content = .none }
        return .body(channel: frame.channel, ByteRange(frame.body, frame.count), remaining: remaining)
    }

    /// A channel exception of the machine's own.
    private mutating func closeChannel(at index: Int, _ code: AMQPReplyCode, text: String, into output: inout ByteBuffer) {
        let close = AMQPMethod<[UInt8]>.ChannelClose(
            replyCode: code.rawValue, replyText: Array(text.utf8), classID: UInt16(cause >> 16), methodID: UInt16(truncatingIfNeeded: cause))
        channels.entries[index].state = .closing
        channels.entries[index].content = .none
        write(.channelClose(close), channel: channels.entries[index].number, into: &output)
    }
}
