import MartletBytes
import MartletMQTTProtocol

/// Packets and states for the laws, from a seed.
enum MQTTSamples {
    static let start = Instant(nanoseconds: 0)
    /// Of an enhanced authentication: every v5 machine in these states was asked for it.
    static let method = Array("SCR".utf8)

    static func name(_ rng: inout SeededGenerator) -> [UInt8] {
        let words = ["a", "kitchen", "küche", "t", "", "0123456789"]
        return Array((0..<Int.random(in: 1...4, using: &rng)).map { _ in words.randomElement(using: &rng) ?? "" }.joined(separator: "/").utf8) + [120]
    }

    static func bytes(_ rng: inout SeededGenerator, atMost count: Int = 40) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &rng)).map { _ in UInt8.random(in: 0...255, using: &rng) }
    }

    static func publish(_ version: MQTTVersion, _ rng: inout SeededGenerator) -> MQTTPublish.Owned {
        let qos = UInt8.random(in: 0...2, using: &rng)
        let properties: [[UInt8]] = [[], [], [1, 1], [2, 0, 0, 0, 60], [9, 0, 2, 7, 8], [0x26, 0, 1, 107, 0, 1, 118, 0x26, 0, 1, 107, 0, 0]]
        return MQTTPublish.Owned(
            topic: name(&rng), properties: version == .v5 ? properties.randomElement(using: &rng) ?? [] : [], payload: bytes(&rng, atMost: 200),
            packetIdentifier: qos == 0 ? 0 : .random(in: 1...65_535, using: &rng), qos: qos, retain: .random(using: &rng),
            duplicate: qos > 0 && .random(using: &rng))
    }

    static func connect(_ version: MQTTVersion, _ rng: inout SeededGenerator) -> MQTTConnectOptions {
        var options = MQTTConnectOptions(version: version, clientID: name(&rng))
        options.cleanStart = .random(using: &rng)
        options.keepAlive = .random(in: 0...600, using: &rng)
        if .random(using: &rng) { options.userName = name(&rng) }
        if options.userName != nil, .random(using: &rng) { options.password = bytes(&rng) }
        if .random(using: &rng) {
            options.will = MQTTConnectOptions.Will(topic: name(&rng), payload: bytes(&rng), qos: .random(in: 0...2, using: &rng), retain: .random(using: &rng))
        }
        options.packetSizeMax = 1 << 20
        guard version == .v5 else {
            options.packetSizeMax = .max
            options.sessionExpiry = options.cleanStart ? 0 : .max
            return options
        }
        options.sessionExpiry = [0, 1, .max].randomElement(using: &rng) ?? 0
        options.receiveMaximum = [1, 20, .max].randomElement(using: &rng) ?? 1
        options.topicAliasMax = [0, 10].randomElement(using: &rng) ?? 0
        options.will?.delaySeconds = [0, 5].randomElement(using: &rng) ?? 0
        options.requestsProblemText = .random(using: &rng)
        if .random(using: &rng) { options.authenticationMethod = method }
        if options.authenticationMethod != nil, .random(using: &rng) { options.authenticationData = bytes(&rng) }
        return options
    }

    static func auth(_ reason: MQTTReason, _ rng: inout SeededGenerator) -> MQTTAuth.Owned {
        MQTTAuth.Owned(
            reason: reason, method: method, data: .random(using: &rng) ? bytes(&rng) : nil, text: .random(using: &rng) ? "grüezi" : "",
            userProperties: .random(using: &rng) ? [0x26, 0, 1, 107, 0, 1, 118] : [])
    }

    /// What an open client says, but for DISCONNECT.
    static func clientMessage(_ version: MQTTVersion, _ rng: inout SeededGenerator) -> MQTTClientOutgoing {
        let identifier = UInt16.random(in: 1...65_535, using: &rng)
        switch Int.random(in: 0..<10, using: &rng) {
        case 6: return .pubrec(packetIdentifier: identifier, reason: version == .v5 ? .quotaExceeded : .success)
        case 7: return .pubrel(packetIdentifier: identifier, reason: version == .v5 ? .packetIdentifierNotFound : .success)
        case 8: return .pubcomp(packetIdentifier: identifier, reason: .success)
        case 9 where version == .v5: return .auth(auth(.reAuthenticate, &rng))
        case 0: return .puback(packetIdentifier: identifier, reason: version == .v5 ? .noMatchingSubscribers : .success)
        case 1:
            let options = MQTTSubscriptionOptions(qos: 1, noLocal: version == .v5, retainHandling: version == .v5 ? 2 : 0)
            return .subscribe(
                packetIdentifier: identifier, subscriptionIdentifier: version == .v5 ? .random(in: 0..<1 << 28, using: &rng) : 0,
                subscriptions: (0..<3).map { _ in MQTTSubscription(filter: name(&rng) + Array("/+/#".utf8), options: options) })
        case 2: return .unsubscribe(packetIdentifier: identifier, filters: [name(&rng), name(&rng)])
        case 3: return .pingreq
        default: return .publish(publish(version, &rng))
        }
    }

    /// Open, with a client that named `method` if it could.
    static func server(_ version: MQTTVersion, limits: MQTTLimits = MQTTLimits()) -> MQTTServerMachine {
        var machine = MQTTServerMachine(limits: limits, now: start)
        var client = MQTTClientMachine(limits: MQTTLimits(), now: start)
        var output = ByteBuffer()
        try? client.send(.connect(hello(version)), into: &output)
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try? machine.nextEvent(from: &input, into: &output)
        try? machine.send(.connack(welcome(version)), into: &output)
        return machine
    }

    /// The same from the other side; it may have begun to authenticate again.
    static func client(_ version: MQTTVersion, limits: MQTTLimits = MQTTLimits(), authenticates: Bool = false) -> MQTTClientMachine {
        var machine = MQTTClientMachine(limits: limits, now: start)
        var output = ByteBuffer()
        try? machine.send(.connect(hello(version)), into: &output)
        let connack: [UInt8] = version == .v5 ? [0x20, 9, 0, 0, 6, 0x15, 0, 3] + method : [0x20, 2, 0, 0]
        var input = ByteReader(connack.span)
        _ = try? machine.nextEvent(from: &input, into: &output)
        if authenticates { try? machine.send(.auth(MQTTAuth.Owned(reason: .reAuthenticate, method: method)), into: &output) }
        return machine
    }

    private static func hello(_ version: MQTTVersion) -> MQTTConnectOptions {
        var options = MQTTConnectOptions(version: version, clientID: [97])
        if version == .v5 { options.authenticationMethod = method }
        return options
    }

    static func welcome(_ version: MQTTVersion) -> MQTTConnack {
        var connack = MQTTConnack()
        if version == .v5 { connack.authenticationMethod = method }
        return connack
    }

    /// A stream of `count` packets as a client sends them.
    static func clientStream(_ version: MQTTVersion, count: Int, _ rng: inout SeededGenerator) -> [UInt8] {
        var output = ByteBuffer()
        var machine = client(version)
        for _ in 0..<count { try? machine.send(clientMessage(version, &rng), into: &output) }
        return output.span.array
    }

    /// A stream of `count` packets as a server sends them.
    static func serverStream(_ version: MQTTVersion, count: Int, _ rng: inout SeededGenerator) -> [UInt8] {
        var output = ByteBuffer()
        var machine = server(version)
        if version == .v5 {
            // The server says that it is satisfied, once.
            let begin: [UInt8] = [0xF0, 8, 0x19, 6, 0x15, 0, 3] + method
            var input = ByteReader(begin.span)
            _ = try? machine.nextEvent(from: &input, into: &output)
            try? machine.send(.auth(auth(.success, &rng)), into: &output)
        }
        for _ in 0..<count {
            let identifier = UInt16.random(in: 1...65_535, using: &rng)
            switch Int.random(in: 0..<10, using: &rng) {
            case 5: try? machine.send(.pubrec(packetIdentifier: identifier, reason: .quotaExceeded), into: &output)
            case 6: try? machine.send(.pubrel(packetIdentifier: identifier, reason: .success), into: &output)
            case 7: try? machine.send(.pubcomp(packetIdentifier: identifier, reason: .packetIdentifierNotFound), into: &output)
            case 0: try? machine.send(.puback(packetIdentifier: identifier, reason: .success), into: &output)
            case 1: try? machine.send(.suback(packetIdentifier: identifier, reasons: [.grantedQoS1, .unspecifiedError]), into: &output)
            case 2: try? machine.send(.unsuback(packetIdentifier: identifier, reasons: [.success]), into: &output)
            case 3: output.append(0xD000 as UInt16)
            default:
                let publish = publish(version, &rng)
                MQTTEncoder.publish(
                    version: version, topic: publish.topic.span, properties: publish.properties.span, payload: publish.payload.span, qos: publish.qos,
                    packetIdentifier: publish.packetIdentifier, retain: publish.retain, duplicate: publish.duplicate, into: &output)
            }
        }
        return output.span.array
    }

    /// The same bytes with a few of them changed, dropped or doubled.
    static func mutated(_ bytes: [UInt8], _ rng: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...3, using: &rng) {
            guard let at = bytes.indices.randomElement(using: &rng) else { break }
            switch Int.random(in: 0..<5, using: &rng) {
            case 0: bytes[at] = .random(in: 0...255, using: &rng)
            case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &rng)
            case 2: bytes.remove(at: at)
            case 3: bytes.insert(bytes[at], at: at)
            default: bytes.removeLast(bytes.count - at)
            }
        }
        return bytes
    }
}
