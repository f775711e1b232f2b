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

    @Test("Announced is what is enforced: the maximum QoS")
    func maximumQoS() throws {
        for (qos, packet) in [(1, [0x34, 6, 0, 1, 97, 0, 1, 0]), (0, [0x32, 6, 0, 1, 97, 0, 1, 0])] as [(UInt8, [UInt8])] {
            var machine = try serverMachine("server v5 connecting")
            var output = ByteBuffer()
            var terms = MQTTConnack()
            terms.maximumQoS = qos
            try machine.send(.connack(terms), into: &output)
            let announced = output.span.array
            #expect(observe(try clientMachine("client v5 connecting"), announced, pieces: 100).events.first?.line.contains("maximumQoS=\(qos)") == true)
            #expect(observe(machine, packet, pieces: 100).violation == .qosNotSupported)
        }
        #expect(observe(try serverMachine("server v5 open"), [0x34, 6, 0, 1, 97, 0, 1, 0], pieces: 100).violation == nil)
    }

    @Test("The high bit of the protocol level marks a bridge", arguments: [(0x83, "MQIsdp", true), (0x84, "MQTT", true), (4, "MQTT", false)])
    func bridge(level: UInt8, name: String, isBridge: Bool) throws {
        var machine = try serverMachine("server new")
        var output = ByteBuffer()
        let body: [UInt8] = [0, UInt8(name.utf8.count)] + Array(name.utf8) + [level, 2, 0, 60, 0, 1, 97]
        let bytes = [0x10, UInt8(body.count)] + body
        var input = ByteReader(bytes.span)
        guard case .connect(let connect) = try machine.nextEvent(from: &input, into: &output) else {
            Issue.record("no CONNECT")
            return
        }
        #expect(connect.isBridge == isBridge)
    }

    @Test("MQTT 3.1 hears no session present")
    func oldConnack() throws {
        var machine = try serverMachine("server v3.1 connecting")
        var output = ByteBuffer()
        try machine.send(.connack(MQTTConnack(sessionPresent: true)), into: &output)
        let said = output.span.array
        #expect(said == [0x20, 2, 0, 0])
    }

    @Test("A message expiry interval is read with the PUBLISH, and can be patched where it lies")
    func messageExpiry() throws {
        var machine = try serverMachine("server v5 open")
        var output = ByteBuffer()
        let bytes: [UInt8] = [0x30, 11, 0, 1, 97, 7, 0x01, 1, 0x02, 0, 0, 1, 4, 0x30, 4, 0, 1, 97, 0]
        var input = ByteReader(bytes.span)
        guard case .publish(let publish) = try machine.nextEvent(from: &input, into: &output),
            case .publish(let plain) = try machine.nextEvent(from: &input, into: &output)
        else {
            Issue.record("no PUBLISH")
            return
        }
        #expect(publish.messageExpiry == 260 && plain.messageExpiry == .max)
        var cursor = MQTTPropertyCursor(publish.properties, in: bytes.span)
        let at = cursor.first(.messageExpiryInterval)?.valueOffset
        #expect(at == 9)
        let isLast = cursor.first(.messageExpiryInterval) == nil
        #expect(isLast)
    }

    @Test("A lenient server counts what it lets pass, the same however it is cut", arguments: [1, 2, 100])
    func tolerated(size: Int) throws {
        var limits = MQTTLimits()
        limits.receiveMaximum = 2
        // Three messages above the receive maximum, DUP with QoS 0, flags of PUBREL.
        let bytes = publishes(5) + [0x38, 4, 0, 1, 97, 0, 0x60, 2, 0, 7]
        var machine = try serverMachine("server v5 open lenient", limits: limits)
        var output = ByteBuffer()
        var unread = UnreadBytes()
        var events = 0
        for at in stride(from: 0, to: bytes.count, by: size) {
            let new = bytes.span.extracting(at..<min(at + size, bytes.count))
            var used = 0
            do {
                let all = unread.show(new)
                var input = ByteReader(all)
                while try machine.nextEvent(from: &input, into: &output) != nil { events += 1 }
                used = input.offset
            }
            unread.keep(new, used: used)
        }
        let counted = machine.tolerated
        #expect(events == 7 && counted == 5)
    }

    @Test("DISCONNECT names another server, and keeps the name when the text does not fit")
    func serverReference() throws {
        for (sizeMax, bytes) in [
            (UInt32.max, [0xE0, 13, 0x9D, 11, 0x1C, 0, 3, 98, 58, 49, 0x1F, 0, 2, 104, 105]), (12, [0xE0, 8, 0x9D, 6, 0x1C, 0, 3, 98, 58, 49]),
        ] as [(UInt32, [UInt8])] {
            var machine = try serverMachine("server new")
            var client = try clientMachine("client new")
            var options = MQTTConnectOptions(clientID: [97])
            options.packetSizeMax = sizeMax
            var output = ByteBuffer()
            try client.send(.connect(options), into: &output)
            let hello = output.span.array
            var input = ByteReader(hello.span)
            _ = try machine.nextEvent(from: &input, into: &output)
            try machine.send(.connack(MQTTConnack()), into: &output)
            output.removeAll()
            try machine.send(.disconnect(reason: .serverMoved, text: "hi", serverReference: "b:1"), into: &output)
            let said = output.span.array
            #expect(said == bytes)
        }
    }
}
