public import MartletBytes

/// The client's side of one MQTT connection, of any version, as its CONNECT says.
/// ```
/// idle -- send(.connect) --> connecting -- CONNACK, success --> open
///   +------- violation, refusal, DISCONNECT, end, time out -----> closed
/// ```
/// Keep-alive: `send` is not told the time, so `wake` looks twice in a keep-alive whether something was sent meanwhile, and
/// sends PINGREQ if not. So the silence is never longer than one keep-alive [MQTT-3.1.2-20].
/// Not here: sessions and packet identifiers, the topic aliases' table, what AUTH says.
public struct MQTTClientMachine: ProtocolMachine, ~Copyable {
    public typealias Event = MQTTClientEvent
    public typealias Outgoing = MQTTClientOutgoing
    public typealias Violation = MQTTViolation
    public typealias Misuse = MQTTMisuse

    /// What a server may say in CONNACK that it has not.
    private struct Features: OptionSet {
        var rawValue: UInt8
        static var retain: Features { Features(rawValue: 1) }
        static var wildcards: Features { Features(rawValue: 2) }
        static var shared: Features { Features(rawValue: 4) }
        static var identifiers: Features { Features(rawValue: 8) }
        static var all: Features { Features(rawValue: 15) }
    }
    private enum Phase: UInt8 { case idle, connecting, open, closed }

    public private(set) var version = MQTTVersion.v5
    private var phase = Phase.idle
    private let limits: MQTTLimits
    private var packetSizeMax: UInt32
    private var lastHeard: Instant
    private let connectDeadline: Instant

    // What the server allows.
    private var peerPacketSizeMax: UInt32 = .max
    private var peerReceiveMaximum: UInt16 = .max
    private var peerTopicAliasMax: UInt16 = 0
    private var peerMaximumQoS: UInt8 = 2
    private var peerFeatures = Features.all

    // What this side said, or left out, in CONNECT.
    private var sessionEndsWithConnection = false
    private var receiveMaximum: UInt16 = .max
    private var topicAliasMax: UInt16 = 0
    private var authMethod: [UInt8]?
    private var authTurn = MQTTAuthTurn.nobody

    /// QoS 1 and 2 messages sent and not yet acknowledged by the server: PUBACK, PUBCOMP, or a PUBREC that refuses (section 4.9).
    public private(set) var unacknowledgedByServer: UInt16 = 0
    private var unacknowledged: UInt16 = 0

    // Keep-alive.
    private var keepAlive: UInt16 = 0
    private var nextLook = Instant.never
    private var hasSentSinceLook = false
    private var pingSent = Instant.never

    public init(limits: MQTTLimits, now: Instant) {
        self.limits = limits
        packetSizeMax = UInt32(clamping: limits.packetSizeMax)
        lastHeard = now
        connectDeadline = now + limits.connectTimeout
    }

    /// Nothing more is taken or sent.
    public var isClosed: Bool { phase == .closed }

    public mutating func heard(at now: Instant) { lastHeard = now }

    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(MQTTViolation) -> MQTTClientEvent? {
        guard phase == .open || phase == .connecting else { return nil }
        let bytes = input.bytes
        let offset = input.offset
        guard offset < bytes.count else { return nil }
        do throws(MQTTViolation) {
            let first = bytes[offset]
            if phase == .connecting || !MQTTPacketType.isPlainPublish(first) { try checkUnusual(first) }
            guard let frame = try MQTTFrame.find(in: bytes, at: offset, sizeMax: packetSizeMax) else { return nil }
            input.offset = frame.end
            return try event(frame, in: bytes)
        } catch {
            sayFarewell(error, into: &output)
            throw error
        }
    }

    /// CONNACK, or AUTH in front of it; then PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, PINGRESP, and v5's DISCONNECT and AUTH.
    /// [MQTT-3.2.0-1], [MQTT-3.2.0-2]: CONNACK comes first and once.
    private func checkUnusual(_ first: UInt8) throws(MQTTViolation) {
        let afterConnack: UInt16 = version == .v5 ? 0b1110_1010_1111_1000 : 0b0010_1010_1111_1000
        try MQTTPacketType.check(first, version: version, accepted: phase == .connecting ? 0b1000_0000_0000_0100 : afterConnack)
        if phase == .connecting, first >> 4 == MQTTPacketType.publish { throw .protocolError(.unexpectedPacket) }
    }

    private mutating func event(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTClientEvent {
        switch frame.type {
        case MQTTPacketType.publish: return .publish(try publish(frame, in: bytes))
        case MQTTPacketType.connack: return .connack(try connack(frame, in: bytes))
        case MQTTPacketType.puback...MQTTPacketType.pubcomp: return try acknowledgement(frame, in: bytes)
        case MQTTPacketType.suback:
            let list = try MQTTReasonList(frame, in: bytes, version: version)
            return .suback(packetIdentifier: list.packetIdentifier, reasons: list.reasons)
        case MQTTPacketType.unsuback:
            let list = try MQTTReasonList(frame, in: bytes, version: version)
            return .unsuback(packetIdentifier: list.packetIdentifier, reasons: list.reasons)
        case MQTTPacketType.pingresp:
            guard frame.count == 0 else { throw .malformed(.trailingBytes) }
            pingSent = .never
            return .pingresp
        case MQTTPacketType.disconnect:
            let disconnect = try MQTTDisconnect(frame, in: bytes, version: version, place: .disconnectFromServer)
            phase = .closed
            return .disconnect(reason: disconnect.reason, text: disconnect.text, serverReference: disconnect.serverReference)
        case MQTTPacketType.auth: return .auth(try auth(frame, in: bytes))
        default: throw .protocolError(.unexpectedPacket)
        }
    }

    private mutating func acknowledgement(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTClientEvent {
        let answer = try MQTTAcknowledgement(frame, in: bytes, version: version)
        let ends = frame.type != MQTTPacketType.pubrel && (frame.type != MQTTPacketType.pubrec || answer.reason.isFailure)
        if ends, unacknowledgedByServer > 0 { unacknowledgedByServer -= 1 }
        switch frame.type {
        case MQTTPacketType.puback: return .puback(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        case MQTTPacketType.pubrec: return .pubrec(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        case MQTTPacketType.pubrel: return .pubrel(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        default: return .pubcomp(packetIdentifier: answer.packetIdentifier, reason: answer.reason)
        }
    }

    /// Section 4.12: the server goes on or, once the connection is open, says that it is satisfied.
    private mutating func auth(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTAuth {
        let auth = try MQTTAuth(frame, in: bytes)
        let isShort = frame.count == 0
        guard let authMethod, isShort || bytes.at(auth.method).equals(authMethod.span) else { throw .protocolError(.authenticationMethod) }
        guard auth.reason != .reAuthenticate, auth.reason != .success || phase == .open else { throw .protocolError(.reasonCode) }
        guard authTurn == .server else { throw .protocolError(.unexpectedPacket) }
        authTurn = auth.reason == .success ? .nobody : .client
        return auth
    }

    @inline(__always)
    private mutating func publish(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTPublish {
        let publish = try MQTTPublish(
            frame, in: bytes, version: version,
            rules: MQTTPublishRules(place: .publishToClient, topicAliasMax: topicAliasMax), levelsMax: limits.topicLevelsMax)
        if publish.qos > 0, version == .v5 {
            guard unacknowledged < receiveMaximum else { throw .receiveMaximumExceeded }
            unacknowledged += 1
        }
        return publish
    }

    private mutating func connack(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> MQTTConnack.Received {
        let connack = try MQTTConnack.Received(frame, in: bytes, version: version)
        guard connack.reason == .success else {
            phase = .closed
            return connack
        }
        let method = connack.authenticationMethod.map { bytes.at($0).array }
        guard method == authMethod, authTurn != .client else { throw .protocolError(.authenticationMethod) }
        authTurn = .nobody
        phase = .open
        peerPacketSizeMax = connack.packetSizeMax ?? .max
        peerReceiveMaximum = connack.receiveMaximum ?? .max
        peerTopicAliasMax = connack.topicAliasMax ?? 0
        peerMaximumQoS = connack.maximumQoS ?? 2
        if connack.retainAvailable == false { peerFeatures.remove(.retain) }
        if connack.wildcardAvailable == false { peerFeatures.remove(.wildcards) }
        if connack.sharedAvailable == false { peerFeatures.remove(.shared) }
        if connack.subscriptionIdentifiersAvailable == false { peerFeatures.remove(.identifiers) }
        // [MQTT-3.1.2-21]
        if let theirs = connack.serverKeepAlive { keepAlive = theirs }
        if keepAlive > 0 { nextLook = lastHeard + halfKeepAlive }
        return connack
    }

    private var halfKeepAlive: Duration { .milliseconds(500 * Int(keepAlive)) }

    /// v5's DISCONNECT once the connection is open; nothing otherwise.
    private mutating func sayFarewell(_ violation: MQTTViolation, into output: inout ByteBuffer) {
        if phase == .open, version == .v5 { MQTTEncoder.disconnect(violation.reason.fromClient, MQTTPropertyWriter(), into: &output) }
        phase = .closed
    }

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(MQTTViolation) {
        guard phase != .closed, now >= deadline else { return }
        guard phase == .open else {
            phase = .closed
            throw .connectTimedOut
        }
        if now >= pingSent + limits.pingTimeout {
            guard lastHeard > pingSent else {
                sayFarewell(.keepAliveExpired, into: &output)
                throw .keepAliveExpired
            }
            // Other bytes came: the server lives, its PINGRESP stands in a queue.
            pingSent = .never
        }
        guard now >= nextLook else { return }
        nextLook = now + halfKeepAlive
        if hasSentSinceLook {
            hasSentSinceLook = false
        } else {
            output.append(0xC000 as UInt16)
            hasSentSinceLook = true
            if pingSent == .never { pingSent = now }
        }
    }

    /// MQTT gives the end of a stream no meaning of its own.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(MQTTViolation) { phase = .closed }

    public var deadline: Instant {
        switch phase {
        case .idle, .connecting: connectDeadline
        case .open: min(nextLook, pingSent + limits.pingTimeout)
        case .closed: .never
        }
    }
}

extension MQTTClientMachine {
    public mutating func send(_ message: MQTTClientOutgoing, into output: inout ByteBuffer) throws(MQTTMisuse) {
        switch message {
        case .connect(let options): return try connect(options, into: &output)
        case .auth(let auth): return try send(auth, into: &output)
        default: break
        }
        guard phase == .open else { throw .notOpen }
        let before = output.count
        do throws(MQTTMisuse) {
            switch message {
            case .publish(let publish): try send(publish, into: &output)
            case .puback(let identifier, let reason): try acknowledge(MQTTPacketType.puback, identifier, reason, into: &output)
            case .pubrec(let identifier, let reason): try acknowledge(MQTTPacketType.pubrec, identifier, reason, into: &output)
            case .pubrel(let identifier, let reason): try acknowledge(MQTTPacketType.pubrel, identifier, reason, into: &output)
            case .pubcomp(let identifier, let reason): try acknowledge(MQTTPacketType.pubcomp, identifier, reason, into: &output)
            case .subscribe(let identifier, let subscriptionIdentifier, let subscriptions):
                try subscribe(identifier, subscriptionIdentifier, subscriptions, into: &output)
            case .unsubscribe(let identifier, let filters): try unsubscribe(identifier, filters, into: &output)
            case .pingreq: output.append(0xC000 as UInt16)
            case .disconnect(let reason, let sessionExpiry): try disconnect(reason, sessionExpiry, into: &output)
            case .connect, .auth: break
            }
            // [MQTT-3.2.2-15]
            guard output.count - before <= Int(peerPacketSizeMax) else { throw .packetTooLarge }
        } catch {
            output.retract(output.count - before)
            throw error
        }
        settle(message)
    }

    /// What a packet changes once it is sure to go.
    private mutating func settle(_ message: MQTTClientOutgoing) {
        hasSentSinceLook = true
        switch message {
        case .publish(let publish) where publish.qos > 0: unacknowledgedByServer += 1
        case .puback, .pubcomp: if unacknowledged > 0 { unacknowledged -= 1 }
        case .pubrec(_, let reason): if reason.isFailure, unacknowledged > 0 { unacknowledged -= 1 }
        case .disconnect: phase = .closed
        default: break
        }
    }

    private mutating func connect(_ options: MQTTConnectOptions, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard phase == .idle else { throw phase == .closed ? .notOpen : .alreadySent }
        var options = options
        options.packetSizeMax = min(options.packetSizeMax, packetSizeMax)
        try options.encode(levelsMax: limits.topicLevelsMax, into: &output)
        version = options.version
        keepAlive = options.keepAlive
        if version == .v5 { packetSizeMax = options.packetSizeMax }
        receiveMaximum = options.receiveMaximum
        topicAliasMax = options.topicAliasMax
        sessionEndsWithConnection = options.sessionExpiry == 0
        authMethod = options.authenticationMethod
        authTurn = authMethod == nil ? .nobody : .server
        phase = .connecting
    }

    private func send(_ publish: MQTTPublish.Owned, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard publish.qos <= peerMaximumQoS, publish.qos > 0 || !publish.duplicate else { throw .qosNotSupported }
        guard peerFeatures.contains(.retain) || !publish.retain else { throw .retainNotSupported }
        guard publish.qos == 0 || publish.packetIdentifier != 0 else { throw .packetIdentifierZero }
        guard publish.qos == 0 || unacknowledgedByServer < peerReceiveMaximum else { throw .receiveMaximumReached }
        try publish.topic.checkTopicName(levelsMax: limits.topicLevelsMax)
        let alias = version == .v5 ? try topicAlias(publish.properties) : 0
        guard !publish.topic.isEmpty || alias > 0 else { throw .topicNameInvalid }
        MQTTEncoder.publish(
            version: version, topic: publish.topic.span, properties: publish.properties.span, payload: publish.payload.span, qos: publish.qos,
            packetIdentifier: publish.packetIdentifier, retain: publish.retain, duplicate: publish.duplicate, into: &output)
    }

    /// The topic alias among `properties`, which are judged; 0: none. [MQTT-3.3.2-9]: not above the server's maximum.
    private func topicAlias(_ properties: [UInt8]) throws(MQTTMisuse) -> UInt32 {
        try properties.checkProperties(at: .publishToServer)
        var cursor = MQTTPropertyCursor(ByteRange(0, properties.count), in: properties.span)
        while let property = cursor.next() {
            guard property.identifier == .topicAlias else { continue }
            guard property.number <= UInt32(peerTopicAliasMax) else { throw .propertiesInvalid }
            return property.number
        }
        return 0
    }

    private func acknowledge(_ type: UInt8, _ identifier: UInt16, _ reason: MQTTReason, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard identifier != 0 else { throw .packetIdentifierZero }
        MQTTEncoder.acknowledge(type, version, identifier, reason, into: &output)
    }

    private mutating func send(_ auth: MQTTAuth.Owned, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard phase == .open || phase == .connecting && authTurn != .nobody else { throw .notOpen }
        let fits = auth.reason == .continueAuthentication && authTurn == .client || auth.reason == .reAuthenticate && phase == .open && authTurn == .nobody
        guard fits, auth.method == authMethod else { throw .authenticationInvalid }
        try auth.encode(peerSizeMax: peerPacketSizeMax, withTexts: true, into: &output)
        authTurn = .server
        hasSentSinceLook = true
    }

    private func subscribe(
        _ identifier: UInt16, _ subscriptionIdentifier: UInt32, _ subscriptions: [MQTTSubscription], into output: inout ByteBuffer
    ) throws(MQTTMisuse) {
        guard identifier != 0 else { throw .packetIdentifierZero }
        guard !subscriptions.isEmpty else { throw .nothingListed }
        guard subscriptionIdentifier < 1 << 28 else { throw .propertiesInvalid }
        guard subscriptionIdentifier == 0 || peerFeatures.contains(.identifiers) else { throw .subscriptionIdentifiersNotSupported }
        var rest = ByteBuffer()
        rest.append(identifier)
        if version == .v5 {
            var properties = MQTTPropertyWriter()
            if subscriptionIdentifier > 0 { properties.add(.subscriptionIdentifier, subscriptionIdentifier) }
            rest.append(properties)
        }
        for subscription in subscriptions {
            let options = subscription.options
            try subscription.filter.checkTopicFilter(version: version, levelsMax: limits.topicLevelsMax)
            let isShared = version == .v5 && MQTTText.isShared(subscription.filter.span)
            guard options.isLegal(version), !options.noLocal || !isShared else { throw .topicFilterInvalid }
            guard !isShared || peerFeatures.contains(.shared) else { throw .sharedSubscriptionsNotSupported }
            if !peerFeatures.contains(.wildcards), subscription.filter.contains(where: { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "#") }) {
                throw .wildcardSubscriptionsNotSupported
            }
            rest.append(field: subscription.filter.span)
            rest.append(options.rawValue)
        }
        output.append(MQTTPacketType.subscribe << 4 | 2)
        output.append(variableByteInteger: rest.count)
        output.append(rest.span)
    }

    private func unsubscribe(_ identifier: UInt16, _ filters: [[UInt8]], into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard identifier != 0 else { throw .packetIdentifierZero }
        guard !filters.isEmpty else { throw .nothingListed }
        var rest = ByteBuffer()
        rest.append(identifier)
        if version == .v5 { rest.append(0 as UInt8) }
        for filter in filters {
            try filter.checkTopicFilter(version: version, levelsMax: limits.topicLevelsMax)
            rest.append(field: filter.span)
        }
        output.append(MQTTPacketType.unsubscribe << 4 | 2)
        output.append(variableByteInteger: rest.count)
        output.append(rest.span)
    }

    private func disconnect(_ reason: MQTTReason, _ sessionExpiry: UInt32?, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard version == .v5 else {
            output.append(0xE000 as UInt16)
            return
        }
        var properties = MQTTPropertyWriter()
        if let sessionExpiry {
            guard sessionExpiry == 0 || !sessionEndsWithConnection else { throw .propertiesInvalid }
            properties.add(.sessionExpiryInterval, sessionExpiry)
        }
        MQTTEncoder.disconnect(reason.fromClient, properties, into: &output)
    }
}
