internal import MartletBytes

/// Frames after the handshake that are not simply one of a message.
extension ZMTPMachine {
    @inline(__always)
    func readFrame(_ bytes: Span<UInt8>, at offset: Int) throws(ZMTPViolation) -> ZMTPFrame? {
        if flags.contains(.isCarried) { return try ZMTPFrame.readCarried(bytes, at: offset) }
        return try ZMTPFrame.read(bytes, at: offset, known: version_ == .v2_0 ? 3 : 7)
    }

    mutating func nextFrame(from input: inout ByteReader, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent? {
        let bytes = input.bytes
        guard let frame = try readFrame(bytes, at: input.offset) else { return nil }
        if frame.isCommand, frame.hasMore { throw .commandWithMore }
        if flags.contains(.isCurve) { return try nextSealed(frame, from: &input, into: &output) }
        if frame.isCommand {
            guard frame.count <= commandBytesMax else { throw .commandTooLong }
            guard frame.isWhole(in: bytes.count) else { return nil }
            let said = try ZMTPSaid.read(bytes, at: frame.range)
            input.offset = frame.end
            return try take(said, into: &output)
        }
        try check(frame.count)
        let first = frame.count > 0 && frame.body < bytes.count ? bytes[frame.body] : nil
        if isSubscription(first, more: frame.hasMore) {
            guard frame.count <= configuration.limits.subscriptionBytesMax + 1 else { throw .subscriptionTooLong }
        }
        guard frame.isWhole(in: bytes.count) else { return nil }
        input.offset = frame.end
        return take(frame.range, first: first, more: frame.hasMore)
    }

    /// A MESSAGE command, whose box holds a frame (RFC 26). libzmq sends it without the flag of a command, and reads it no other way.
    private mutating func nextSealed(
        _ frame: ZMTPFrame, from input: inout ByteReader, into output: inout ByteBuffer
    ) throws(ZMTPViolation) -> ZMTPEvent? {
        let bytes = input.bytes
        if frame.hasMore { throw .commandWithMore }
        let clear = frame.count - ZMTPCurve.messageOverhead
        guard clear <= commandBytesMax else {
            try check(clear)
            guard frame.isWhole(in: bytes.count) else { return nil }
            return try takeSealed(frame, from: &input, into: &output)
        }
        guard frame.isWhole(in: bytes.count) else { return nil }
        return try takeSealed(frame, from: &input, into: &output)
    }

    private mutating func takeSealed(
        _ frame: ZMTPFrame, from input: inout ByteReader, into output: inout ByteBuffer
    ) throws(ZMTPViolation) -> ZMTPEvent {
        guard let curve else { throw .boxClosed }
        // A large message's memory is not kept for the small ones that follow.
        if opened.capacity > 1 << 16, frame.count < opened.capacity / 4 { opened.release() }
        try curve.openMessage(input.bytes.at(frame.range), &opened)
        let flag = opened.span[0], range = ByteRange(1, opened.count - 1)
        if flag & ~3 != 0 { throw .reservedFlags }
        if flag & ZMTPCurve.commandFlag != 0 {
            if flag & ZMTPWire.more != 0 { throw .commandWithMore }
            guard range.count <= commandBytesMax else { throw .commandTooLong }
            let said = try ZMTPSaid.read(opened.span, at: range)
            input.offset = frame.end
            return try take(said, into: &output)
        }
        let more = flag & ZMTPWire.more != 0, first = range.isEmpty ? nil : opened.span[1]
        try check(Int(range.count))
        if isSubscription(first, more: more), range.count > configuration.limits.subscriptionBytesMax + 1 { throw .subscriptionTooLong }
        input.offset = frame.end
        return take(range, first: first, more: more)
    }

    /// RFC 23: one byte, 1 or 0, and what is wanted or no longer. libzmq takes it from a 3.1 peer too.
    private func isSubscription(_ first: UInt8?, more: Bool) -> Bool {
        guard flags.contains(.takesSubscriptions), messageFrames == 0, !more, let first else { return false }
        return first <= 1
    }

    private var commandBytesMax: Int {
        let limits = configuration.limits
        return flags.contains(.takesSubscriptions) ? max(limits.commandBytesMax, limits.subscriptionBytesMax + 10) : limits.commandBytesMax
    }

    private mutating func take(_ range: ByteRange, first: UInt8?, more: Bool) -> ZMTPEvent {
        if isSubscription(first, more: more) {
            let topic = ByteRange(Int(range.start) + 1, Int(range.count) - 1)
            return first == 1 ? .subscribe(topic) : .cancel(topic)
        }
        noteFrame(Int(range.count), more: more)
        return .frame(range, more: more)
    }

    private mutating func take(_ said: ZMTPSaid, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent {
        switch said {
        case .ping(let tenths, let context):
            noteTimeToLive(tenths: tenths)
            sayCommand("PONG", count: context.count, into: &output) { context.append(to: &$0) }
            return .ping
        case .pong: return .pong
        case .subscribe(let topic), .cancel(let topic):
            guard flags.contains(.takesSubscriptions) else { throw .commandUnexpected }
            guard topic.count <= configuration.limits.subscriptionBytesMax else { throw .subscriptionTooLong }
            if case .subscribe = said { return .subscribe(topic) }
            return .cancel(topic)
        case .join(let group), .leave(let group):
            guard ours == .radio else { throw .commandUnexpected }
            guard group.count <= 255 else { throw .groupTooLong }
            if case .join = said { return .join(group) }
            return .leave(group)
        case .error(let reason):
            // Ranges of this connection already: a box held it.
            close()
            return .refused(reason: reason)
        case .unknown: return .discarded
        }
    }

    /// A command among the messages; `data` appends the `count` bytes behind its name.
    func sayCommand(_ name: StaticString, count: Int, into output: inout ByteBuffer, _ data: (inout ByteBuffer) -> Void) {
        if let curve {
            let clear = 2 + name.utf8CodeUnitCount + count
            curve.beginMessage(clear, into: &output)
            output.append(ZMTPCurve.commandFlag)
            ZMTPWire.appendName(name, into: &output)
            data(&output)
            curve.endMessage(clear, of: &output)
        } else {
            ZMTPWire.appendCommand(name, count: count, into: &output)
            data(&output)
        }
    }

    func sayPing(_ context: ZMTPContext, into output: inout ByteBuffer) {
        let tenths = configuration.heartbeat.timeToLive.map { UInt16(clamping: $0.nanosecondsClamped / 100_000_000) } ?? 0
        sayCommand("PING", count: 2 + context.count, into: &output) {
            $0.append(tenths)
            context.append(to: &$0)
        }
    }
}
