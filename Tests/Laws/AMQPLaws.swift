import MartletAMQPProtocol
import MartletBytes
import Testing

@Suite("The laws of a protocol machine: AMQP 0-9-1")
struct AMQPLaws {
    /// Three cut frames.
    private static let keptMax = 3 * 4096

    private static func newServer() -> AMQPServerMachine { AMQPServerMachine(limits: AMQPSamples.limits, now: AMQPSamples.start) }
    private static func openServer() -> AMQPServerMachine { AMQPSamples.peers().takeServer() }
    private static func openClient() -> AMQPClientMachine { AMQPSamples.peers().takeClient() }

    /// Has sent its protocol header.
    private static func newClient() -> AMQPClientMachine {
        var client = AMQPClientMachine(limits: AMQPSamples.limits, now: AMQPSamples.start), output = ByteBuffer()
        try? client.send(.protocolHeader, into: &output)
        return client
    }

    private static func answer(_ machine: inout AMQPServerMachine, _ event: AMQPEvent, _ output: inout ByteBuffer) {
        AMQPSamples.answer(&machine, event, &output)
    }

    private static func answer(_ machine: inout AMQPClientMachine, _ event: AMQPEvent, _ output: inout ByteBuffer) {
        AMQPSamples.answer(&machine, event, &output)
    }

    /// The whole against pieces of a few sizes.
    @discardableResult
    private func splitsAgree<Machine: ProtocolMachine & ~Copyable>(
        _ bytes: [UInt8], sizes: [Int] = [1, 5, 64, 4096], _ make: () -> Machine, answer: (inout Machine, Machine.Event, inout ByteBuffer) -> Void
    ) -> Observed<Machine.Event.Owned> {
        let whole = observe(make, bytes, pieces: bytes.count, answer: answer)
        for size in sizes {
            let cut = observe(make, bytes, pieces: size, answer: answer)
            #expect(cut.events == whole.events && cut.output == whole.output && cut.violation == whole.violation, "\(bytes) in pieces of \(size)")
            #expect(cut.keptMax <= Self.keptMax)
        }
        return whole
    }

    @Test("Any split of a client's bytes gives the server the same events and the same output", arguments: 0..<60)
    func serverSplits(seed: UInt64) throws {
        var samples = AMQPSamples(seed: seed)
        let stream = try samples.clientStream(count: 8)
        let whole = splitsAgree(stream, Self.openServer, answer: Self.answer)
        #expect(whole.violation == nil && whole.events.count >= 10)
        for _ in 0..<6 { splitsAgree(MQTTSamples.mutated(stream, &samples.rng), sizes: [1, 64], Self.openServer, answer: Self.answer) }
    }

    @Test("Any split of a server's bytes gives the client the same events and the same output", arguments: 0..<60)
    func clientSplits(seed: UInt64) throws {
        var samples = AMQPSamples(seed: seed)
        let stream = try samples.serverStream(count: 8)
        let whole = splitsAgree(stream, Self.openClient, answer: Self.answer)
        #expect(whole.violation == nil && whole.events.count >= 10)
        for _ in 0..<6 { splitsAgree(MQTTSamples.mutated(stream, &samples.rng), sizes: [1, 64], Self.openClient, answer: Self.answer) }
    }

    @Test("Any split of an opening, whole or damaged, gives the same", arguments: 0..<60)
    func openingSplits(seed: UInt64) {
        var samples = AMQPSamples(seed: seed)
        let client = AMQPSamples.opening(isClients: true), server = AMQPSamples.opening(isClients: false)
        #expect(splitsAgree(client, Self.newServer, answer: Self.answer).events.count == 5)
        #expect(splitsAgree(server, Self.newClient, answer: Self.answer).events.count == 3)
        for _ in 0..<10 {
            splitsAgree(MQTTSamples.mutated(client, &samples.rng), sizes: [1, 7], Self.newServer, answer: Self.answer)
            splitsAgree(MQTTSamples.mutated(server, &samples.rng), sizes: [1, 7], Self.newClient, answer: Self.answer)
        }
    }

    @Test("Each method, cut at any offset: nothing is thrown, told, said or consumed", arguments: AMQPMethodID.allCases)
    func truncated(id: AMQPMethodID) throws {
        var samples = AMQPSamples(seed: UInt64(id.rawValue))
        guard let (bytes, isServers) = try encoded(id, &samples) else { return }
        for count in 0..<bytes.count {
            let prefix = Array(bytes.prefix(count))
            let seen = isServers ? observe(Self.openClient, prefix, pieces: count) : observe(Self.openServer, prefix, pieces: count)
            // Content in pieces: what is whole is told.
            #expect(seen.violation == nil && seen.output == [] && (seen.events == [] || id.hasContent && bytes.count > 4096), "\(count) bytes of \(bytes)")
        }
    }

    /// A method on an open channel, by whoever may send it; `nil`: it belongs to the opening, or ends something.
    private func encoded(_ id: AMQPMethodID, _ samples: inout AMQPSamples) throws -> (bytes: [UInt8], isServers: Bool)? {
        var output = ByteBuffer()
        let channel: UInt16 = id.classID == AMQPMethodID.connectionOpen.classID ? 0 : 1
        let method = try samples.method(id)
        let message: AMQPOutgoing =
            id.hasContent
            ? .content(channel: channel, method, properties: samples.properties(), body: samples.bytes()) : .method(channel: channel, method)
        var client = Self.openClient(), server = Self.openServer()
        if (try? client.send(message, into: &output)) != nil { return (output.span.array, false) }
        if (try? server.send(message, into: &output)) != nil { return (output.span.array, true) }
        return nil
    }

    @Test("The opening, cut at any offset: nothing is thrown")
    func truncatedOpening() {
        for (bytes, isClients) in [(AMQPSamples.opening(isClients: true), true), (AMQPSamples.opening(isClients: false), false)] {
            for count in 0..<bytes.count {
                let prefix = Array(bytes.prefix(count))
                let violation =
                    isClients
                    ? observe(Self.newServer, prefix, pieces: count, answer: Self.answer).violation
                    : observe(Self.newClient, prefix, pieces: count, answer: Self.answer).violation
                #expect(violation == nil, "\(count) bytes")
            }
        }
    }

    @Test("No bytes trap, and any split of them gives the same", arguments: 0..<40)
    func noBytesTrap(seed: UInt64) {
        var samples = AMQPSamples(seed: seed)
        for _ in 0..<80 {
            var bytes = samples.bytes(atMost: 24)
            if samples.flag() {
                // A frame around them, mostly of a method that exists.
                let id = (AMQPMethodID.allCases.randomElement(using: &samples.rng) ?? .basicAck).rawValue
                if samples.flag() { bytes = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: id >> $0) } + bytes }
                let type: UInt8 = [1, 1, 2, 3, 8].randomElement(using: &samples.rng) ?? 1
                bytes = [type, 0, UInt8.random(in: 0...3, using: &samples.rng), 0, 0, 0, UInt8(bytes.count)] + bytes + [0xCE]
            }
            splitsAgree(bytes, sizes: [1, 7], Self.openServer, answer: Self.answer)
            splitsAgree(bytes, sizes: [1, 7], Self.openClient, answer: Self.answer)
            splitsAgree(bytes, sizes: [1, 7], Self.newServer, answer: Self.answer)
            splitsAgree(bytes, sizes: [1, 7], Self.newClient, answer: Self.answer)
        }
    }

    @Test("What a client encodes, a server decodes, and the other way round", arguments: 0..<300)
    func roundTrips(seed: UInt64) throws {
        var samples = AMQPSamples(seed: seed)
        for isClients in [true, false] {
            let message = try samples.message(isClients: isClients)
            var client = Self.openClient(), server = Self.openServer(), output = ByteBuffer()
            if isClients { try client.send(message, into: &output) } else { try server.send(message, into: &output) }
            let bytes = output.span.array
            let seen = isClients ? observe(Self.openServer, bytes, pieces: bytes.count) : observe(Self.openClient, bytes, pieces: bytes.count)
            #expect(seen.violation == nil && joined(seen.events) == message)
        }
    }

    @Test("Each method of the opening comes as it was sent", arguments: 0..<50)
    func openingRoundTrips(seed: UInt64) throws {
        var samples = AMQPSamples(seed: seed)
        let start = try samples.method(.connectionStart), startOk = try samples.method(.connectionStartOk), open = try samples.method(.connectionOpen)
        var client = Self.newClient(), server = Self.newServer(), output = ByteBuffer()
        func tell<Machine: ProtocolMachine & ~Copyable>(_ machine: inout Machine, _ bytes: [UInt8]) throws -> Machine.Event.Owned? {
            var input = ByteReader(bytes.span), answers = ByteBuffer()
            return try machine.nextEvent(from: &input, into: &answers)?.owned(in: bytes.span)
        }
        let header = try tell(&server, Array("AMQP".utf8) + [0, 0, 9, 1])
        try server.send(.method(channel: 0, start), into: &output)
        let first = try tell(&client, output.span.array)
        output.removeAll()
        try client.send(.method(channel: 0, startOk), into: &output)
        let second = try tell(&server, output.span.array)
        output.removeAll()
        try server.send(.method(channel: 0, server.tune), into: &output)
        let third = try tell(&client, output.span.array)
        output.removeAll()
        try client.send(.method(channel: 0, .connectionTuneOk(.init(channelMax: 9, frameMax: 4096, heartbeat: 7))), into: &output)
        let fourth = try tell(&server, output.span.array)
        output.removeAll()
        try client.send(.method(channel: 0, open), into: &output)
        let fifth = try tell(&server, output.span.array)
        let tune = server.tune
        #expect(header == .protocolHeader && first == .method(channel: 0, start) && second == .method(channel: 0, startOk))
        #expect(third == .method(channel: 0, tune) && fifth == .method(channel: 0, open))
        #expect(fourth == .method(channel: 0, .connectionTuneOk(.init(channelMax: 9, frameMax: 4096, heartbeat: 7))))
    }

    /// One message again, of one content or of its pieces.
    private func joined(_ events: [AMQPEvent.Owned]) -> AMQPOutgoing? {
        guard let first = events.first else { return nil }
        switch first {
        case .content(let channel, let method, let header, let body) where events.count == 1 && header.bodySize == body.count:
            return .content(channel: channel, method, properties: header.properties, body: body)
        case .method(let channel, let method) where events.count == 1: return .method(channel: channel, method)
        case .method(let channel, let method):
            guard case .header(channel, let header) = events[1] else { return nil }
            var body: [UInt8] = []
            for event in events.dropFirst(2) {
                guard case .body(channel, let piece, let remaining) = event, UInt64(body.count + piece.count) + remaining == header.bodySize else { return nil }
                body += piece
            }
            return header.bodySize == body.count ? .content(channel: channel, method, properties: header.properties, body: body) : nil
        default: return nil
        }
    }

    @Test("A message comes as one content exactly when its body fits into a frame, and is the same when a heartbeat parts it", arguments: 0..<150)
    func wholeAndParted(seed: UInt64) throws {
        var samples = AMQPSamples(seed: seed)
        for isClients in [true, false] {
            let body = samples.body()
            let message = AMQPOutgoing.content(
                channel: 700, try samples.method(isClients ? .basicPublish : .basicDeliver), properties: samples.properties(), body: body)
            var client = Self.openClient(), server = Self.openServer(), output = ByteBuffer()
            if isClients { try client.send(message, into: &output) } else { try server.send(message, into: &output) }
            let bytes = output.span.array
            let end = 8 + (Int(bytes[5]) << 8 | Int(bytes[6]))
            let parted = Array(bytes[..<end]) + [8, 0, 0, 0, 0, 0, 0, 0xCE] + Array(bytes[end...])
            let whole = isClients ? observe(Self.openServer, bytes, pieces: bytes.count) : observe(Self.openClient, bytes, pieces: bytes.count)
            let cut = isClients ? observe(Self.openServer, parted, pieces: 99) : observe(Self.openClient, parted, pieces: 99)
            #expect((whole.events.count == 1) == (body.count <= 4088))
            #expect(cut.events.count >= 3 && cut.events[1] == .heartbeat)
            let pieces = cut.events.filter { $0 != .heartbeat }
            #expect(joined(whole.events) == message)
            // A message without a body is over with its header.
            #expect(joined(pieces) == message)
        }
    }

    @Test("Tables are read as they were written, and damaged ones end early", arguments: 0..<200)
    func tables(seed: UInt64) {
        var samples = AMQPSamples(seed: seed)
        let table = samples.table(depth: 5)
        let encoded = table.encoded
        #expect(AMQPTable(encoded: encoded) == table)
        for _ in 0..<20 {
            let damaged = MQTTSamples.mutated(encoded, &samples.rng)
            let read = AMQPTable(encoded: damaged)
            #expect(read.fields.count <= damaged.count)
        }
    }

    @Test("A wake after the deadline violates exactly once; one before it does nothing")
    func wakesOnce() {
        func wake<Machine: ProtocolMachine & ~Copyable>(_ machine: inout Machine, at now: Instant, _ output: inout ByteBuffer) -> Bool {
            do {
                try machine.wake(at: now, into: &output)
                return false
            } catch { return true }
        }
        func check<Machine: ProtocolMachine & ~Copyable>(_ machine: consuming Machine, end: Instant) {
            var output = ByteBuffer()
            let deadline = machine.deadline
            let early = wake(&machine, at: Instant(nanoseconds: deadline.nanoseconds - 1), &output)
            let silent = output.isEmpty
            #expect(!early && silent)
            let first = wake(&machine, at: end, &output)
            let said = output.count
            let next = machine.deadline
            let second = wake(&machine, at: end, &output)
            let saidMore = output.count
            #expect(first && !second && next == .never && said == saidMore)
        }
        let timeout = AMQPSamples.start + AMQPSamples.limits.openTimeout
        check(Self.newServer(), end: timeout)
        check(Self.newClient(), end: timeout)
        check(Self.openServer(), end: AMQPSamples.start.advanced(bySeconds: 120))
        check(Self.openClient(), end: AMQPSamples.start.advanced(bySeconds: 120))
    }

    @Test("A machine takes 144 bytes at most, an event 104")
    func sizes() {
        #expect(MemoryLayout<AMQPServerMachine>.size <= 144)
        #expect(MemoryLayout<AMQPClientMachine>.size <= 144)
        #expect(MemoryLayout<AMQPEvent?>.size <= 104)
    }
}
