public import MartletBytes

/// One end of a WebSocket connection (RFC 6455), behind the handshake: a server's or a client's.
/// ```
///          close                        their Close
/// open ---------------> closing --------------------> closed
///   |                                                  ^
///   +-- their Close, violation --> (owing) -- farewell +
/// ```
/// How it is driven: after each read, `heard(at:)`, then `nextEvent` until nil; then write the output, and sleep until `deadline`, when `wake` is due.
/// Messages come whole, assembled, unmasked, inflated and checked; an event's ranges speak of `content` until the next event is asked for. Pings and
/// Closes are answered by the machine. `send(_:_:into:)` and the like may be called between two events. When `isClosed`, write the output and close:
/// the server's side first (RFC 6455 section 7.1.1).
///
/// A handler that answers later, in a task say, would see its answers come behind the Close that ends a violation or answers the peer's Close: the
/// output is ended by it. Such a driver sets `holdsFarewell`. Then the machine appends no Close of itself: `owesFarewell` is true from the violation or
/// the `.close` on, messages may still be sent, nothing is taken any more, and `sayFarewell(into:)` appends the Close when the handler has answered all
/// that came before, or `wake` does when that takes longer than `WebSocketLimits.closeTimeout`.
///
/// Invariant: an idle connection owns no memory but this value: `content` is released when all that was heard is dealt with.
/// Not here: the handshake (`WebSocketServerHandshake`, `WebSocketClientHandshake`), and what a message means.
public struct WebSocketMachine: ProtocolMachine, ~Copyable {
    public typealias Event = WebSocketEvent
    public typealias Outgoing = WebSocketOutgoing
    public typealias Violation = WebSocketViolation
    public typealias Misuse = WebSocketMisuse

    enum Phase: UInt8 { case open, closing, owing, closed }
    struct Flags: OptionSet {
        var rawValue: UInt16
        static var isClient: Flags { Flags(rawValue: 1) }
        /// A message has begun and not ended.
        static var isInMessage: Flags { Flags(rawValue: 2) }
        static var isText: Flags { Flags(rawValue: 4) }
        static var isDeflated: Flags { Flags(rawValue: 8) }
        /// The frame under way is its message's last.
        static var isFinal: Flags { Flags(rawValue: 16) }
        /// The frame under way has begun and not ended.
        static var isInFrame: Flags { Flags(rawValue: 32) }
        static var awaitsPong: Flags { Flags(rawValue: 64) }
        /// A Close left at a time that only the next `wake` tells: nothing may have been heard for long.
        static var asksTime: Flags { Flags(rawValue: 128) }
    }

    let bounds: WebSocketBounds
    var phase = Phase.open
    var flags = Flags()
    /// Of the farewell that is owed; 1005: without a code.
    var farewell = WebSocketCloseCode.noStatusReceived
    private var violation: WebSocketViolation?
    /// The Close that ends this side waits for `sayFarewell`.
    public var holdsFarewell = false

    /// Unmasked and inflated: the message under way, then the control frame that was told of last.
    var received = ByteBuffer()
    /// Bytes at the end of `received` that were told of and are done with.
    private var spent: UInt32 = 0
    /// Up to here `received` is UTF-8 that is whole.
    private var checked: UInt32 = 0
    private var fragments: UInt32 = 0
    /// Of the frame under way: its masking key, turned so that the next byte's comes first, and how many bytes are still to come.
    private var mask: UInt32 = 0
    private var remaining: UInt32 = 0

    var keys: WebSocketMaskingKeys
    var deflation: WebSocketDeflation?

    var now: Instant
    /// When anything last came.
    private var lastHeard: Instant
    /// When the last own ping left, or this side's Close.
    var since: Instant
    var ping: UInt32 = 0
    private var controlFrames: UInt32 = 0
    private var controlSince: Instant
    /// How long the answer to the last of this machine's own pings took; nil before the first.
    public private(set) var latency: Duration?

    /// A server's side. `deflation` if the handshake agreed on it.
    public init(server limits: WebSocketLimits, deflation: consuming WebSocketDeflation? = nil, now: Instant) {
        self.init(limits, [], (0, 0), deflation, now)
    }

    /// A client's side. `secret`: sixteen bytes from the system's generator, other ones for each connection; masking keys are made of it.
    public init(client limits: WebSocketLimits, secret: (UInt64, UInt64), deflation: consuming WebSocketDeflation? = nil, now: Instant) {
        self.init(limits, .isClient, secret, deflation, now)
    }

    private init(_ limits: WebSocketLimits, _ flags: Flags, _ secret: (UInt64, UInt64), _ deflation: consuming WebSocketDeflation?, _ now: Instant) {
        bounds = WebSocketBounds(limits)
        self.flags = flags
        keys = WebSocketMaskingKeys(secret)
        self.deflation = deflation
        self.now = now
        lastHeard = now
        since = now
        controlSince = now
    }

    /// What the last event's ranges speak of.
    public var content: Span<UInt8> {
        @_lifetime(borrow self) get { received.span }
    }
    /// Nothing more is taken or sent: close when the output has left.
    public var isClosed: Bool { phase == .closed }
    /// Messages may be sent.
    public var maySend: Bool { phase == .open || phase == .owing }
    /// The peer has closed or broken the protocol, and `sayFarewell` is awaited.
    public var owesFarewell: Bool { phase == .owing }
    /// Bytes of a message that is not whole, or has just been told of.
    public var contentCount: Int { received.count }

    /// Whether `content` owns memory, as it does from a message's first byte until all that was heard is dealt with.
    public var holdsMemory: Bool { received.ownsMemory }

    // MARK: Receiving

    public mutating func heard(at now: Instant) {
        self.now = now
        lastHeard = now
    }

    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(WebSocketViolation) -> WebSocketEvent? {
        if spent > 0 {
            received.retract(Int(spent))
            spent = 0
        }
        guard phase == .open || phase == .closing else {
            if received.ownsMemory { received.release() }
            return nil
        }
        let start = input.offset
        do throws(WebSocketViolation) {
            while true {
                if !flags.contains(.isInFrame) {
                    guard let header = try readHeader(input) else { break }
                    if header.isControl {
                        guard input.remaining >= header.count + header.length else { break }
                        input.offset += header.count
                        return try control(header, &input, into: &output)
                    }
                    try begin(header)
                    input.offset += header.count
                }
                let bytes = min(Int(remaining), input.remaining)
                if bytes > 0 { try take(bytes, &input) }
                if remaining > 0 { break }
                flags.remove(.isInFrame)
                if flags.contains(.isFinal) { return try finishMessage() }
            }
        } catch {
            received.release()
            spent = 0
            fail(error, into: &output)
            throw error
        }
        if input.offset > start { return .part }
        if received.ownsMemory, received.isEmpty { received.release() }
        return nil
    }

    private struct Header {
        var first: UInt8
        /// Bytes of the header.
        var count: Int
        /// Bytes of the payload.
        var length: Int
        var mask: UInt32
        @inline(__always) var isControl: Bool { first & WebSocketWire.control != 0 }
    }

    /// Nil: more bytes are needed.
    @inline(__always)
    private func readHeader(_ input: borrowing ByteReader) throws(WebSocketViolation) -> Header? {
        let bytes = input.bytes, at = input.offset
        guard at &+ 2 <= bytes.count else { return nil }
        let first = bytes[at], second = bytes[at &+ 1]
        if first & (WebSocketWire.reserved | WebSocketWire.compressed) != 0 || first & 7 > 2 { try checkUnusual(first) }
        let isMasked = second & WebSocketWire.mask != 0
        if isMasked == flags.contains(.isClient) { throw isMasked ? .maskUnexpected : .maskMissing }
        var length = Int(second & 0x7F), count = 2
        if length > WebSocketWire.controlMax {
            guard first & WebSocketWire.control == 0 else { throw .controlTooLong }
            guard let long = try readLength(bytes, at: at &+ 2, isLong: length == 127) else { return nil }
            count = length == 126 ? 4 : 10
            length = long
        }
        if first & WebSocketWire.control != 0, first & WebSocketWire.final == 0 { throw .controlFragmented }
        var mask: UInt32 = 0
        if isMasked {
            guard at &+ count &+ 4 <= bytes.count else { return nil }
            mask = bytes.uint32(at: at &+ count).byteSwapped
            count &+= 4
        }
        return Header(first: first, count: count, length: length, mask: mask)
    }

    @inline(never)
    private func readLength(_ bytes: Span<UInt8>, at: Int, isLong: Bool) throws(WebSocketViolation) -> Int? {
        guard at + (isLong ? 8 : 2) <= bytes.count else { return nil }
        let length = isLong ? bytes.uint64(at: at) : UInt64(bytes.uint16(at: at))
        guard length >> 63 == 0 else { throw .lengthInvalid }
        guard length >= (isLong ? 65536 : 126) else { throw .lengthNotMinimal }
        return Int(length)
    }

    @inline(never)
    private func checkUnusual(_ first: UInt8) throws(WebSocketViolation) {
        if first & WebSocketWire.reserved != 0 { throw .reservedBits }
        let opcode = first & WebSocketWire.opcode
        guard opcode <= WebSocketOpcode.binary || (WebSocketOpcode.close...WebSocketOpcode.pong).contains(opcode) else { throw .reservedOpcode }
        if first & WebSocketWire.compressed != 0 {
            if deflation == nil { throw .reservedBits }
            if opcode == WebSocketOpcode.continuation { throw .compressedContinuation }
            if opcode >= WebSocketOpcode.close { throw .compressedControl }
        }
    }

    /// A data frame begins.
    @inline(__always)
    private mutating func begin(_ header: Header) throws(WebSocketViolation) {
        let opcode = header.first & WebSocketWire.opcode
        var next = flags
        if opcode == WebSocketOpcode.continuation {
            guard flags.contains(.isInMessage) else { throw .continuationUnexpected }
            guard fragments < bounds.fragmentsMax else { throw .fragmentsTooMany }
            fragments &+= 1
        } else {
            guard !flags.contains(.isInMessage) else { throw .continuationMissing }
            next.subtract([.isText, .isDeflated, .isFinal])
            next.insert([.isInMessage])
            if opcode == WebSocketOpcode.text { next.insert(.isText) }
            if header.first & WebSocketWire.compressed != 0 { next.insert(.isDeflated) }
            checked = 0
            fragments = 1
        }
        if header.length > Int(bounds.messageMax) &- received.count { throw .messageTooLong }
        if header.length > Int(bounds.frameMax) { throw .frameTooLong }
        next.insert(.isInFrame)
        if header.first & WebSocketWire.final != 0 { next.insert(.isFinal) }
        flags = next
        mask = header.mask
        remaining = UInt32(truncatingIfNeeded: header.length)
    }

    /// The frame's next `count` bytes.
    @inline(__always)
    private mutating func take(_ count: Int, _ input: inout ByteReader) throws(WebSocketViolation) {
        let bytes = input.bytes.extracting(input.offset..<input.offset &+ count)
        if flags.contains(.isClient) { received.append(bytes) } else { received.append(bytes, mask: mask) }
        input.offset &+= count
        remaining &-= UInt32(truncatingIfNeeded: count)
        if remaining > 0 {
            let turn = UInt32(truncatingIfNeeded: count & 3) &* 8
            mask = mask &>> turn | mask &<< (32 &- turn & 31)
        }
        guard flags.contains(.isText), !flags.contains(.isDeflated) else { return }
        guard let whole = WebSocketText.check(received.span, from: Int(checked)) else { throw .text }
        checked = UInt32(truncatingIfNeeded: whole)
    }

    @inline(__always)
    private mutating func finishMessage() throws(WebSocketViolation) -> WebSocketEvent {
        flags.subtract([.isInMessage, .isFinal])
        if flags.contains(.isDeflated) { try inflate() }
        let count = received.count
        spent = UInt32(truncatingIfNeeded: count)
        let range = ByteRange(0, count)
        guard flags.contains(.isText) else { return .binary(range) }
        guard Int(checked) == count else { throw .text }
        return .text(range)
    }

    @inline(never)
    private mutating func inflate() throws(WebSocketViolation) {
        let limit = bounds.inflatedMax(received.count)
        try deflation?.inflate(&received, limit: limit)
        guard flags.contains(.isText) else { return }
        guard let whole = WebSocketText.check(received.span, from: 0) else { throw .text }
        checked = UInt32(truncatingIfNeeded: whole)
    }

    // MARK: Control frames

    /// A control frame that is all there; `input` stands at its payload.
    @inline(never)
    private mutating func control(_ header: Header, _ input: inout ByteReader, into output: inout ByteBuffer) throws(WebSocketViolation) -> WebSocketEvent {
        let range = ByteRange(received.count, header.length)
        received.append(input.bytes.extracting(input.offset..<input.offset + header.length), mask: header.mask)
        spent = range.count
        input.offset += header.length
        let opcode = header.first & WebSocketWire.opcode
        if opcode == WebSocketOpcode.close { return try takeClose(range, into: &output) }
        if now >= controlSince.advanced(bySeconds: 1) {
            controlSince = now
            controlFrames = 0
        }
        guard controlFrames < bounds.controlFramesPerSecondMax else { throw .controlFlood }
        controlFrames += 1
        if opcode == WebSocketOpcode.ping {
            if maySend {
                let key = nextKey()
                Self.append(WebSocketWire.final | WebSocketOpcode.pong, received.span.at(range), key, into: &output)
            }
            return .ping(range)
        }
        if flags.contains(.awaitsPong), range.count == 4, received.span.uint32(at: Int(range.start)) == ping {
            flags.remove(.awaitsPong)
            latency = now - since
        }
        return .pong(range)
    }

    private mutating func takeClose(_ range: ByteRange, into output: inout ByteBuffer) throws(WebSocketViolation) -> WebSocketEvent {
        let code = try Self.readClose(received.span.at(range))
        answerClose(code, into: &output)
        return .close(code, reason: range.isEmpty ? .empty : ByteRange(Int(range.start) + 2, Int(range.count) - 2))
    }

    private static func readClose(_ payload: Span<UInt8>) throws(WebSocketViolation) -> WebSocketCloseCode {
        guard payload.count > 0 else { return .noStatusReceived }
        guard payload.count > 1 else { throw .closePayload }
        let code = WebSocketCloseCode(rawValue: payload.uint16(at: 0))
        guard code.maySend else { throw .closeCode }
        guard WebSocketText.isWhole(payload.extracting(2...)) else { throw .closeReason }
        return code
    }

    private mutating func answerClose(_ code: WebSocketCloseCode, into output: inout ByteBuffer) {
        guard phase == .open else { return end() }
        owe(code)
        if !holdsFarewell { sayFarewell(into: &output) }
    }

    // MARK: The end

    /// After a violation nothing is taken; the Close that says it leaves now, unless it is held back, or one has left before.
    @inline(never)
    private mutating func fail(_ violation: WebSocketViolation, into output: inout ByteBuffer) {
        guard phase == .open else { return end() }
        self.violation = violation
        owe(violation.code)
        if !holdsFarewell || violation == .ended { sayFarewell(into: &output) }
    }

    private mutating func owe(_ code: WebSocketCloseCode) {
        farewell = code
        phase = .owing
        since = now
    }

    /// The Close that was held back; then the connection is closed. Does nothing if none is owed.
    public mutating func sayFarewell(into output: inout ByteBuffer) {
        guard phase == .owing else { return }
        if farewell != .abnormal {
            let reason = violation.map { Array($0.reason.utf8) } ?? []
            appendClose(farewell, reason.span, into: &output)
        }
        end()
    }

    /// Nothing more is taken or sent, and no memory is kept but what the last event speaks of.
    mutating func end() {
        phase = .closed
        deflation = nil
    }

    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(WebSocketViolation) {
        self.now = now
        guard phase == .open || phase == .closing else { return }
        fail(.ended, into: &output)
        throw .ended
    }

    // MARK: Time

    /// Look again after everything that was said or heard; behind a `close` it is at once, so that the machine learns the time.
    public var deadline: Instant {
        switch phase {
        case .closing where flags.contains(.asksTime): since
        case .closing, .owing: since.advanced(byMilliseconds: bounds.closeTimeout)
        case .open where flags.contains(.awaitsPong): max(since, lastHeard).advanced(byMilliseconds: bounds.pongTimeout)
        case .open where bounds.pingInterval > 0: since.advanced(byMilliseconds: bounds.pingInterval)
        default: .never
        }
    }

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(WebSocketViolation) {
        self.now = now
        guard now >= deadline else { return }
        if phase == .owing { return sayFarewell(into: &output) }
        if flags.remove(.asksTime) != nil {
            since = now
            return
        }
        guard phase == .open, !flags.contains(.awaitsPong) else {
            let violation: WebSocketViolation = phase == .open ? .silent : .closeTimedOut
            fail(violation, into: &output)
            throw violation
        }
        // A pong of an earlier ping is none of this one.
        ping &+= 1
        flags.insert(.awaitsPong)
        since = now
        var payload = ByteBuffer()
        payload.append(ping)
        let key = nextKey()
        Self.append(WebSocketWire.final | WebSocketOpcode.ping, payload.span, key, into: &output)
    }
}
