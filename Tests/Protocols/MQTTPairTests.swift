import MartletBytes
import MartletMQTTProtocol
import Testing

/// Client and server machine over a link with a virtual clock. The server grants and acknowledges everything.
private struct Pair: ~Copyable {
    var client: MQTTClientMachine
    var server: MQTTServerMachine
    var toServer = Direction()
    var toClient = Direction()
    var clientOutput = ByteBuffer()
    var serverOutput = ByteBuffer()
    var now = startOfTime
    var heardByServer: [MQTTServerEvent.Owned] = []
    var heardByClient: [MQTTClientEvent.Owned] = []
    var rng: SystemRandomNumberGenerator = .init()

    init(_ options: MQTTConnectOptions) throws {
        client = MQTTClientMachine(limits: MQTTLimits(), now: startOfTime)
        server = MQTTServerMachine(limits: MQTTLimits(), now: startOfTime)
        try client.send(.connect(options), into: &clientOutput)
        try settle()
    }

    private static func answer(_ machine: inout MQTTServerMachine, _ event: MQTTServerEvent, _ output: inout ByteBuffer) throws {
        switch event {
        case .connect(let connect) where connect.authenticationMethod != nil: try machine.send(challenge("hi"), into: &output)
        case .connect: try machine.send(.connack(MQTTConnack()), into: &output)
        case .auth(let auth) where auth.reason == .reAuthenticate: try machine.send(challenge("again"), into: &output)
        // The client says what it was asked: that is how the two exchanges differ.
        case .auth(let auth) where auth.data?.count == 2: try machine.send(.connack(connack(method: authMethod)), into: &output)
        case .auth: try machine.send(.auth(MQTTAuth.Owned(reason: .success, method: authMethod)), into: &output)
        case .publish(let publish) where publish.qos == 1:
            try machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .publish(let publish) where publish.qos == 2:
            try machine.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .pubrec(let identifier, _): try machine.send(.pubrel(packetIdentifier: identifier, reason: .success), into: &output)
        case .pubrel(let identifier, _): try machine.send(.pubcomp(packetIdentifier: identifier, reason: .success), into: &output)
        case .subscribe(let identifier, _, _): try machine.send(.suback(packetIdentifier: identifier, reasons: [.grantedQoS1]), into: &output)
        case .unsubscribe(let identifier, _): try machine.send(.unsuback(packetIdentifier: identifier, reasons: [.success]), into: &output)
        default: break
        }
    }

    private static func challenge(_ data: String) -> MQTTServerOutgoing {
        .auth(MQTTAuth.Owned(reason: .continueAuthentication, method: authMethod, data: Array(data.utf8)))
    }

    private static func answer(_ machine: inout MQTTClientMachine, _ event: MQTTClientEvent, _ output: inout ByteBuffer) throws {
        switch event {
        case .publish(let publish) where publish.qos == 1:
            try machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .publish(let publish) where publish.qos == 2:
            try machine.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .pubrec(let identifier, _): try machine.send(.pubrel(packetIdentifier: identifier, reason: .success), into: &output)
        case .pubrel(let identifier, _): try machine.send(.pubcomp(packetIdentifier: identifier, reason: .success), into: &output)
        case .auth(let auth) where auth.reason == .continueAuthentication:
            let data = [UInt8](repeating: 1, count: Int(auth.data?.count ?? 0))
            try machine.send(.auth(MQTTAuth.Owned(reason: .continueAuthentication, method: authMethod, data: data)), into: &output)
        default: break
        }
    }

    /// Delivers in pieces of random size until nothing is under way.
    mutating func settle() throws {
        repeat {
            toServer.take(&clientOutput)
            heardByServer += try toServer.deliver(.random(in: 1...9, using: &rng), to: &server, at: now, into: &serverOutput, Self.answer)
            toClient.take(&serverOutput)
            heardByClient += try toClient.deliver(.random(in: 1...9, using: &rng), to: &client, at: now, into: &clientOutput, Self.answer)
        } while !(toServer.inFlight.isEmpty && toClient.inFlight.isEmpty && clientOutput.isEmpty && serverOutput.isEmpty)
    }

    /// Lets the clock run to `end`, waking whoever asks for it.
    mutating func run(until end: Instant) throws {
        while min(client.deadline, server.deadline) <= end {
            now = max(now, min(client.deadline, server.deadline))
            try client.wake(at: now, into: &clientOutput)
            try server.wake(at: now, into: &serverOutput)
            try settle()
        }
        now = end
    }
}

@Suite("MQTT client and server machine, face to face")
struct MQTTPairTests {
    private func options(_ version: MQTTVersion, keepAlive: UInt16 = 10) -> MQTTConnectOptions {
        var options = MQTTConnectOptions(version: version, clientID: Array("meter-7".utf8))
        options.keepAlive = keepAlive
        return options
    }

    @Test("A whole conversation survives any cutting", arguments: [MQTTVersion.v3_1, .v3_1_1, .v5], 0..<20)
    func conversation(version: MQTTVersion, round: Int) throws {
        var pair = try Pair(options(version))
        let filter = MQTTSubscription(filter: Array("a/#".utf8), options: MQTTSubscriptionOptions(qos: 1))
        try pair.client.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: [filter]), into: &pair.clientOutput)
        let publish = MQTTPublish.Owned(topic: Array("a/b".utf8), payload: [1, 2, 3], packetIdentifier: 2, qos: 1)
        try pair.client.send(.publish(publish), into: &pair.clientOutput)
        try pair.settle()
        let none: [UInt8] = []
        MQTTEncoder.publish(
            version: version, topic: publish.topic.span, properties: none.span, payload: publish.payload.span, qos: 1, packetIdentifier: 9, retain: false,
            duplicate: false, into: &pair.serverOutput)
        try pair.settle()
        try pair.client.send(.unsubscribe(packetIdentifier: 3, filters: [filter.filter]), into: &pair.clientOutput)
        try pair.settle()
        try pair.client.send(.disconnect(reason: .success, sessionExpiry: nil), into: &pair.clientOutput)
        try pair.settle()
        let toServer = pair.heardByServer.dropFirst().map(\.line)
        #expect(
            toServer == [
                "subscribe id=1 \"a/#\":01", "publish \"a/b\" payload=\"\u{1}\u{2}\u{3}\" qos=1 id=2", "puback id=9 reason=00", "unsubscribe id=3 \"a/#\"",
                "disconnect reason=00",
            ])
        let toClient = pair.heardByClient.dropFirst().map(\.line)
        #expect(
            toClient == [
                "suback id=1 reasons=01", "puback id=2 reason=00", "publish \"a/b\" payload=\"\u{1}\u{2}\u{3}\" qos=1 id=9",
                "unsuback id=3 reasons=" + (version == .v5 ? "00" : ""),
            ])
        let closed = (pair.client.isClosed, pair.server.isClosed)
        #expect(closed == (true, true))
    }

    @Test("QoS 2 in both directions goes its four steps, however it is cut", arguments: [MQTTVersion.v3_1, .v3_1_1, .v5], 0..<10)
    func exactlyOnce(version: MQTTVersion, round: Int) throws {
        var pair = try Pair(options(version))
        let none: [UInt8] = [], topic: [UInt8] = [97]
        for identifier in 1...3 as ClosedRange<UInt16> {
            try pair.client.send(.publish(MQTTPublish.Owned(topic: topic, payload: [], packetIdentifier: identifier, qos: 2)), into: &pair.clientOutput)
        }
        let under = pair.client.unacknowledgedByServer
        #expect(under == 3)
        MQTTEncoder.publish(
            version: version, topic: topic.span, properties: none.span, payload: none.span, qos: 2, packetIdentifier: 9, retain: false, duplicate: false,
            into: &pair.serverOutput)
        try pair.settle()
        let left = pair.client.unacknowledgedByServer
        #expect(left == 0)
        let toServer = pair.heardByServer.dropFirst().map(\.line).sorted(), toClient = pair.heardByClient.dropFirst().map(\.line).sorted()
        let steps = ["publish \"a\" payload=\"\" qos=2 id=1", "publish \"a\" payload=\"\" qos=2 id=2", "publish \"a\" payload=\"\" qos=2 id=3"]
        #expect(toServer == (["pubcomp id=9 reason=00", "pubrec id=9 reason=00"] + (1...3).map { "pubrel id=\($0) reason=00" } + steps).sorted())
        #expect(
            toClient
                == ((1...3).flatMap { ["pubrec id=\($0) reason=00", "pubcomp id=\($0) reason=00"] }
                + ["publish \"a\" payload=\"\" qos=2 id=9", "pubrel id=9 reason=00"]).sorted())
    }

    @Test("A client authenticates in steps, and again once it is connected", arguments: 0..<20)
    func authenticates(round: Int) throws {
        var options = options(.v5)
        options.authenticationMethod = authMethod
        var pair = try Pair(options)
        try pair.client.send(.pingreq, into: &pair.clientOutput)
        try pair.client.send(.auth(MQTTAuth.Owned(reason: .reAuthenticate, method: authMethod)), into: &pair.clientOutput)
        try pair.settle()
        let toServer = pair.heardByServer.dropFirst().map(\.line), toClient = pair.heardByClient.map(\.line)
        #expect(
            toServer == [
                "auth reason=18 method=\"SCR\" data=\"\u{1}\u{1}\"", "pingreq", "auth reason=19 method=\"SCR\"",
                "auth reason=18 method=\"SCR\" data=\"\u{1}\u{1}\u{1}\u{1}\u{1}\"",
            ])
        #expect(
            toClient.filter { !$0.hasPrefix("connack") } == [
                "auth reason=18 method=\"SCR\" data=\"hi\"", "pingresp", "auth reason=18 method=\"SCR\" data=\"again\"", "auth reason=00 method=\"SCR\"",
            ])
        #expect(toClient[1].hasPrefix("connack reason=00") && toClient[1].contains("method=\"SCR\""))
    }

    @Test("[MQTT-3.1.2-20] A silent client keeps itself alive with one PINGREQ a keep-alive", arguments: [MQTTVersion.v3_1_1, .v5])
    func keepsAlive(version: MQTTVersion) throws {
        var pair = try Pair(options(version, keepAlive: 10))
        try pair.run(until: startOfTime.advanced(bySeconds: 100))
        let pings = pair.heardByServer.filter { $0 == .pingreq }.count
        #expect(pings == 10)
        let answers = pair.heardByClient.filter { $0 == .pingresp }.count
        #expect(answers == pings)
    }

    @Test("A client that publishes often sends no PINGREQ")
    func busyClient() throws {
        var pair = try Pair(options(.v5, keepAlive: 10))
        for second in 1...100 {
            try pair.client.send(.publish(MQTTPublish.Owned(topic: [97], payload: [])), into: &pair.clientOutput)
            try pair.settle()
            try pair.run(until: startOfTime.advanced(bySeconds: second))
        }
        let pings = pair.heardByServer.filter { $0 == .pingreq }.count
        #expect(pings <= 1)
    }

    @Test("No keep-alive, no deadline once open")
    func noKeepAlive() throws {
        let pair = try Pair(options(.v3_1_1, keepAlive: 0))
        let deadline = min(pair.client.deadline, pair.server.deadline)
        #expect(deadline == .never)
    }
}
