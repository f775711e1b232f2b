import MartletBytes
import MartletMQTTProtocol
import Testing

@Suite("MQTT server machine")
struct MQTTServerMachineTests {
    /// The bytes of QoS 1 PUBLISH packets to topic "a", v5.
    private func publishes(_ count: Int) -> [UInt8] { (1...count).flatMap { [0x32, 6, 0, 1, 97, 0, UInt8($0), 0] } }

    @Test("It takes 48 bytes at most, because one exists for each idle connection")
    func size() { #expect(MemoryLayout<MQTTServerMachine>.size <= 48) }

    @Test("[MQTT-3.3.4-7] More unacknowledged messages than the receive maximum are a violation, acknowledged ones are not")
    func receiveMaximum() throws {
        var limits = MQTTLimits()
        limits.receiveMaximum = 2
        #expect(observe(try serverMachine("server v5 open", limits: limits), publishes(2), pieces: 100).violation == nil)
        let over = observe(try serverMachine("server v5 open", limits: limits), publishes(3), pieces: 100)
        #expect(over.violation == .receiveMaximumExceeded && over.output == [0xE0, 1, 0x93] && over.events.count == 2)

        var machine = try serverMachine("server v5 open", limits: limits)
        var output = ByteBuffer()
        let bytes = publishes(5)
        var input = ByteReader(bytes.span)
        var taken = 0
        while case .publish(let publish) = try machine.nextEvent(from: &input, into: &output) {
            taken += 1
            try machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        }
        #expect(taken == 5)
    }

    @Test("What it enforces it announces")
    func announces() throws {
        var limits = MQTTLimits()
        limits.receiveMaximum = 7
        limits.packetSizeMax = 5000
        limits.topicAliasMax = 4
        limits.keepAliveMax = 30
        var machine = try serverMachine("server v5 connecting", limits: limits)
        var output = ByteBuffer()
        try machine.send(.connack(MQTTConnack()), into: &output)
        let bytes = output.span.array
        let observed = observe(try clientMachine("client v5 connecting"), bytes, pieces: bytes.count)
        #expect(observed.events.map(\.line) == ["connack reason=00 receiveMaximum=7 sizeMax=5000 aliasMax=4 keepAlive=30"])
        let deadline = machine.deadline
        #expect(deadline == Instant(nanoseconds: 45_000_000_000))
    }

    @Test("A topic alias up to the announced maximum reaches the gateway, with or without a name")
    func topicAlias() throws {
        var limits = MQTTLimits()
        limits.topicAliasMax = 4
        var machine = try serverMachine("server v5 open", limits: limits)
        var output = ByteBuffer()
        let bytes: [UInt8] = [0x30, 7, 0, 1, 97, 3, 0x23, 0, 4, 0x30, 6, 0, 0, 3, 0x23, 0, 4]
        var input = ByteReader(bytes.span)
        for name in [1, 0] as [UInt32] {
            guard case .publish(let publish) = try machine.nextEvent(from: &input, into: &output) else {
                Issue.record("no PUBLISH")
                return
            }
            #expect(publish.topicAlias == 4 && publish.topic.count == name && publish.payload.isEmpty)
        }
    }

    @Test("[MQTT-3.1.2-22] Silence of one and a half keep-alives ends the connection, with a word in v5")
    func keepAlive() throws {
        for (state, farewell) in [("server v3.1.1 open", []), ("server v5 open", [0xE0, 1, 0x8D])] as [(String, [UInt8])] {
            var machine = try serverMachine(state)
            var output = ByteBuffer()
            machine.heard(at: startOfTime.advanced(bySeconds: 10))
            try machine.wake(at: startOfTime.advanced(bySeconds: 99), into: &output)
            do {
                try machine.wake(at: startOfTime.advanced(bySeconds: 100), into: &output)
                Issue.record("still alive")
            } catch { #expect(error == .keepAliveExpired) }
            let said = output.span.array
            #expect(said == farewell)
        }
    }

    @Test("A refusal closes, and MQTT 3.1.1 hears its return code")
    func refuses() throws {
        for (version, bytes) in [("v3.1.1", [0x20, 2, 0, 5]), ("v5", [0x20, 3, 0, 0x87, 0])] as [(String, [UInt8])] {
            var machine = try serverMachine("server \(version) connecting")
            var output = ByteBuffer()
            try machine.send(.connack(MQTTConnack(reason: .notAuthorized, sessionPresent: true)), into: &output)
            let said = output.span.array
            let closed = machine.isClosed
            #expect(said == bytes && closed)
        }
    }

    @Test("DISCONNECT is written in v5 alone, and its text only if the client takes a packet of that size")
    func disconnects() throws {
        for (state, bytes) in [("server v3.1.1 open", []), ("server v5 open", [0xE0, 7, 0x8B, 5, 0x1F, 0, 2, 104, 105]), ("server v5 connecting", [])]
            as [(String, [UInt8])]
        {
            var machine = try serverMachine(state)
            var output = ByteBuffer()
            try machine.send(.disconnect(reason: .serverShuttingDown, text: "hi"), into: &output)
            let said = output.span.array
            let closed = machine.isClosed
            #expect(said == bytes && closed)
        }
    }

    @Test("Messages out of turn are the caller's mistake and write nothing")
    func misuse() throws {
        var output = ByteBuffer()
        func misuse(_ state: String, _ message: MQTTServerOutgoing) throws -> MQTTMisuse? {
            var machine = try serverMachine(state)
            do throws(MQTTMisuse) { try machine.send(message, into: &output) } catch { return error }
            return nil
        }
        #expect(try misuse("server new", .puback(packetIdentifier: 1, reason: .success)) == .notOpen)
        #expect(try misuse("server new", .connack(MQTTConnack())) == .notOpen)
        #expect(try misuse("server v5 open", .connack(MQTTConnack())) == .alreadySent)
        #expect(try misuse("server v5 open", .suback(packetIdentifier: 1, reasons: [])) == .nothingListed)
        let silent = output.isEmpty
        #expect(silent)
    }

    @Test("v3.1.1 hears every refused subscription as 0x80")
    func suback() throws {
        var machine = try serverMachine("server v3.1.1 open")
        var output = ByteBuffer()
        try machine.send(.suback(packetIdentifier: 1, reasons: [.grantedQoS1, .notAuthorized]), into: &output)
        let said = output.span.array
        #expect(said == [0x90, 4, 0, 1, 1, 0x80])
    }

    @Test("Topic levels are limited, in names and in filters")
    func levels() throws {
        var limits = MQTTLimits()
        limits.topicLevelsMax = 3
        #expect(observe(try serverMachine("server v3.1.1 open", limits: limits), [0x30, 7, 0, 5] + Array("a/b/c".utf8), pieces: 100).violation == nil)
        #expect(
            observe(try serverMachine("server v3.1.1 open", limits: limits), [0x30, 8, 0, 6] + Array("a/b/c/".utf8), pieces: 100).violation == .topicNameInvalid
        )
        #expect(
            observe(try serverMachine("server v3.1.1 open", limits: limits), [0x82, 11, 0, 1, 0, 6] + Array("a/b/c/".utf8) + [0], pieces: 100).violation
                == .topicFilterInvalid)
    }

    @Test("Every byte of a topic name of every length is looked at", arguments: 1...40)
    func scansAll(count: Int) throws {
        for bad in [0, 0x23, 0x2B, 0xFF] as [UInt8] {
            for at in 0..<count {
                var topic = [UInt8](repeating: 97, count: count)
                let good = topic
                topic[at] = bad
                let header: [UInt8] = [0x30, UInt8(count + 2), 0, UInt8(count)]
                #expect(observe(try serverMachine("server v3.1.1 open"), header + topic, pieces: 100).violation != nil)
                #expect(observe(try serverMachine("server v3.1.1 open"), header + good, pieces: 100).violation == nil)
            }
        }
    }
}
