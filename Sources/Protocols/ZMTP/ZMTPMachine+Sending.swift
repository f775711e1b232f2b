public import MartletBytes
internal import MartletWebSocketProtocol

/// What this side says once the handshake is over.
extension ZMTPMachine {
    /// The first eleven octets of the greeting: to be called when the connection is made.
    public mutating func greet(into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .new else { throw .outOfTurn }
        sayGreeting(into: &output)
    }

    /// The frames that were appended behind `start` leave as messages of WebSocket, if it is that which carries them.
    @inline(__always)
    private func carry(_ output: inout ByteBuffer, since start: Int) {
        if flags.contains(.isCarried) { carrier?.carry(&output, since: start) }
    }

    /// One frame of a message; `more`: others follow. A message that was begun must be ended, or its connection.
    @inline(__always)
    public mutating func send(_ body: Span<UInt8>, more: Bool = false, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .traffic else { throw .outOfTurn }
        if more { flags.insert(.isSending) } else { flags.remove(.isSending) }
        let start = output.count
        defer { carry(&output, since: start) }
        if let curve { curve.append(body, more: more, into: &output) } else { ZMTPEncoder.append(body, more: more, into: &output) }
    }

    /// Whole frames of messages as `ZMTPEncoder` writes them: one framing for many peers. With CURVE each frame is sealed.
    public mutating func pass(_ frames: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .traffic else { throw .outOfTurn }
        guard !flags.contains(.isSending) else { throw .insideMessage }
        let start = output.count
        defer { carry(&output, since: start) }
        guard let curve else { return output.append(frames) }
        var at = 0
        while let frame = try? ZMTPFrame.read(frames, at: at, known: 3), frame.isWhole(in: frames.count) {
            curve.append(frames.at(frame.range), more: frame.hasMore, into: &output)
            at = frame.end
        }
        assert(at == frames.count, "frames that are none")
    }

    /// SUB, XSUB: wants what begins with `topic`, once more.
    public mutating func subscribe(_ topic: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        try saySubscription(1, "SUBSCRIBE", topic, into: &output)
    }

    /// SUB, XSUB: takes one subscription back.
    public mutating func cancel(_ topic: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        try saySubscription(0, "CANCEL", topic, into: &output)
    }

    private func saySubscription(_ byte: UInt8, _ name: StaticString, _ topic: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .traffic else { throw .outOfTurn }
        guard ours == .sub || ours == .xsub else { throw .wrongSocketType }
        let start = output.count
        defer { carry(&output, since: start) }
        if version_ >= .v3_1 { return sayCommand(name, count: topic.count, into: &output) { $0.append(topic) } }
        guard !flags.contains(.isSending) else { throw .insideMessage }
        if let curve {
            curve.beginMessage(2 + topic.count, into: &output)
            output.append(0 as UInt8)
            output.append(byte)
            output.append(topic)
            curve.endMessage(2 + topic.count, of: &output)
        } else {
            ZMTPWire.appendHeader(0, count: 1 + topic.count, into: &output)
            output.append(byte)
            output.append(topic)
        }
    }

    /// DISH: wants the messages to `group`, of at most 255 bytes without a zero.
    public mutating func join(_ group: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) { try sayGroup("JOIN", group, into: &output) }

    public mutating func leave(_ group: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) { try sayGroup("LEAVE", group, into: &output) }

    private func sayGroup(_ name: StaticString, _ group: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .traffic else { throw .outOfTurn }
        guard ours == .dish else { throw .wrongSocketType }
        guard group.count <= 255, group.first(0, from: 0) == nil else { throw .groupInvalid }
        let start = output.count
        sayCommand(name, count: group.count, into: &output) { $0.append(group) }
        carry(&output, since: start)
    }

    /// A PING beside the machine's own. 2.0 has none: nothing is written.
    public mutating func ping(context: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .traffic else { throw .outOfTurn }
        if let carrier, context.count <= 16 {
            do throws(WebSocketMisuse) { return try carrier.webSocket.ping(context, into: &output) } catch { throw .outOfTurn }
        }
        guard let context = ZMTPContext(ByteRange(0, context.count), in: context) else { throw .contextTooLong }
        if version_ > .v2_0 { sayPing(context, into: &output) }
    }

    public mutating func send(_ message: ZMTPOutgoing, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        switch message {
        case .greeting: try greet(into: &output)
        case .accept: try accept(into: &output)
        case .refuse(let refusal): try refuse(refusal, into: &output)
        case .message(let frames):
            for (index, frame) in frames.enumerated() { try send(frame.span, more: index + 1 < frames.count, into: &output) }
        case .frame(let body, let more): try send(body.span, more: more, into: &output)
        case .subscribe(let topic): try subscribe(topic.span, into: &output)
        case .cancel(let topic): try cancel(topic.span, into: &output)
        case .join(let group): try join(group.span, into: &output)
        case .leave(let group): try leave(group.span, into: &output)
        case .ping(let context): try ping(context: context.span, into: &output)
        }
    }
}
