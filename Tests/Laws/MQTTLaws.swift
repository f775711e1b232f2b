import MartletBytes
import MartletMQTTProtocol
import Testing

@Suite("The laws of a protocol machine: MQTT")
struct MQTTLaws {
    /// The whole against pieces of a few sizes.
    private func splitsAgree<Machine: ProtocolMachine & ~Copyable>(
        _ bytes: [UInt8], keptMax: Int, _ make: () -> Machine, answer: (inout Machine, Machine.Event, inout ByteBuffer) -> Void = { _, _, _ in }
    ) {
        let whole = observe(make, bytes, pieces: bytes.count, answer: answer)
        for size in [1, 2, 5, 64] {
            let cut = observe(make, bytes, pieces: size, answer: answer)
            #expect(cut.events == whole.events && cut.output == whole.output && cut.violation == whole.violation, "\(bytes) in pieces of \(size)")
            #expect(cut.keptMax <= keptMax)
        }
    }

    private static func accept(_ machine: inout MQTTServerMachine, _ event: MQTTServerEvent, _ output: inout ByteBuffer) {
        switch event {
        case .connect(let connect):
            let connack = connect.authenticationMethod == nil ? MQTTConnack() : MQTTSamples.welcome(.v5)
            try? machine.send(.connack(connack), into: &output)
        case .publish(let publish) where publish.qos == 1:
            try? machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .publish(let publish) where publish.qos == 2:
            try? machine.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .pubrel(let identifier, _): try? machine.send(.pubcomp(packetIdentifier: identifier, reason: .success), into: &output)
        case .auth(let auth):
            // Asks for more once, by the method that the samples use.
            let isFirst = auth.reason == .reAuthenticate
            try? machine.send(.auth(MQTTAuth.Owned(reason: isFirst ? .continueAuthentication : .success, method: MQTTSamples.method)), into: &output)
        default: break
        }
    }

    @Test("Any split of a client's bytes gives the server the same events and the same output", arguments: 0..<150)
    func serverSplits(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        for version in [MQTTVersion.v3_1, .v3_1_1, .v5] {
            var limits = MQTTLimits()
            limits.packetSizeMax = 300
            let stream = MQTTSamples.clientStream(version, count: 12, &rng)
            let make = { MQTTSamples.server(version, limits: limits) }
            #expect(observe(make, stream, pieces: stream.count, answer: Self.accept).violation == nil)
            splitsAgree(stream, keptMax: 300, make, answer: Self.accept)
            for round in 0..<10 {
                limits.isStrict = round % 2 == 0
                splitsAgree(MQTTSamples.mutated(stream, &rng), keptMax: 300, { MQTTSamples.server(version, limits: limits) }, answer: Self.accept)
            }
        }
    }

    @Test("Any split of a server's bytes gives the client the same events and the same output", arguments: 0..<150)
    func clientSplits(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        for version in [MQTTVersion.v3_1, .v3_1_1, .v5] {
            var limits = MQTTLimits()
            limits.packetSizeMax = 300
            let stream = MQTTSamples.serverStream(version, count: 12, &rng)
            let make = { MQTTSamples.client(version, limits: limits, authenticates: version == .v5) }
            #expect(observe(make, stream, pieces: stream.count).violation == nil)
            splitsAgree(stream, keptMax: 300, make)
            for _ in 0..<10 { splitsAgree(MQTTSamples.mutated(stream, &rng), keptMax: 300, make) }
        }
    }

    @Test("Any split of a CONNECT, whole or damaged, gives the same", arguments: 0..<150)
    func connectSplits(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        for version in [MQTTVersion.v3_1, .v3_1_1, .v5] {
            var client = MQTTClientMachine(limits: MQTTLimits(), now: MQTTSamples.start)
            var output = ByteBuffer()
            try client.send(.connect(MQTTSamples.connect(version, &rng)), into: &output)
            let stream = output.span.array + MQTTSamples.clientStream(version, count: 2, &rng)
            let make = { MQTTServerMachine(limits: MQTTLimits(), now: MQTTSamples.start) }
            splitsAgree(stream, keptMax: 1 << 20, make, answer: Self.accept)
            for _ in 0..<10 { splitsAgree(MQTTSamples.mutated(stream, &rng), keptMax: 1 << 20, make, answer: Self.accept) }
        }
    }

    @Test("No bytes trap", arguments: 0..<40)
    func noBytesTrap(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            var bytes = MQTTSamples.bytes(&rng, atMost: 24)
            if let first: UInt8 = [0x10, 0x20, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x82, 0x90, 0xA2, 0xB0, 0xE0, 0xF0].randomElement(using: &rng),
                .random(using: &rng)
            {
                bytes = [first, UInt8(bytes.count)] + bytes
            }
            for version in [MQTTVersion.v3_1, .v3_1_1, .v5] {
                splitsAgree(bytes, keptMax: 1 << 20, { MQTTSamples.server(version) }, answer: Self.accept)
                splitsAgree(bytes, keptMax: 1 << 20) { MQTTSamples.client(version) }
            }
            splitsAgree(bytes, keptMax: 1 << 20, { MQTTServerMachine(limits: MQTTLimits(), now: MQTTSamples.start) }, answer: Self.accept)
        }
    }

    @Test("A server machine takes 48 bytes at most, a PUBLISH 36")
    func sizes() {
        #expect(MemoryLayout<MQTTServerMachine>.size <= 48)
        #expect(MemoryLayout<MQTTPublish>.size <= 36)
    }

    @Test("While CONNACK is owed nothing is consumed")
    func waitsForConnack() throws {
        let hello: [UInt8] = [0x10, 13, 0, 4, 77, 81, 84, 84, 4, 2, 0, 60, 0, 1, 97, 0xC0, 0]
        var machine = MQTTServerMachine(limits: MQTTLimits(), now: MQTTSamples.start)
        var output = ByteBuffer()
        var input = ByteReader(hello.span)
        let connect = try machine.nextEvent(from: &input, into: &output)
        let early = try machine.nextEvent(from: &input, into: &output)
        #expect(connect != nil && early == nil)
        let seen = (offset: input.offset, written: output.count, deadline: machine.deadline)
        #expect(seen == (15, 0, .never))
        try machine.send(.connack(MQTTConnack()), into: &output)
        let late = try machine.nextEvent(from: &input, into: &output)
        let written = output.span.array
        #expect(late == .pingreq)
        #expect(written == [0x20, 2, 0, 0, 0xD0, 0])
    }

    @Test("A wake after the deadline violates exactly once; one before it does nothing")
    func wakesOnce() {
        func wake<Machine: ProtocolMachine & ~Copyable>(_ machine: inout Machine, at now: Instant, _ output: inout ByteBuffer) -> Bool {
            do {
                try machine.wake(at: now, into: &output)
                return false
            } catch { return true }
        }
        func check<Machine: ProtocolMachine & ~Copyable>(_ machine: consuming Machine) {
            var output = ByteBuffer()
            let deadline = machine.deadline
            let early = wake(&machine, at: Instant(nanoseconds: deadline.nanoseconds - 1), &output)
            let silent = output.isEmpty
            #expect(!early && silent)
            let first = wake(&machine, at: deadline, &output)
            let said = output.count
            let next = machine.deadline
            let second = wake(&machine, at: deadline, &output)
            let saidMore = output.count
            #expect(first && !second && next == .never && said == saidMore)
        }
        check(MQTTSamples.server(.v3_1_1))
        check(MQTTSamples.server(.v5))
        check(MQTTServerMachine(limits: MQTTLimits(), now: MQTTSamples.start))
        check(MQTTClientMachine(limits: MQTTLimits(), now: MQTTSamples.start))
    }

    @Test("What a client encodes, a server decodes", arguments: 0..<200)
    func clientToServer(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        for version in [MQTTVersion.v3_1, .v3_1_1, .v5] {
            let options = MQTTSamples.connect(version, &rng)
            var fresh = MQTTClientMachine(limits: MQTTLimits(), now: MQTTSamples.start)
            var output = ByteBuffer()
            try fresh.send(.connect(options), into: &output)
            let hello = output.span.array
            let connected = observe({ MQTTServerMachine(limits: MQTTLimits(), now: MQTTSamples.start) }, hello, pieces: hello.count)
            #expect(connected.events == [.connect(options)])

            output.removeAll()
            var client = MQTTSamples.client(version)
            let message = MQTTSamples.clientMessage(version, &rng)
            try client.send(message, into: &output)
            let bytes = output.span.array
            let events = observe({ MQTTSamples.server(version) }, bytes, pieces: bytes.count).events
            #expect(events == [expected(message)])
        }
    }

    private func expected(_ message: MQTTClientOutgoing) -> MQTTServerEvent.Owned {
        switch message {
        case .connect(let options): .connect(options)
        case .publish(let publish): .publish(publish)
        case .puback(let identifier, let reason): .puback(packetIdentifier: identifier, reason: reason)
        case .pubrec(let identifier, let reason): .pubrec(packetIdentifier: identifier, reason: reason)
        case .pubrel(let identifier, let reason): .pubrel(packetIdentifier: identifier, reason: reason)
        case .pubcomp(let identifier, let reason): .pubcomp(packetIdentifier: identifier, reason: reason)
        case .auth(let auth): .auth(auth)
        case .subscribe(let identifier, let subscriptionIdentifier, let subscriptions):
            .subscribe(packetIdentifier: identifier, subscriptionIdentifier: subscriptionIdentifier, subscriptions: subscriptions)
        case .unsubscribe(let identifier, let filters): .unsubscribe(packetIdentifier: identifier, filters: filters)
        case .pingreq: .pingreq
        case .disconnect(let reason, let expiry): .disconnect(reason: reason, sessionExpiry: expiry)
        }
    }

    @Test("What fan-out encodes, a client decodes, and the packet identifier is where it was said to be", arguments: 0..<200)
    func serverToClient(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        for version in [MQTTVersion.v3_1, .v3_1_1, .v5] {
            let publish = MQTTSamples.publish(version, &rng)
            var output = ByteBuffer()
            let at = MQTTEncoder.publish(
                version: version, topic: publish.topic.span, properties: publish.properties.span, payload: publish.payload.span, qos: publish.qos,
                packetIdentifier: publish.packetIdentifier, retain: publish.retain, duplicate: publish.duplicate, into: &output)
            let bytes = output.span.array
            let size = MQTTEncoder.publishSize(
                version: version, topicCount: publish.topic.count, propertyCount: publish.properties.count, payloadCount: publish.payload.count,
                qos: publish.qos)
            #expect((at == 0) == (publish.qos == 0))
            #expect(at == 0 || UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1]) == publish.packetIdentifier)
            #expect(bytes.count == size)
            // A prefix is as good as properties that begin with it.
            output.removeAll()
            let prefix: [UInt8] = Array([0x0B, 0x07, 0x23, 0, 1].prefix(.random(in: 0...5, using: &rng)))
            MQTTEncoder.publish(
                version: version, topic: publish.topic.span, prefix: prefix.span, properties: publish.properties.span, payload: publish.payload.span,
                qos: publish.qos, packetIdentifier: publish.packetIdentifier, retain: publish.retain, duplicate: publish.duplicate, into: &output)
            let prefixed = output.span.array
            output.removeAll()
            let joined = prefix + publish.properties
            MQTTEncoder.publish(
                version: version, topic: publish.topic.span, properties: joined.span, payload: publish.payload.span, qos: publish.qos,
                packetIdentifier: publish.packetIdentifier, retain: publish.retain, duplicate: publish.duplicate, into: &output)
            let whole = output.span.array
            #expect(prefixed == whole)
            #expect(observe({ MQTTSamples.client(version) }, bytes, pieces: bytes.count).events == [.publish(publish)])
        }
    }
}
