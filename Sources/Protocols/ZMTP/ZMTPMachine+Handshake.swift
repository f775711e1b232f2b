public import MartletBytes
internal import MartletWebSocketProtocol

/// What stands between the greeting and the messages: NULL (RFC 37), PLAIN (RFC 24) and CURVE's steps (RFC 26; its boxes are `ZMTPCurve`'s).
extension ZMTPMachine {
    mutating func nextHandshake(from input: inout ByteReader, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent? {
        if configuration.asksForNull, configuration.security == .null, !flags.contains(.isAccepted) {
            phase = .asking
            return .authenticate(.null)
        }
        let bytes = input.bytes
        guard let frame = try readFrame(bytes, at: input.offset) else { return nil }
        guard frame.isCommand else { throw .messageTooEarly }
        if frame.hasMore { throw .commandWithMore }
        guard frame.count <= configuration.limits.metadataBytesMax + ZMTPCurve.initiateLeast + 510 else { throw .commandTooLong }
        guard frame.isWhole(in: bytes.count) else { return nil }
        let isClient = phase == .welcome || phase == .ready
        if isClient, let error = ZMTPCommand.garbledError(bytes, at: frame.range) {
            input.offset = frame.end
            return .refused(reason: takeRefusal(try error.reason(in: bytes), in: bytes))
        }
        let command = try ZMTPCommand.read(bytes, at: frame.range)
        if isClient, command.isNamed("ERROR", in: bytes) {
            input.offset = frame.end
            return .refused(reason: takeRefusal(try command.reason(in: bytes), in: bytes))
        }
        let expected: StaticString =
            switch phase {
            case .hello: "HELLO"
            case .welcome: "WELCOME"
            case .initiate: "INITIATE"
            default: "READY"
            }
        guard command.isNamed(expected, in: bytes) else { throw .commandUnexpected }
        let event = flags.contains(.isCurve) ? try takeCurve(frame, in: bytes, into: &output) : try takeClear(command, in: bytes, into: &output)
        // The command that made us ask is read again when the answer is there, but for PLAIN's HELLO.
        if phase != .asking || expected.utf8CodeUnitCount == 5 && configuration.security == .plainServer { input.offset = frame.end }
        return event
    }

    /// The peer's ERROR. The reason is where ranges of this connection are.
    mutating func takeRefusal(_ reason: ByteRange, in bytes: Span<UInt8>) -> ByteRange {
        close()
        guard flags.contains(.isCurve) else { return reason }
        opened.removeAll()
        opened.append(bytes.at(reason))
        return ByteRange(0, Int(reason.count))
    }

    private mutating func takeClear(_ command: ZMTPCommand, in bytes: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent {
        switch phase {
        case .hello:
            let data = command.data
            guard data.count >= 2 else { throw .commandMalformed }
            let user = ByteRange(Int(data.start) + 1, Int(bytes[Int(data.start)]))
            guard user.end < data.end else { throw .commandMalformed }
            let password = ByteRange(user.end + 1, Int(bytes[user.end]))
            guard password.end == data.end else { throw .commandMalformed }
            phase = .asking
            return .authenticate(.plain(user: user, password: password))
        case .welcome:
            guard command.data.isEmpty else { throw .commandMalformed }
            if let ours { sayMetadata("INITIATE", ours, into: &output) }
            phase = .ready
            return .handshaking
        case .initiate:
            let metadata = try takeMetadata(command.data, in: bytes)
            sayMetadata("READY", ours ?? metadata.socketType.counterpart, into: &output)
            beginTraffic()
            return .ready(metadata)
        default:
            let metadata = try takeMetadata(command.data, in: bytes)
            if configuration.security == .null, !flags.contains(.hasSaidReady) { sayReady(ours ?? metadata.socketType.counterpart, into: &output) }
            beginTraffic()
            return .ready(metadata)
        }
    }

    /// The peer's metadata, which settles our type.
    private mutating func takeMetadata(_ range: ByteRange, in bytes: Span<UInt8>) throws(ZMTPViolation) -> ZMTPMetadata {
        guard range.count <= configuration.limits.metadataBytesMax else { throw .commandTooLong }
        let metadata = try ZMTPMetadata.read(bytes, at: range, fitting: ours)
        if ours == nil { ours = metadata.socketType.counterpart }
        return metadata
    }

    private mutating func takeCurve(_ frame: ZMTPFrame, in bytes: Span<UInt8>, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent {
        guard let curve else { throw .boxClosed }
        let command = bytes.at(frame.range)
        switch phase {
        case .hello:
            try curve.takeHello(command, &opened, into: &output)
            phase = .initiate
            return .handshaking
        case .welcome:
            try curve.takeWelcome(command, &opened)
            if let ours { curve.sayInitiate(configuration, ours, into: &output) }
            phase = .ready
            return .handshaking
        case .initiate:
            if !flags.contains(.isAccepted) {
                try curve.openInitiate(command, &opened)
                phase = .asking
                return .authenticate(.curve(publicKey: ByteRange(0, 32)))
            }
            let metadata = try takeOpenedMetadata(from: ZMTPCurve.metadataOffset)
            curve.sayReady(configuration, ours ?? metadata.socketType.counterpart, into: &output)
            beginTraffic()
            return .ready(metadata)
        default:
            try curve.openReady(command, &opened)
            let metadata = try takeOpenedMetadata(from: 0)
            beginTraffic()
            return .ready(metadata)
        }
    }

    private mutating func takeOpenedMetadata(from start: Int) throws(ZMTPViolation) -> ZMTPMetadata {
        let range = ByteRange(start, opened.count - start)
        guard range.count <= configuration.limits.metadataBytesMax else { throw .commandTooLong }
        let metadata = try ZMTPMetadata.read(opened.span, at: range, fitting: ours)
        if ours == nil { ours = metadata.socketType.counterpart }
        return metadata
    }

    mutating func sayReady(_ type: ZMTPSocketType, into output: inout ByteBuffer) {
        sayMetadata("READY", type, into: &output)
        flags.insert(.hasSaidReady)
    }

    private func sayMetadata(_ name: StaticString, _ type: ZMTPSocketType, into output: inout ByteBuffer) {
        ZMTPWire.appendCommand(name, count: ZMTPMetadata.count(configuration, type), into: &output)
        ZMTPMetadata.append(configuration, type, into: &output)
    }

    // MARK: The answer to authenticate

    /// The peer may go on. Ask for the next event then: what has come meanwhile waits.
    public mutating func accept(into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .asking else { throw .outOfTurn }
        flags.insert(.isAccepted)
        let start = output.count
        defer { carrier?.carry(&output, since: start) }
        switch configuration.security {
        case .plainServer:
            ZMTPWire.appendCommand("WELCOME", count: 0, into: &output)
            phase = .initiate
        case .curveServer: phase = .initiate
        default:
            phase = .ready
            if let ours { sayReady(ours, into: &output) }
        }
    }

    /// The peer is told why, and the machine is closed: write the output, then end the connection.
    public mutating func refuse(_ refusal: ZMTPRefusal, into output: inout ByteBuffer) throws(ZMTPMisuse) {
        guard phase == .asking else { throw .outOfTurn }
        let start = output.count
        if let reason = refusal.reason { sayError(reason.bytes, into: &output) }
        carrier?.carry(&output, since: start)
        carrier?.close(.policyViolation, "", into: &output)
        close()
    }
}
