public import MartletBytes
public import MartletCurve
internal import MartletWebSocketProtocol

/// One end of a ZMTP 3.1 connection (RFC 37), which talks to 3.0 and 2.0 peers too; both ends are the same, but for the mechanism's server and client.
/// ```
///           NULL   ready --------------------------------+
/// greeting  PLAIN  hello  -> asking -> initiate ---------+--> traffic
///           CURVE  hello  -> initiate -> asking ---------+
///           client welcome -> ready ---------------------+
///           2.0    -------------------------------------+        everywhere: violation, refusal, end -> closed
/// ```
/// Each frame of a message is an event as soon as it is whole. In NULL and PLAIN nothing is copied; with CURVE a frame is opened into the machine's own
/// buffer, and all ranges speak of that (`content`).
/// Heartbeats: a PING each interval once the handshake is over, to peers of 3.1; whatever comes is a sign of life.
/// A PING is answered at once and never by more bytes than it had, so a flood of them is bounded by what the driver reads while its output is stuck.
///
/// Invariant: nothing of a message, and no command but the handshake's, is taken or said before both ends have proven what the mechanism asks.
/// Not here: patterns (which peer gets a message, what a subscription matches), reconnects, and messages of several frames in one piece.
public struct ZMTPMachine: ProtocolMachine, ~Copyable {
    public typealias Event = ZMTPEvent
    public typealias Outgoing = ZMTPOutgoing
    public typealias Violation = ZMTPViolation
    public typealias Misuse = ZMTPMisuse

    enum Phase: UInt8 { case new, greeting, hello, welcome, initiate, ready, asking, traffic, closed }
    struct Flags: OptionSet {
        var rawValue: UInt16
        /// The greeting is out, all of it.
        static var hasGreeted: Flags { Flags(rawValue: 1) }
        /// READY is out (NULL).
        static var hasSaidReady: Flags { Flags(rawValue: 2) }
        static var isAccepted: Flags { Flags(rawValue: 4) }
        static var isCurve: Flags { Flags(rawValue: 8) }
        /// PUB and XPUB: subscriptions come as commands or as messages.
        static var takesSubscriptions: Flags { Flags(rawValue: 16) }
        /// Some of a frame has come.
        static var isHungry: Flags { Flags(rawValue: 32) }
        /// We are between two frames of a message.
        static var isSending: Flags { Flags(rawValue: 64) }
        /// Over WebSocket.
        static var isCarried: Flags { Flags(rawValue: 128) }
        /// The peer said farewell between two messages.
        static var hasPeerEnded: Flags { Flags(rawValue: 256) }
        /// A short frame is not simply one of a message.
        static var needsLook: Flags { [.isCurve, .takesSubscriptions, .isCarried] }
        /// Ranges speak of the machine's own buffer.
        static var ownsContent: Flags { [.isCurve, .isCarried] }
    }

    let configuration: ZMTPConfiguration
    /// What a CURVE frame held, or what a clear one of such a connection said.
    var opened = ByteBuffer()
    var curve: ZMTPCurve?
    private(set) var carrier: ZMTPCarrier?
    var phase = Phase.new
    var flags: Flags
    var ours: ZMTPSocketType?
    var version_ = ZMTPVersion.v3_1
    /// Of the message that is coming: frames and their bytes before its last one.
    var messageFrames: Int32 = 0
    var messageBytes = 0
    private let messageFramesMax: Int32
    private let messageBytesMax: Int
    /// What the peer's last PING allowed us to hear nothing, in milliseconds; 0: any time.
    private var timeToLive: UInt32 = 0
    private(set) var heardAt: Instant
    /// The end of the handshake; after it when the next PING is due.
    private var due: Instant
    /// When a PING has gone unanswered for too long.
    private var silenceEnd = Instant.never

    /// `now`: the connection was made. `seed`: all randomness of CURVE.
    public init(_ configuration: ZMTPConfiguration, seed: CurveSeed = .random(), now: Instant) {
        self.configuration = configuration
        let limits = configuration.limits
        messageBytesMax = min(max(limits.messageBytesMax, 0), 1 << 30)
        messageFramesMax = Int32(clamping: max(limits.messageFramesMax, 1))
        ours = configuration.socketType
        heardAt = now
        due = now + limits.handshakeTimeout
        flags = configuration.security.isCurve ? .isCurve : []
        curve = ZMTPCurve(configuration.security, seed)
    }

    /// As `init(_:seed:now:)`, of a connection over WebSocket (RFC 45, ZWS 2.0), which begins with HTTP's upgrade. What is spoken then is that of 3.0, or
    /// of 2.0 with a peer that offers no mechanism; heartbeats are WebSocket's pings.
    public init(_ configuration: ZMTPConfiguration, over webSocket: ZMTPWebSocket, seed: CurveSeed = .random(), now: Instant) {
        self.init(configuration, seed: seed, now: now)
        carrier = ZMTPCarrier(webSocket, configuration, now: now)
        flags.insert(.isCarried)
    }

    /// Nothing more is taken or sent: close when the output has left.
    public var isClosed: Bool { phase == .closed }
    /// The handshake is over.
    public var isReady: Bool { phase == .traffic }
    /// The peer waits for `accept` or `refuse`.
    public var isAsking: Bool { phase == .asking }
    /// Over WebSocket: the peer took leave as it should, between two messages.
    public var hasPeerEnded: Bool { flags.contains(.hasPeerEnded) }
    /// Over WebSocket: what a violation does not say, such as how the server answered the handshake.
    public var detail: String? { carrier?.failure }
    /// Some frames of a message have come, and not its last.
    public var isInMessage: Bool { messageFrames != 0 }
    /// What is spoken, once the greeting is over.
    public var version: ZMTPVersion { version_ }
    /// Ours; `nil` while it depends on the peer's.
    public var socketType: ZMTPSocketType? { ours }

    /// What ranges of an event speak of: the input, or with CURVE and over WebSocket the machine's own buffer. Until the next event is asked for.
    @inline(__always)
    @_lifetime(borrow self, copy input)
    public func content(in input: Span<UInt8>) -> Span<UInt8> {
        if !flags.isDisjoint(with: .ownsContent) { return opened.span }
        return input
    }

    /// Something came, so the peer lives.
    @inline(__always)
    public mutating func heard(at now: Instant) {
        heardAt = now
        silenceEnd = .never
    }

    @inline(__always)
    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent? {
        // Most of all bytes: a short frame of a message, where none can be anything else.
        if phase == .traffic, flags.isDisjoint(with: .needsLook) {
            let bytes = input.bytes, at = input.offset, there = bytes.count &- at &- 2
            if there >= 0 {
                let flag = bytes[at], count = Int(bytes[at &+ 1])
                if flag <= ZMTPWire.more, count <= there, count <= messageBytesMax &- messageBytes, messageFrames < messageFramesMax {
                    input.offset = at &+ 2 &+ count
                    noteFrame(count, more: flag != 0)
                    return .frame(ByteRange(at &+ 2, count), more: flag != 0)
                }
            }
        }
        return try nextOther(from: &input, into: &output)
    }

    @inline(never)
    private mutating func nextOther(from input: inout ByteReader, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent? {
        do throws(ZMTPViolation) {
            if let carrier { return try nextCarried(carrier, from: &input, into: &output) }
            let event: ZMTPEvent? =
                switch phase {
                case .new, .greeting: try nextGreeting(from: &input, into: &output)
                case .hello, .welcome, .initiate, .ready: try nextHandshake(from: &input, into: &output)
                case .traffic: try nextFrame(from: &input, into: &output)
                case .asking, .closed: nil
                }
            if event == nil { if input.remaining > 0 { flags.insert(.isHungry) } else { flags.remove(.isHungry) } }
            return event
        } catch { try fail(error, into: &output) }
        return nil
    }

    // MARK: Frames

    /// Whether a frame of this size may come next: asked when its header is there, so that nothing too long is waited for.
    func check(_ count: Int) throws(ZMTPViolation) {
        if count > messageBytesMax - messageBytes { throw .messageTooLong }
        if messageFrames >= messageFramesMax { throw .framesTooMany }
    }

    @inline(__always)
    mutating func noteFrame(_ count: Int, more: Bool) {
        if more {
            messageBytes &+= count
            messageFrames &+= 1
        } else if messageFrames != 0 {
            messageBytes = 0
            messageFrames = 0
        }
    }

    /// The handshake is over.
    mutating func beginTraffic() {
        phase = .traffic
        if ours == .pub || ours == .xpub { flags.insert(.takesSubscriptions) }
        due = .never
        if version_ >= .v3_1, let interval = configuration.heartbeat.interval { due = heardAt + interval }
    }

    // MARK: Ends

    mutating func close() {
        phase = .closed
        curve = nil
    }

    private mutating func fail(_ violation: ZMTPViolation, into output: inout ByteBuffer) throws(ZMTPViolation) {
        let start = output.count
        if maySayError { sayError(violation.reason.span, into: &output) }
        carrier?.carry(&output, since: start)
        carrier?.close(violation == .messageTooLong ? .tooBig : .protocolError, violation.rawValue, into: &output)
        close()
        throw violation
    }

    /// ERROR has its place in the handshake, and is a server's word where there is one.
    var maySayError: Bool {
        switch phase {
        case .hello, .welcome, .initiate, .ready, .asking: configuration.security == .null ? version_ > .v2_0 : configuration.security.isServer
        case .new, .greeting, .traffic, .closed: false
        }
    }

    func sayError(_ reason: Span<UInt8>, into output: inout ByteBuffer) {
        ZMTPWire.appendCommand("ERROR", count: 1 + reason.count, into: &output)
        output.append(UInt8(reason.count))
        output.append(reason)
    }

    /// The peer will send no more. Between two messages that is how a connection ends.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(ZMTPViolation) {
        guard phase != .closed else { return }
        let isWhole = phase == .traffic && messageFrames == 0 && !flags.contains(.isHungry) && carrier?.isWhole != false
        close()
        if !isWhole { throw .ended }
    }

    // MARK: Time

    /// The peer's PING: how long it may hear nothing from us, in tenths of a second.
    mutating func noteTimeToLive(tenths: UInt16) { timeToLive = UInt32(tenths) * 100 }

    private var timeToLiveEnd: Instant {
        timeToLive == 0 ? .never : Instant(nanoseconds: heardAt.nanoseconds &+ Int64(timeToLive) &* 1_000_000)
    }

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(ZMTPViolation) {
        guard now >= deadline else { return }
        if let carrier, now >= carrier.deadline {
            carrier.webSocket.heard(at: heardAt)
            do throws(ZMTPViolation) { try carrier.wake(at: now, into: &output) } catch { return try fail(error, into: &output) }
            guard now >= ownDeadline else { return }
        }
        guard phase == .traffic else { return try fail(.handshakeTimedOut, into: &output) }
        if now >= silenceEnd { return try fail(.heartbeatMissed, into: &output) }
        if now >= timeToLiveEnd { return try fail(.timeToLiveOver, into: &output) }
        sayPing(ZMTPContext.none, into: &output)
        if silenceEnd == .never { silenceEnd = now + configuration.heartbeat.timeout }
        due = configuration.heartbeat.interval.map { now + $0 } ?? .never
    }

    /// This side did not read for a while, by its own will: the peer's silence is not held against it.
    public mutating func excuse(at now: Instant) { heard(at: now) }

    public var deadline: Instant {
        guard let carrier, phase != .closed else { return ownDeadline }
        return min(ownDeadline, carrier.deadline)
    }

    private var ownDeadline: Instant {
        switch phase {
        case .closed: .never
        case .traffic: min(due, min(silenceEnd, timeToLiveEnd))
        default: due
        }
    }
}
