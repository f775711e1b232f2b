public import MartletBytes
internal import MartletWebSocketProtocol

/// Over WebSocket (RFC 45): its messages come in, and the same frames, commands and subscriptions come out of them as out of ZMTP 3.0.
extension ZMTPMachine {
    mutating func nextCarried(
        _ carrier: ZMTPCarrier, from input: inout ByteReader, into output: inout ByteBuffer
    ) throws(ZMTPViolation) -> ZMTPEvent? {
        switch phase {
        case .closed: return nil
        case .new: sayGreeting(into: &output)
        default: break
        }
        if phase == .greeting {
            guard let subprotocol = try carrier.open(from: &input, into: &output) else { return nil }
            let start = output.count
            begin(isBare: subprotocol == ZMTPCarrier.bare, into: &output)
            carrier.carry(&output, since: start)
            return .greeting(version_)
        }
        carrier.webSocket.heard(at: heardAt)
        if phase == .ready, version_ > .v2_0, configuration.asksForNull, configuration.security == .null, !flags.contains(.isAccepted) {
            phase = .asking
            return .authenticate(.null)
        }
        while !carrier.holdsFrame {
            switch try carrier.next(from: &input, into: &output) {
            case nil:
                if phase == .traffic, opened.ownsMemory { opened.release() }
                return nil
            case .binary(let range):
                if range.isEmpty { throw .flagMissing }
                carrier.holdsFrame = true
            case .text: throw .flagMissing
            case .part: return .part
            case .ping: return .ping
            case .pong: return .pong
            case .close:
                let isWhole = phase == .traffic && messageFrames == 0
                close()
                if !isWhole { throw .ended }
                flags.insert(.hasPeerEnded)
                return .part
            }
        }
        let start = output.count
        defer { carrier.carry(&output, since: start) }
        return try takeHeld(carrier, into: &output)
    }

    private mutating func begin(isBare: Bool, into output: inout ByteBuffer) {
        version_ = isBare ? .v2_0 : .v3_0
        guard isBare else { return beginHandshake(into: &output) }
        phase = .ready
        let identity = ours?.hasIdentity == true ? configuration.identity : []
        ZMTPEncoder.append(identity.span, more: false, into: &output)
    }

    private mutating func takeHeld(_ carrier: ZMTPCarrier, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent? {
        let (event, isDone) = try Self.take(carrier.webSocket, &self, into: &output)
        if isDone { carrier.holdsFrame = false }
        return event
    }

    /// What the message is, and whether that is all of it.
    private static func take(
        _ webSocket: borrowing WebSocketMachine, _ machine: inout ZMTPMachine, into output: inout ByteBuffer
    ) throws(ZMTPViolation) -> (ZMTPEvent?, Bool) {
        let content = webSocket.content
        var input = ByteReader(content)
        let event: ZMTPEvent? =
            switch machine.phase {
            case .traffic: try machine.nextFrame(from: &input, into: &output)
            case .asking, .closed: nil
            case .ready where machine.version_ == .v2_0: try machine.nextBareIdentity(from: &input)
            default: try machine.nextHandshake(from: &input, into: &output)
            }
        if event != nil, !machine.flags.contains(.isCurve) {
            // Its ranges have to last until the next one is asked for, whatever is sent meanwhile.
            if machine.opened.capacity > 1 << 16, content.count < machine.opened.capacity / 4 { machine.opened.release() }
            machine.opened.removeAll()
            machine.opened.append(content)
        }
        return (event, input.remaining == 0)
    }

    /// RFC 45, No Mechanism: the first message says who the peer is. Of its type nothing is said.
    private mutating func nextBareIdentity(from input: inout ByteReader) throws(ZMTPViolation) -> ZMTPEvent? {
        guard let ours, let frame = try readFrame(input.bytes, at: input.offset) else { return nil }
        guard !frame.isCommand, !frame.hasMore, frame.count <= 255 else { throw .oldIdentity }
        let type = ours.counterpart
        if type.hasIdentity, frame.count > 0, input.bytes[frame.body] == 0 { throw .identityInvalid }
        input.offset = frame.end
        beginTraffic()
        return .ready(ZMTPMetadata(socketType: type, identity: type.hasIdentity ? frame.range : .empty))
    }

    /// Takes leave of the peer before this side ends the stream: WebSocket's Close, where that carries the connection. Nothing is taken or sent after it.
    public mutating func sayFarewell(into output: inout ByteBuffer) {
        carrier?.close(.normal, "", into: &output)
        close()
    }
}
