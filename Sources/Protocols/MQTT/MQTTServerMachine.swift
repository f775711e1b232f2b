public import MartletBytes

/// The server's side of one MQTT connection, v3.1.1 or v5, as the client's CONNECT says.
/// ```
/// awaitingConnect -- CONNECT --> connecting -- send(.connack, success) --> open
///        +---------- violation, refusal, DISCONNECT, end ----------> closed
/// ```
/// Invariant: at most 48 bytes and no allocation, because one exists for each idle connection. In `connecting` nothing is
/// consumed, so packets behind CONNECT wait for an authentication that takes its time [MQTT-3.1.4-5]; the driver stops reading then.
/// Not here: sessions, topic aliases' table, packet identifiers of deliveries, QoS 2 and AUTH (refused).
public struct MQTTServerMachine: ProtocolMachine, ~Copyable {
    public typealias Event = MQTTServerEvent
    public typealias Outgoing = MQTTServerOutgoing
    public typealias Violation = MQTTViolation
    public typealias Misuse = MQTTMisuse

    private enum Phase: UInt8 { case awaitingConnect, connecting, open, closed }

    /// Before CONNECT: v3.1.1.
    public private(set) var version = MQTTVersion.v3_1_1
    private var phase = Phase.awaitingConnect
    /// CONNECT gave no session expiry, so DISCONNECT must not either.
    private var sessionEndsWithConnection = false
    /// In force, seconds; 0: none.
    private var keepAlive: UInt16 = 0
    /// 0: none.
    private let keepAliveMax: UInt16
    private let topicLevelsMax: UInt16
    private var topicAliasMax: UInt16
    private var receiveMaximum: UInt16
    /// QoS 1 messages taken and not yet acknowledged.
    private var unacknowledged: UInt16 = 0
    private var packetSizeMax: UInt32
    private var peerPacketSizeMax: UInt32 = .max
    private var lastHeard: Instant
    private let connectDeadline: Instant

    public init(limits: MQTTLimits, now: Instant) {
        keepAliveMax = limits.keepAliveMax ?? 0
        topicLevelsMax = limits.topicLevelsMax
        topicAliasMax = limits.topicAliasMax
        receiveMaximum = max(1, limits.receiveMaximum)
        packetSizeMax = UInt32(clamping: limits.packetSizeMax)
        lastHeard = now
        connectDeadline = now + limits.connectTimeout
    }

    /// Nothing more is taken or sent.
    public var isClosed: Bool { phase == .closed }

    public mutating func heard(at now: Instant) { lastHeard = now }

    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTServerEvent? {
        guard phase == .open else { return phase == .awaitingConnect ? try connect(from: &input, into: &output) : nil }
        let bytes = input.bytes
        let offset = input.offset
        guard offset < bytes.count else { return nil }
        do throws(MQTTViolation) {
            let first = bytes[offset]
            let isPlainPublish = MQTTPacketType.isPlainPublish(first)
            if !isPlainPublish { try checkUnusual(first) }
            guard let frame = try MQTTFrame.find(in: bytes, at: offset, sizeMax: packetSizeMax) else { return nil }
            input.offset = frame.end
            if isPlainPublish { return .publish(try publish(frame, in: bytes)) }
            return try other(frame, in: bytes, into: &output)
        } catch {
            sayFarewell(error, into: &output)
            throw error
        }
    }

    @inline(__always)
    private mutating func publish(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTPublish {
        let publish = try MQTTPublish(
            frame, in: bytes, version: version,
            rules: MQTTPublishRules(place: .publishToServer, topicAliasMax: topicAliasMax), levelsMax: topicLevelsMax)
        if publish.qos > 0, version == .v5 {
            guard unacknowledged < receiveMaximum else { throw .receiveMaximumExceeded }
            unacknowledged += 1
        }
        return publish
    }

    /// CONNECT, PUBLISH, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT.
    private static var accepted: UInt16 { 0b0101_0101_0001_1010 }

    @inline(never)
    private func checkUnusual(_ first: UInt8) throws(MQTTViolation) {
        try MQTTPacketType.check(first, version: version, accepted: Self.accepted)
        if first >> 4 == MQTTPacketType.connect { throw .secondConnect }
    }

    @inline(never)
    private mutating func other(_ frame: MQTTFrame, in bytes: Span<UInt8>, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTServerEvent {
        switch frame.type {
        case MQTTPacketType.puback:
            let puback = try MQTTPuback(frame, in: bytes, version: version)
            return .puback(packetIdentifier: puback.packetIdentifier, reason: puback.reason)
        case MQTTPacketType.subscribe:
            let list = try MQTTFilterList(frame, in: bytes, version: version, levelsMax: topicLevelsMax)
            return .subscribe(packetIdentifier: list.packetIdentifier, subscriptionIdentifier: list.subscriptionIdentifier, filters: list.filters)
        case MQTTPacketType.unsubscribe:
            let list = try MQTTFilterList(frame, in: bytes, version: version, levelsMax: topicLevelsMax)
            return .unsubscribe(packetIdentifier: list.packetIdentifier, filters: list.filters)
        case MQTTPacketType.pingreq:
            guard frame.count == 0 else { throw .malformed(.trailingBytes) }
            output.append(0xD000 as UInt16)
            return .pingreq
        case MQTTPacketType.disconnect:
            let disconnect = try MQTTDisconnect(frame, in: bytes, version: version, place: .disconnectFromClient)
            if sessionEndsWithConnection, let expiry = disconnect.sessionExpiry, expiry > 0 { throw .protocolError(.sessionExpiry) }
            phase = .closed
            return .disconnect(reason: disconnect.reason, sessionExpiry: disconnect.sessionExpiry)
        default: throw .protocolError(.unexpectedPacket)
        }
    }

    @inline(never)
    private mutating func connect(from input: inout ByteReader, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTServerEvent? {
        let bytes = input.bytes
        guard input.offset < bytes.count else { return nil }
        do throws(MQTTViolation) {
            let first = bytes[input.offset]
            guard first >> 4 == MQTTPacketType.connect else { throw .firstPacketNotConnect }
            guard first & 15 == 0 else { throw .malformed(.fixedHeaderFlags) }
            guard let frame = try MQTTFrame.find(in: bytes, at: input.offset, sizeMax: packetSizeMax) else { return nil }
            input.offset = frame.end
            let level = try MQTTConnect.readLevel(frame, in: bytes)
            // An unknown level is answered in the nearest form; the high bit marks a bridge.
            version = level & 0x7F >= 5 ? .v5 : .v3_1_1
            phase = .connecting
            guard level == version.rawValue else { throw .unsupportedVersion(level) }
            let connect = try MQTTConnect(frame, in: bytes, version: version, levelsMax: topicLevelsMax)
            keepAlive = connect.keepAlive
            sessionEndsWithConnection = connect.sessionExpiry == 0
            peerPacketSizeMax = connect.packetSizeMax
            return .connect(connect)
        } catch {
            sayFarewell(error, into: &output)
            throw error
        }
    }

    /// Open: v5's DISCONNECT. At CONNECT: a CONNACK, if the version has a code for it ([MQTT-3.1.4-2]; 3.1.1 closes silently but
    /// for [MQTT-3.1.2-2] and [MQTT-3.1.3-9]). Nothing otherwise.
    @inline(never)
    private mutating func sayFarewell(_ violation: MQTTViolation, into output: inout ByteBuffer) {
        switch (phase, version) {
        case (.open, .v5): MQTTEncoder.disconnect(violation.reason, MQTTPropertyWriter(), into: &output)
        case (.connecting, .v5): MQTTConnack(reason: violation.reason).encode(.v5, peerSizeMax: .max, into: &output)
        case (.connecting, .v3_1_1):
            let code = violation.reason.returnCode
            if code == 1 || code == 2 { MQTTConnack(reason: violation.reason).encode(.v3_1_1, peerSizeMax: .max, into: &output) }
        default: break
        }
        phase = .closed
    }

    public mutating func send(_ message: MQTTServerOutgoing, into output: inout ByteBuffer) throws(MQTTMisuse) {
        switch message {
        case .connack(let connack): return try send(connack, into: &output)
        case .disconnect(let reason, let text): return try disconnect(reason, text, into: &output)
        default: break
        }
        guard phase == .open else { throw .notOpen }
        switch message {
        case .puback(let identifier, let reason):
            if unacknowledged > 0 { unacknowledged -= 1 }
            MQTTEncoder.puback(version, identifier, reason, into: &output)
        case .suback(let identifier, let reasons):
            guard !reasons.isEmpty else { throw .nothingListed }
            MQTTEncoder.acknowledge(MQTTPacketType.suback, version, identifier, reasons, into: &output)
        case .unsuback(let identifier, let reasons):
            guard !reasons.isEmpty else { throw .nothingListed }
            MQTTEncoder.acknowledge(MQTTPacketType.unsuback, version, identifier, reasons, into: &output)
        case .connack, .disconnect: break
        }
    }

    private mutating func send(_ connack: MQTTConnack, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard phase == .connecting else { throw phase == .open ? .alreadySent : .notOpen }
        var connack = connack
        if connack.reason == .success {
            if version == .v5 { completeTerms(of: &connack) }
            phase = .open
        } else {
            phase = .closed
        }
        connack.encode(version, peerSizeMax: peerPacketSizeMax, into: &output)
    }

    /// Announces what is enforced, and enforces what is announced.
    private mutating func completeTerms(of connack: inout MQTTConnack) {
        receiveMaximum = max(1, connack.receiveMaximum ?? receiveMaximum)
        connack.receiveMaximum = receiveMaximum == .max ? nil : receiveMaximum
        packetSizeMax = max(1, connack.packetSizeMax ?? packetSizeMax)
        connack.packetSizeMax = packetSizeMax
        topicAliasMax = connack.topicAliasMax ?? topicAliasMax
        connack.topicAliasMax = topicAliasMax == 0 ? nil : topicAliasMax
        connack.maximumQoS = 1
        if connack.serverKeepAlive == nil, keepAliveMax > 0, keepAlive == 0 || keepAlive > keepAliveMax { connack.serverKeepAlive = keepAliveMax }
        // [MQTT-3.2.2-21]
        if let ours = connack.serverKeepAlive { keepAlive = ours }
    }

    private mutating func disconnect(_ reason: MQTTReason, _ text: String, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard phase != .closed else { throw .notOpen }
        let wasOpen = phase == .open
        phase = .closed
        // [MQTT-3.14.0-1]: not before CONNACK.
        guard wasOpen, version == .v5 else { return }
        var properties = MQTTPropertyWriter()
        if !text.isEmpty { properties.add(.reasonString, text) }
        // [MQTT-3.14.2-3]
        if MQTTEncoder.packetSize(remaining: 1 + properties.sizeWithLength) > Int(peerPacketSizeMax) { properties = MQTTPropertyWriter() }
        MQTTEncoder.disconnect(reason, properties, into: &output)
    }

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(MQTTViolation) {
        guard phase != .closed, now >= deadline else { return }
        let violation: MQTTViolation = phase == .awaitingConnect ? .connectTimedOut : .keepAliveExpired
        sayFarewell(violation, into: &output)
        throw violation
    }

    /// MQTT gives the end of a stream no meaning of its own; whether it came without DISCONNECT is the session's to know.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(MQTTViolation) { phase = .closed }

    /// [MQTT-3.1.2-22]: one and a half times the keep-alive after the last byte. `connecting` has none: the wait is the server's own.
    public var deadline: Instant {
        switch phase {
        case .awaitingConnect: connectDeadline
        case .open where keepAlive > 0: Instant(nanoseconds: lastHeard.nanoseconds &+ Int64(keepAlive) &* 1_500_000_000)
        default: .never
        }
    }
}
