public import MartletBytes

/// The server's side of one MQTT connection, of any version, as the client's CONNECT says.
/// ```
/// awaitingConnect -- CONNECT --> connecting -- send(.connack, success) --> open
///        |                    AUTH <--+--> AUTH
///        +---------- violation, refusal, DISCONNECT, end ----------> closed
/// ```
/// Invariant: at most 48 bytes and no allocation, because one exists for each idle connection. In `connecting` nothing is
/// consumed, so packets behind CONNECT wait for an authentication that takes its time [MQTT-3.1.4-6]; the driver stops reading then.
/// Not here: sessions, topic aliases' table, packet identifiers (of deliveries, and of QoS 2 until PUBREL), what AUTH says.
public struct MQTTServerMachine: ProtocolMachine, ~Copyable {
    public typealias Event = MQTTServerEvent
    public typealias Outgoing = MQTTServerOutgoing
    public typealias Violation = MQTTViolation
    public typealias Misuse = MQTTMisuse

    private struct Flags: OptionSet {
        var rawValue: UInt8
        /// CONNECT gave no session expiry, so DISCONNECT must not either.
        static var sessionEndsWithConnection: Flags { Flags(rawValue: 1) }
        static var isStrict: Flags { Flags(rawValue: 2) }
        /// Section 3.1.2.11.7: texts stand in CONNACK and DISCONNECT alone.
        static var hasFewTexts: Flags { Flags(rawValue: 4) }
    }
    private enum Phase: UInt8 { case awaitingConnect, connecting, open, closed }

    /// Before CONNECT: v3.1.1.
    public private(set) var version = MQTTVersion.v3_1_1
    private var phase = Phase.awaitingConnect
    private var flags = Flags()
    private var maximumQoS: UInt8 = 2
    /// Since CONNECT.
    private var authTurn = MQTTAuthTurn.nobody
    /// What a machine that is not strict let pass; stops at 255.
    public private(set) var tolerated: UInt8 = 0
    /// In force, seconds; 0: none.
    private var keepAlive: UInt16 = 0
    /// 0: none.
    private let keepAliveMax: UInt16
    private let topicLevelsMax: UInt16
    private var topicAliasMax: UInt16
    private var receiveMaximum: UInt16
    /// QoS 1 and 2 messages taken and not yet acknowledged: PUBACK, PUBCOMP, or a PUBREC that refuses (section 4.9).
    private var unacknowledged: UInt16 = 0
    private var packetSizeMax: UInt32
    private var peerPacketSizeMax: UInt32 = .max
    /// A fingerprint of CONNECT's authentication method; 0: none. Two methods with the same one are the gateway's to tell apart.
    private var authMethod: UInt32 = 0
    private var lastHeard: Instant
    private let connectDeadline: Instant

    public init(limits: MQTTLimits, now: Instant) {
        keepAliveMax = limits.keepAliveMax ?? 0
        topicLevelsMax = limits.topicLevelsMax
        topicAliasMax = limits.topicAliasMax
        receiveMaximum = max(1, limits.receiveMaximum)
        packetSizeMax = UInt32(clamping: limits.packetSizeMax)
        if limits.isStrict { flags.insert(.isStrict) }
        lastHeard = now
        connectDeadline = now + limits.connectTimeout
    }

    /// Nothing more is taken or sent.
    public var isClosed: Bool { phase == .closed }

    public mutating func heard(at now: Instant) { lastHeard = now }

    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTServerEvent? {
        guard phase == .open else { return try beforeOpen(from: &input, into: &output) }
        let bytes = input.bytes
        let offset = input.offset
        guard offset < bytes.count else { return nil }
        do throws(MQTTViolation) {
            let first = bytes[offset]
            let isPlainPublish = MQTTPacketType.isPlainPublish(first)
            let isSloppy = isPlainPublish ? false : try checkUnusual(first)
            guard let frame = try MQTTFrame.find(in: bytes, at: offset, sizeMax: packetSizeMax) else { return nil }
            input.offset = frame.end
            if isPlainPublish { return .publish(try publish(frame, in: bytes)) }
            if isSloppy { countTolerated() }
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
            guard publish.qos <= maximumQoS else { throw .qosNotSupported }
            if unacknowledged >= receiveMaximum { try tolerate(.receiveMaximumExceeded) }
            unacknowledged = unacknowledged == .max ? .max : unacknowledged + 1
        }
        return publish
    }

    /// CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT, AUTH.
    private static var accepted: UInt16 { 0b1101_0101_1111_1010 }

    /// Answers whether it is one that only a machine that is not strict takes. Counted later: a cut packet begins more than once.
    @inline(never)
    private func checkUnusual(_ first: UInt8) throws(MQTTViolation) -> Bool {
        do throws(MQTTViolation) {
            try MQTTPacketType.check(first, version: version, accepted: Self.accepted)
        } catch {
            let isBearable = error == .malformed(.duplicateQoSZero) || error == .malformed(.fixedHeaderFlags) && MQTTPacketType.reserves0010(first >> 4)
            guard isBearable, !flags.contains(.isStrict) else { throw error }
            return true
        }
        if first >> 4 == MQTTPacketType.connect { throw .secondConnect }
        return false
    }

    /// What a machine that is not strict lets pass.
    @inline(never)
    private mutating func tolerate(_ violation: MQTTViolation) throws(MQTTViolation) {
        guard !flags.contains(.isStrict) else { throw violation }
        countTolerated()
    }

    private mutating func countTolerated() { tolerated = tolerated == .max ? .max : tolerated + 1 }

    /// The frame without what stands behind its last field, before v5 at `count`.
    private mutating func cut(_ frame: MQTTFrame, at count: Int) throws(MQTTViolation) -> MQTTFrame {
        guard frame.count > count, version != .v5 else { return frame }
        try tolerate(.malformed(.trailingBytes))
        return MQTTFrame(first: frame.first, body: frame.body, end: frame.body + count)
    }

    @inline(never)
    private mutating func other(_ frame: MQTTFrame, in bytes: Span<UInt8>, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTServerEvent {
        switch frame.type {
        case MQTTPacketType.puback:
            let answer = try MQTTAcknowledgement(try cut(frame, at: 2), in: bytes, version: version)
            return .puback(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        case MQTTPacketType.pubrec...MQTTPacketType.pubcomp: return try handshake(frame, in: bytes)
        case MQTTPacketType.subscribe:
            let list = try MQTTFilterList(frame, in: bytes, version: version, levelsMax: topicLevelsMax)
            return .subscribe(packetIdentifier: list.packetIdentifier, subscriptionIdentifier: list.subscriptionIdentifier, filters: list.filters)
        case MQTTPacketType.unsubscribe:
            let list = try MQTTFilterList(frame, in: bytes, version: version, levelsMax: topicLevelsMax)
            return .unsubscribe(packetIdentifier: list.packetIdentifier, filters: list.filters)
        case MQTTPacketType.pingreq:
            guard try cut(frame, at: 0).count == 0 else { throw .malformed(.trailingBytes) }
            output.append(0xD000 as UInt16)
            return .pingreq
        case MQTTPacketType.disconnect: return try disconnect(try cut(frame, at: 0), in: bytes)
        case MQTTPacketType.auth: return .auth(try auth(frame, in: bytes))
        // A tolerated one.
        case MQTTPacketType.publish: return .publish(try publish(frame, in: bytes))
        default: throw .protocolError(.unexpectedPacket)
        }
    }

    /// The three packets that follow a PUBLISH of QoS 2.
    private mutating func handshake(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTServerEvent {
        let answer = try MQTTAcknowledgement(try cut(frame, at: 2), in: bytes, version: version)
        switch frame.type {
        case MQTTPacketType.pubrec: return .pubrec(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        case MQTTPacketType.pubrel: return .pubrel(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        default: return .pubcomp(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        }
    }

    private mutating func disconnect(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTServerEvent {
        let disconnect = try MQTTDisconnect(frame, in: bytes, version: version, place: .disconnectFromClient)
        if flags.contains(.sessionEndsWithConnection), let expiry = disconnect.sessionExpiry, expiry > 0 { throw .protocolError(.sessionExpiry) }
        phase = .closed
        return .disconnect(reason: disconnect.reason, sessionExpiry: disconnect.sessionExpiry)
    }

    /// Section 4.12: a client answers while it connects, and may begin again, by the same method, once the connection is open.
    private mutating func auth(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTAuth {
        let auth = try MQTTAuth(frame, in: bytes)
        guard authMethod != 0, MQTTText.fingerprint(bytes.at(auth.method)) == authMethod else { throw .protocolError(.authenticationMethod) }
        switch (auth.reason, authTurn) {
        case (.continueAuthentication, .client): break
        case (.reAuthenticate, .nobody): break
        case (.success, _): throw .protocolError(.reasonCode)
        default: throw .protocolError(.unexpectedPacket)
        }
        authTurn = .server
        return auth
    }

    @inline(never)
    private mutating func beforeOpen(from input: inout ByteReader, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTServerEvent? {
        switch phase {
        case .awaitingConnect: try connect(from: &input, into: &output)
        case .connecting where authTurn == .client: try authenticate(from: &input, into: &output)
        default: nil
        }
    }

    /// [MQTT-3.1.2-30]: a client that authenticates sends AUTH or DISCONNECT until CONNACK came.
    private mutating func authenticate(from input: inout ByteReader, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTServerEvent? {
        let bytes = input.bytes
        guard input.offset < bytes.count else { return nil }
        do throws(MQTTViolation) {
            try MQTTPacketType.check(bytes[input.offset], version: version, accepted: 0b1100_0000_0000_0000)
            if bytes[input.offset] >> 4 == MQTTPacketType.publish { throw .protocolError(.unexpectedPacket) }
            guard let frame = try MQTTFrame.find(in: bytes, at: input.offset, sizeMax: packetSizeMax) else { return nil }
            input.offset = frame.end
            return frame.type == MQTTPacketType.auth ? .auth(try auth(frame, in: bytes)) : try disconnect(frame, in: bytes)
        } catch {
            sayFarewell(error, into: &output)
            throw error
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
            let (level, known) = try MQTTConnect.readLevel(frame, in: bytes)
            // An unknown level is answered in the nearest form.
            version = known ?? (level & 0x7F >= 5 ? .v5 : .v3_1_1)
            phase = .connecting
            guard known != nil else { throw .unsupportedVersion(level) }
            let connect = try MQTTConnect(frame, in: bytes, version: version, levelsMax: topicLevelsMax)
            keepAlive = connect.keepAlive
            if connect.sessionExpiry == 0 { flags.insert(.sessionEndsWithConnection) }
            if !connect.requestsProblemText { flags.insert(.hasFewTexts) }
            if let method = connect.authenticationMethod {
                authMethod = MQTTText.fingerprint(bytes.at(method))
                authTurn = .server
            }
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
        switch phase {
        case .open where version == .v5: MQTTEncoder.disconnect(violation.reason, MQTTPropertyWriter(), into: &output)
        case .connecting:
            let code = violation.reason.returnCode
            guard version == .v5 || code == 1 || code == 2 else { break }
            let reason: MQTTReason = violation.reason.fitsConnack ? violation.reason : .unspecifiedError
            MQTTConnack(reason: reason).encode(version, peerSizeMax: .max, into: &output)
        default: break
        }
        phase = .closed
    }

    public mutating func send(_ message: MQTTServerOutgoing, into output: inout ByteBuffer) throws(MQTTMisuse) {
        switch message {
        case .connack(let connack): return try send(connack, into: &output)
        case .auth(let auth): return try send(auth, into: &output)
        case .disconnect(let reason, let text, let server): return try disconnect(reason, text, server, into: &output)
        default: break
        }
        guard phase == .open else { throw .notOpen }
        switch message {
        case .puback(let identifier, let reason):
            free()
            MQTTEncoder.acknowledge(MQTTPacketType.puback, version, identifier, reason, into: &output)
        case .pubrec(let identifier, let reason):
            if reason.isFailure { free() }
            MQTTEncoder.acknowledge(MQTTPacketType.pubrec, version, identifier, reason, into: &output)
        case .pubrel(let identifier, let reason): MQTTEncoder.acknowledge(MQTTPacketType.pubrel, version, identifier, reason, into: &output)
        case .pubcomp(let identifier, let reason):
            free()
            MQTTEncoder.acknowledge(MQTTPacketType.pubcomp, version, identifier, reason, into: &output)
        case .suback(let identifier, let reasons):
            guard !reasons.isEmpty else { throw .nothingListed }
            MQTTEncoder.acknowledge(MQTTPacketType.suback, version, identifier, reasons, into: &output)
        case .unsuback(let identifier, let reasons):
            guard !reasons.isEmpty else { throw .nothingListed }
            MQTTEncoder.acknowledge(MQTTPacketType.unsuback, version, identifier, reasons, into: &output)
        case .connack, .auth, .disconnect: break
        }
    }

    /// One more of the receive maximum, never above it: a PUBCOMP may end what another connection began.
    @inline(__always)
    private mutating func free() { if unacknowledged > 0 { unacknowledged -= 1 } }

    private mutating func send(_ auth: MQTTAuth.Owned, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard phase == .connecting || phase == .open else { throw .notOpen }
        let continues = auth.reason == .continueAuthentication
        guard authMethod != 0, authTurn == .server, MQTTText.fingerprint(auth.method.span) == authMethod,
            continues || auth.reason == .success && phase == .open
        else { throw .authenticationInvalid }
        try auth.encode(peerSizeMax: peerPacketSizeMax, withTexts: !flags.contains(.hasFewTexts), into: &output)
        authTurn = continues ? .client : .nobody
    }

    private mutating func send(_ connack: MQTTConnack, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard phase == .connecting else { throw phase == .open ? .alreadySent : .notOpen }
        var connack = connack
        if connack.reason == .success {
            let method = connack.authenticationMethod.map { MQTTText.fingerprint($0.span) } ?? 0
            guard method == authMethod, authTurn != .client else { throw .authenticationInvalid }
            authTurn = .nobody
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
        maximumQoS = min(connack.maximumQoS ?? 2, 2)
        if connack.serverKeepAlive == nil, keepAliveMax > 0, keepAlive == 0 || keepAlive > keepAliveMax { connack.serverKeepAlive = keepAliveMax }
        // [MQTT-3.2.2-21]
        if let ours = connack.serverKeepAlive { keepAlive = ours }
    }

    private mutating func disconnect(_ reason: MQTTReason, _ text: String, _ server: String, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard phase != .closed else { throw .notOpen }
        let wasOpen = phase == .open
        phase = .closed
        // [MQTT-3.14.0-1]: not before CONNACK.
        guard wasOpen, version == .v5 else { return }
        var properties = Self.properties(text, server)
        // [MQTT-3.14.2-3]
        if MQTTEncoder.packetSize(remaining: 1 + properties.sizeWithLength) > Int(peerPacketSizeMax) { properties = Self.properties("", server) }
        MQTTEncoder.disconnect(reason, properties, into: &output)
    }

    private static func properties(_ text: String, _ server: String) -> MQTTPropertyWriter {
        var properties = MQTTPropertyWriter()
        if !server.isEmpty { properties.add(.serverReference, server) }
        if !text.isEmpty { properties.add(.reasonString, text) }
        return properties
    }

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(MQTTViolation) {
        guard phase != .closed, now >= deadline else { return }
        let violation: MQTTViolation = phase == .open ? .keepAliveExpired : .connectTimedOut
        sayFarewell(violation, into: &output)
        throw violation
    }

    /// MQTT gives the end of a stream no meaning of its own; whether it came without DISCONNECT is the session's to know.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(MQTTViolation) { phase = .closed }

    /// [MQTT-3.1.2-22]: one and a half times the keep-alive after the last byte. `connecting` has none while the wait is the server's own.
    public var deadline: Instant {
        switch phase {
        case .awaitingConnect: connectDeadline
        case .connecting where authTurn == .client: connectDeadline
        case .open where keepAlive > 0: Instant(nanoseconds: lastHeard.nanoseconds &+ Int64(keepAlive) &* 1_500_000_000)
        default: .never
        }
    }
}
