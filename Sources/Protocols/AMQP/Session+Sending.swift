internal import MartletBytes

extension AMQPSession {
    mutating func send(_ message: AMQPOutgoing, into output: inout ByteBuffer) throws(AMQPMisuse) {
        switch message {
        case .protocolHeader:
            guard !isServer else { throw .wrongDirection }
            guard phase == .owesProtocolHeader else { throw .outOfOrder }
            let header = AMQPProtocolHeader.bytes
            output.append(header.span)
            phase = .awaitsStart
        case .method(let channel, let method): try send(method, channel: channel, into: &output)
        case .content(let channel, let method, let properties, let body):
            try sendContent(method, channel: channel, properties: properties, body: body, into: &output)
        }
    }

    private mutating func send(_ method: AMQPMethod<[UInt8]>, channel: UInt16, into output: inout ByteBuffer) throws(AMQPMisuse) {
        let id = method.id
        guard isServer ? id.comesFromServer : id.comesFromClient else { throw .wrongDirection }
        guard !id.hasContent else { throw .contentMismatch }
        guard (channel == 0) == (id.classID == AMQPMethodID.connectionOpen.classID) else { throw .wrongChannel }
        if channel == 0 {
            let next = try phase(afterSending: method)
            try AMQPEncoder.method(method, channel: 0, frameMax: frameMax, into: &output)
            enter(next, afterSending: method)
        } else {
            guard phase == .open else { throw .notOpen }
            if id == .channelOpen { try checkNumber(channel) } else { try checkSending(id, channel) }
            try AMQPEncoder.method(method, channel: channel, frameMax: frameMax, into: &output)
            settleChannel(id, channel)
        }
        hasSentSinceLook = true
    }

    private func checkNumber(_ channel: UInt16) throws(AMQPMisuse) {
        guard channel <= channelMax else { throw .channelNotOpen }
        guard channels.index(of: channel) == nil else { throw .channelInUse }
    }

    private func checkSending(_ id: AMQPMethodID, _ channel: UInt16) throws(AMQPMisuse) {
        guard let index = channels.index(of: channel) else { throw .channelNotOpen }
        let isAllowed =
            switch (channels.entries[index].state, id) {
            case (.opening, .channelOpenOk), (.opening, .channelClose), (.owesCloseOk, .channelCloseOk): true
            case (.open, .channelOpenOk), (.open, .channelCloseOk): false
            case (.open, _): true
            default: false
            }
        guard isAllowed else { throw .outOfOrder }
    }

    private mutating func settleChannel(_ id: AMQPMethodID, _ channel: UInt16) {
        guard let index = channels.index(of: channel) else { return channels.insert(channel) }
        switch id {
        case .channelOpenOk: channels.entries[index].state = .open
        case .channelClose:
            channels.entries[index].state = .closing
            channels.entries[index].content = .none
        case .channelCloseOk: channels.remove(at: index)
        default: break
        }
    }

    /// A method of the machine's own, which always fits.
    func write(_ method: AMQPMethod<[UInt8]>, channel: UInt16, into output: inout ByteBuffer) {
        try? AMQPEncoder.method(method, channel: channel, frameMax: frameMax, into: &output)
    }

    private mutating func sendContent(
        _ method: AMQPMethod<[UInt8]>, channel: UInt16, properties: AMQPProperties, body: [UInt8], into output: inout ByteBuffer
    ) throws(AMQPMisuse) {
        guard isServer ? method.id.comesFromServer : method.id.comesFromClient else { throw .wrongDirection }
        guard method.id.hasContent else { throw .contentMismatch }
        var encoded = ByteBuffer(), fields = ByteBuffer()
        try properties.encode(into: &encoded)
        try method.encode(into: &fields)
        try checkContent(channel: channel, propertyCount: encoded.count)
        let span = fields.span
        sendMessage(method.id, channel: channel, count: span.count, properties: encoded.span, body: body.span, into: &output) { $0.write(span) }
    }

    /// Whether a message may go out on the channel.
    @inline(__always)
    func checkContent(channel: UInt16, propertyCount: Int) throws(AMQPMisuse) {
        guard phase == .open else { throw .notOpen }
        guard let index = channels.index(of: channel), channels.entries[index].state == .open else { throw .channelNotOpen }
        guard AMQPEncoder.fits(propertyCount: propertyCount, frameMax: frameMax) else { throw .frameTooLarge }
    }

    /// After `checkContent`.
    @inline(__always)
    mutating func sendMessage(
        _ id: AMQPMethodID, channel: UInt16, count: Int, properties: Span<UInt8>, body: Span<UInt8>, into output: inout ByteBuffer,
        _ fields: (inout ByteWriter) -> Void
    ) {
        AMQPEncoder.message(id, channel: channel, count: count, properties: properties, body: body, frameMax: frameMax, into: &output, fields)
        hasSentSinceLook = true
    }

    @inline(__always)
    mutating func sendAck(channel: UInt16, deliveryTag: UInt64, multiple: Bool, into output: inout ByteBuffer) throws(AMQPMisuse) {
        guard phase == .open else { throw .notOpen }
        guard let index = channels.index(of: channel), channels.entries[index].state == .open else { throw .channelNotOpen }
        AMQPEncoder.ack(channel: channel, deliveryTag: deliveryTag, multiple: multiple, into: &output)
        hasSentSinceLook = true
    }
}
