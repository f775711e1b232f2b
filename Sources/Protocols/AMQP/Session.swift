internal import MartletBytes

/// How far a connection is. `awaits…`: for the peer; `owes…`: this side must speak, and takes nothing before.
enum AMQPPhase: UInt8 {
    case awaitsProtocolHeader, owesStart, awaitsStartOk, owesTune, awaitsSecureOk, awaitsTuneOk, awaitsOpen, owesOpenOk
    case owesProtocolHeader, awaitsStart, owesStartOk, awaitsTune, owesSecureOk, owesTuneOk, owesOpen, awaitsOpenOk
    case open, closing, owesCloseOk, closed
}

/// One side of a connection, of either role: what both machines are made of.
/// ```
/// server: awaitsProtocolHeader -> owesStart -> awaitsStartOk -> owesTune -> awaitsTuneOk -> awaitsOpen -> owesOpenOk -> open
///                                                   awaitsSecureOk <-+
/// client: owesProtocolHeader -> awaitsStart -> owesStartOk -> awaitsTune -> owesTuneOk -> owesOpen -> awaitsOpenOk -> open
///                                                   owesSecureOk <-+
/// both:   send(close) -> closing -> close-ok -> closed      close, also while closing -> owesCloseOk -> send(close-ok) -> closed
///         violation -> closed
/// ```
/// Not here: what a method does, who may log in, delivery tags.
struct AMQPSession: ~Copyable {
    let isServer: Bool
    let limits: AMQPLimits
    var phase: AMQPPhase
    /// In force, in both directions.
    var frameMax = AMQPLimits.frameMaxBeforeTune
    var channelMax: UInt16 = 0
    /// Seconds; 0: none.
    var heartbeat: UInt16 = 0
    /// Of tune.
    var offeredFrameMax: UInt32 = 0
    var offeredChannelMax: UInt16 = 0
    var channels = AMQPChannels()
    /// Class and method of what is being read, for an exception.
    var cause: UInt32 = 0

    var lastHeard: Instant
    var openDeadline: Instant
    /// Since connection.close went; before the first `wake` the past, as `send` is not told the time.
    var closeDeadline = Instant(nanoseconds: .min)
    var nextLook = Instant.never
    var hasSentSinceLook = false

    init(isServer: Bool, limits: AMQPLimits, now: Instant) {
        self.isServer = isServer
        self.limits = limits
        phase = isServer ? .awaitsProtocolHeader : .owesProtocolHeader
        lastHeard = now
        openDeadline = now + limits.openTimeout
    }

    mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(AMQPViolation) -> AMQPEvent? {
        guard input.offset < input.bytes.count else { return nil }
        switch phase {
        case .open: break
        case .awaitsProtocolHeader: return try protocolHeader(from: &input, into: &output)
        case .awaitsStart where input.bytes[input.offset] == AMQPProtocolHeader.bytes[0]:
            phase = .closed
            throw .protocolHeader
        case .owesStart, .owesTune, .owesOpenOk, .owesProtocolHeader, .owesStartOk, .owesSecureOk, .owesTuneOk, .owesOpen, .owesCloseOk, .closed: return nil
        default: break
        }
        let start = input.offset
        do throws(AMQPFault) {
            return try nextFrame(from: &input, into: &output)
        } catch {
            let violation = AMQPViolation.exception(
                error.replyCode, error, text: replyText(error, at: start, in: input.bytes), classID: UInt16(cause >> 16),
                methodID: UInt16(truncatingIfNeeded: cause))
            sayFarewell(violation, into: &output)
            throw violation
        }
    }

    /// Judged as far as it is there, so that another protocol's client need not send eight bytes to be told.
    private mutating func protocolHeader(from input: inout ByteReader, into output: inout ByteBuffer) throws(AMQPViolation) -> AMQPEvent? {
        let expected = AMQPProtocolHeader.bytes
        let count = min(input.remaining, expected.count)
        for index in 0..<count where input.bytes[input.offset + index] != expected[index] {
            output.append(expected.span)
            phase = .closed
            throw .protocolHeader
        }
        guard count == expected.count else { return nil }
        input.offset += count
        phase = .owesStart
        return .protocolHeader
    }

    private mutating func nextFrame(from input: inout ByteReader, into output: inout ByteBuffer) throws(AMQPFault) -> AMQPEvent? {
        cause = 0
        let bytes = input.bytes
        guard let frame = try AMQPFrame.find(in: bytes, at: input.offset, frameMax: frameMax) else { return nil }
        switch frame.type {
        case AMQPFrame.method: return try method(frame, from: &input, into: &output)
        case AMQPFrame.heartbeat:
            guard frame.channel == 0 else { throw .heartbeatChannel }
            guard frame.count == 0 else { throw .heartbeatPayload }
            input.offset = frame.next
            return .heartbeat
        default:
            input.offset = frame.next
            if phase == .closing { return .discarded(channel: frame.channel) }
            guard frame.channel != 0 else { throw .contentChannel }
            guard phase == .open else { throw .frameBeforeOpen }
            let index = try openChannel(frame)
            if channels.entries[index].state == .closing { return .discarded(channel: frame.channel) }
            return frame.type == AMQPFrame.header
                ? try header(frame, in: bytes, at: index, into: &output) : try body(frame, at: index)
        }
    }

    private func openChannel(_ frame: AMQPFrame) throws(AMQPFault) -> Int {
        guard let index = channels.index(of: frame.channel), channels.entries[index].state != .owesCloseOk else { throw .channelNotOpen }
        return index
    }

    private mutating func method(_ frame: AMQPFrame, from input: inout ByteReader, into output: inout ByteBuffer) throws(AMQPFault) -> AMQPEvent? {
        guard frame.count >= 4 else { throw .frameTooShort }
        let bytes = input.bytes
        cause = bytes.uint32(at: frame.body)
        let id = AMQPMethodID(rawValue: cause)
        if phase == .closing, frame.channel != 0 || id != .connectionClose && id != .connectionCloseOk {
            input.offset = frame.next
            return .discarded(channel: frame.channel)
        }
        guard let id else { throw .unknownMethod }
        guard frame.channel == 0 || phase == .open else { throw .frameBeforeOpen }
        let isConnections = id.classID == AMQPMethodID.connectionOpen.classID
        guard isServer ? id.comesFromClient : id.comesFromServer, isConnections == (frame.channel == 0) else {
            throw frame.channel == 0 ? .unexpectedMethod : .unimplementedMethod
        }
        if frame.channel == 0 {
            let method = try decode(id, frame, in: bytes)
            try take(method)
            input.offset = frame.next
            return .method(channel: 0, method)
        }
        return try channelMethod(id, frame, from: &input, into: &output)
    }

    @inline(__always)
    private func decode(_ id: AMQPMethodID, _ frame: AMQPFrame, in bytes: Span<UInt8>) throws(AMQPFault) -> AMQPMethod<ByteRange> {
        var reader = frame.reader(in: bytes)
        reader.offset += 4
        let method = try AMQPMethod<ByteRange>(id, from: &reader, depthMax: limits.tableDepthMax)
        try reader.end()
        return method
    }

    private mutating func channelMethod(
        _ id: AMQPMethodID, _ frame: AMQPFrame, from input: inout ByteReader, into output: inout ByteBuffer
    ) throws(AMQPFault) -> AMQPEvent? {
        let bytes = input.bytes
        if id == .channelOpen {
            guard frame.channel <= channelMax else { throw .channelTooHigh }
            guard channels.index(of: frame.channel) == nil else { throw .channelIsOpen }
            let method = try decode(id, frame, in: bytes)
            channels.insert(frame.channel)
            input.offset = frame.next
            return .method(channel: frame.channel, method)
        }
        let index = try openChannel(frame)
        if channels.entries[index].state == .closing {
            input.offset = frame.next
            return try takeWhileClosing(id, frame, in: bytes, at: index, into: &output)
        }
        if channels.entries[index].content != .none {
            cause = channels.entries[index].method
            throw channels.entries[index].content == .header ? .noContentHeader : .noContentBody
        }
        let method = try decode(id, frame, in: bytes)
        switch id {
        case .channelOpenOk:
            guard channels.entries[index].state == .opening else { throw .unimplementedMethod }
            channels.entries[index].state = .open
        case .channelClose: channels.entries[index].state = .owesCloseOk
        case .channelCloseOk: throw .unimplementedMethod
        default:
            // A client may go on before open-ok; a server has nothing to say by then.
            guard isServer || channels.entries[index].state == .open else { throw .channelNotOpen }
            if id.hasContent { return content(of: method, id, frame, from: &input, at: index) }
        }
        input.offset = frame.next
        return .method(channel: frame.channel, method)
    }

    /// Section 1.5.2.5 of the class reference: after channel.close only close-ok counts; a close that crossed ours is answered.
    private mutating func takeWhileClosing(
        _ id: AMQPMethodID, _ frame: AMQPFrame, in bytes: Span<UInt8>, at index: Int, into output: inout ByteBuffer
    ) throws(AMQPFault) -> AMQPEvent? {
        switch id {
        case .channelCloseOk:
            let method = try decode(id, frame, in: bytes)
            channels.remove(at: index)
            return .method(channel: frame.channel, method)
        case .channelClose: write(.channelCloseOk, channel: frame.channel, into: &output)
        default: break
        }
        return .discarded(channel: frame.channel)
    }
}
