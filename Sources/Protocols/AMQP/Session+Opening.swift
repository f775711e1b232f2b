internal import MartletBytes

/// Opening and closing: what connection methods change, and time.
extension AMQPSession {
    /// A method of class connection that the peer may send.
    mutating func take(_ method: AMQPMethod<ByteRange>) throws(AMQPFault) {
        switch (phase, method) {
        case (.awaitsStartOk, .connectionStartOk), (.awaitsSecureOk, .connectionSecureOk): phase = .owesTune
        case (.awaitsTuneOk, .connectionTuneOk(let tuneOk)):
            try agree(tuneOk)
            phase = .awaitsOpen
        case (.awaitsOpen, .connectionOpen): phase = .owesOpenOk
        case (.awaitsStart, .connectionStart): phase = .owesStartOk
        case (.awaitsTune, .connectionSecure): phase = .owesSecureOk
        case (.awaitsTune, .connectionTune(let tune)):
            offeredFrameMax = tune.frameMax
            offeredChannelMax = tune.channelMax
            phase = .owesTuneOk
        case (.awaitsOpenOk, .connectionOpenOk): open()
        case (.open, .connectionBlocked), (.open, .connectionUnblocked), (.open, .connectionUpdateSecret), (.open, .connectionUpdateSecretOk): break
        case (.closing, .connectionCloseOk): phase = .closed
        // When both close at once, each answers the other.
        case (_, .connectionClose): phase = .owesCloseOk
        default: throw .unexpectedMethod
        }
    }

    /// What a client made of this side's tune; 0 is more than any number (section 1.4.2.6 of the class reference). As RabbitMQ judges it.
    private mutating func agree(_ tuneOk: AMQPMethod<ByteRange>.ConnectionTuneOk) throws(AMQPFault) {
        guard tuneOk.frameMax == 0 || tuneOk.frameMax >= AMQPLimits.frameMaxLeast else { throw .frameMin }
        guard offeredFrameMax == 0 || tuneOk.frameMax != 0 && tuneOk.frameMax <= offeredFrameMax else { throw .frameMax }
        guard offeredChannelMax == 0 || tuneOk.channelMax != 0 && tuneOk.channelMax <= offeredChannelMax else { throw .channelMax }
        settle(channelMax: tuneOk.channelMax, frameMax: tuneOk.frameMax, heartbeat: tuneOk.heartbeat)
    }

    private mutating func settle(channelMax: UInt16, frameMax: UInt32, heartbeat: UInt16) {
        self.channelMax = channelMax == 0 ? .max : channelMax
        self.frameMax = frameMax == 0 ? .max : frameMax
        self.heartbeat = heartbeat
    }

    private mutating func open() {
        phase = .open
        if heartbeat > 0 { nextLook = lastHeard + halfHeartbeat }
    }

    /// Section 4.2.7: a heartbeat may be any traffic. Two looks an interval, so that no silence is longer than one.
    private var halfHeartbeat: Duration { .milliseconds(500 * Int(heartbeat)) }

    /// The phase behind a connection method of this side's own.
    func phase(afterSending method: AMQPMethod<[UInt8]>) throws(AMQPMisuse) -> AMQPPhase {
        switch (phase, method) {
        case (.owesStart, .connectionStart): return .awaitsStartOk
        case (.owesTune, .connectionSecure): return .awaitsSecureOk
        case (.owesTune, .connectionTune(let tune)):
            guard tune.frameMax == 0 || tune.frameMax >= AMQPLimits.frameMaxLeast else { throw .tuningInvalid }
            return .awaitsTuneOk
        case (.owesOpenOk, .connectionOpenOk): return .open
        case (.owesStartOk, .connectionStartOk), (.owesSecureOk, .connectionSecureOk): return .awaitsTune
        case (.owesTuneOk, .connectionTuneOk(let tuneOk)):
            guard offeredChannelMax == 0 || tuneOk.channelMax != 0 && tuneOk.channelMax <= offeredChannelMax,
                offeredFrameMax == 0 || tuneOk.frameMax != 0 && tuneOk.frameMax <= offeredFrameMax,
                tuneOk.frameMax == 0 || tuneOk.frameMax >= AMQPLimits.frameMaxLeast
            else { throw .tuningInvalid }
            return .owesOpen
        case (.owesOpen, .connectionOpen): return .awaitsOpenOk
        case (.open, .connectionBlocked), (.open, .connectionUnblocked), (.open, .connectionUpdateSecret), (.open, .connectionUpdateSecretOk): return .open
        case (.owesCloseOk, .connectionCloseOk): return .closed
        case (.closed, _), (.closing, _), (.owesCloseOk, _), (.awaitsProtocolHeader, _), (.owesProtocolHeader, _): throw .notOpen
        case (.owesStart, .connectionClose), (.awaitsStart, .connectionClose): throw .outOfOrder
        case (_, .connectionClose): return .closing
        default: throw .outOfOrder
        }
    }

    /// After `phase(afterSending:)` and the writing.
    mutating func enter(_ next: AMQPPhase, afterSending method: AMQPMethod<[UInt8]>) {
        let isOpening = next == .open && phase != .open
        phase = next
        switch method {
        case .connectionTune(let tune):
            offeredFrameMax = tune.frameMax
            offeredChannelMax = tune.channelMax
        case .connectionTuneOk(let tuneOk): settle(channelMax: tuneOk.channelMax, frameMax: tuneOk.frameMax, heartbeat: tuneOk.heartbeat)
        default: if isOpening { open() }
        }
    }

    mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(AMQPViolation) {
        guard phase != .closed, now >= deadline else { return }
        switch phase {
        case .open:
            guard now < silenceEnd else {
                phase = .closed
                throw .heartbeatMissed
            }
            nextLook = now + halfHeartbeat
            if !hasSentSinceLook { AMQPEncoder.heartbeat(into: &output) }
            hasSentSinceLook = false
        case .closing where closeDeadline.nanoseconds == .min: closeDeadline = now + limits.closeTimeout
        case .closing:
            phase = .closed
            throw .closeTimedOut
        default:
            phase = .closed
            throw .openTimedOut
        }
    }

    private var silenceEnd: Instant { lastHeard.advanced(bySeconds: 2 * Int(heartbeat)) }

    /// A server has none while the answer is its own to give.
    var deadline: Instant {
        switch phase {
        case .open: heartbeat == 0 ? .never : min(nextLook, silenceEnd)
        case .closing: closeDeadline
        case .closed, .owesCloseOk, .owesStart, .owesTune, .owesOpenOk: .never
        default: openDeadline
        }
    }

    /// connection.close, but not before connection.start or behind another one.
    mutating func sayFarewell(_ violation: AMQPViolation, into output: inout ByteBuffer) {
        if case .exception(let code, _, let text, let classID, let methodID) = violation, phase != .closing, phase != .awaitsStart {
            let close = AMQPMethod<[UInt8]>.ConnectionClose(
                replyCode: code.rawValue, replyText: Array(text.utf8), classID: classID, methodID: methodID)
            write(.connectionClose(close), channel: 0, into: &output)
        }
        phase = .closed
    }
}
