import MartletBytes
import MartletEventLoop
import MartletMQTTProtocol
import MartletNet
import MartletSockets
import Synchronization
import Testing

/// One service under each of the four models: whatever it waits in, a client cannot tell.
@Suite(.serialized) struct ServerModelTests {
    /// Lines come back; "quit" is answered and ends the client.
    private static let lines = Service({ FramingMachine(.lines, limits: FramingLimits(max: 20)) }) { event, bytes, machine, output in
        switch event {
        case .frame(let range):
            let line = bytes.at(range)
            if line.text == "quit" {
                try machine.send(Array("bye".utf8), into: &output)
                throw Goodbye()
            }
            try machine.send(line, into: &output)
        }
    }
    private static let echo = Service({ FramingMachine(.bytes) }) { event, bytes, machine, output in
        switch event {
        case .frame(let range): try machine.send(bytes.at(range), into: &output)
        }
    }
    private static let patience = Duration.seconds(10)

    @Test(arguments: ServerModel.allCases)
    func `three clients are answered, at once or one after another`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.lines)
        var first = try server.connect(), second = try server.connect(), third = try server.connect()
        try first.write("one\n")
        try second.write("two\n")
        try third.write("three\n")
        if model == .blocking {
            let one = try first.readLine(timeout: Self.patience)
            #expect(one == "one")
            // The first is still there, so nobody else is served.
            #expect(throws: NetError.self) { _ = try second.readLine(timeout: .milliseconds(100)) }
            first.close()
            let two = try second.readLine(timeout: Self.patience)
            second.close()
            let three = try third.readLine(timeout: Self.patience)
            #expect([two, three] == ["two", "three"])
        } else {
            let three = try third.readLine(timeout: Self.patience), two = try second.readLine(timeout: Self.patience)
            let one = try first.readLine(timeout: Self.patience)
            #expect([one, two, three] == ["one", "two", "three"])
        }
        #expect(server.end())
    }

    @Test(arguments: ServerModel.allCases)
    func `bytes in pieces and their end come back whole`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.echo)
        var client = try server.connect()
        let sent = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for start in stride(from: 0, to: sent.count, by: 9_973) {
            try client.write(Array(sent[start..<min(start + 9_973, sent.count)]), timeout: Self.patience)
        }
        client.finishWriting()
        var got: [UInt8] = []
        while let bytes = try client.read(timeout: Self.patience) { got += bytes }
        #expect(got == sent)
        #expect(server.end())
        #expect(server.reasons == [.ended])
    }

    @Test(arguments: ServerModel.allCases)
    func `a client that reads late gets all of it`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.echo)
        let peer = try server.connect()
        // More than the kernel's buffers hold: the writer needs a thread of its own, as the server stops reading.
        let count = 20 << 20
        let descriptor = peer.local
        #expect(descriptor != nil)
        let received = try Self.exchange(count, over: peer)
        #expect(received == count)
        #expect(server.end())
    }

    /// Writes and reads in turn, as much as goes without waiting.
    private static func exchange(_ count: Int, over peer: consuming BlockingConnection) throws -> Int {
        let piece = [UInt8](repeating: 120, count: 64 << 10)
        var sent = 0, received = 0
        while received < count {
            if sent < count, sent - received < 4 << 20 {
                try peer.write(piece, timeout: patience)
                sent += piece.count
            } else if let bytes = try peer.read(timeout: patience) {
                received += bytes.count
            } else {
                break
            }
        }
        return received
    }

    /// The models that read on while they write.
    @Test(arguments: [ServerModel.polling, .loop])
    func `a client that has ended and reads late gets all of it`(_ model: ServerModel) throws {
        var small = StreamOptions()
        (small.sendBuffer, small.receiveBuffer) = (16 << 10, 16 << 10)
        let server = try RunningModel(model, Self.echo, sockets: small)
        var client = try server.connect(small)
        let count = 600_000
        try client.write([UInt8](repeating: 1, count: count), timeout: Self.patience)
        client.finishWriting()
        // Longer than a goodbye may take (`linger`), and shorter than a client may take nothing (`stallTimeout`).
        DetachedThread.sleep(.milliseconds(2_500))
        let got = try client.read(exactly: count, timeout: Self.patience)
        #expect(got?.count == count)
        let end = try client.read(timeout: Self.patience)
        #expect(end == nil)
        #expect(server.end())
        #expect(server.reasons == [.ended])
    }

    @Test func `a client whose layer does not open in time is cut off, also one that says something now and then`() throws {
        var options = ServeOptions()
        options.stallTimeout = .milliseconds(300)
        options.layer = { StreamLayer() }
        let server = try RunningModel(.loop, Self.echo, options)
        var silent = try server.connect()
        let slow = try server.connect()
        for _ in 0..<40 where server.reasons.count < 2 {
            try? slow.write("x")
            DetachedThread.sleep(.milliseconds(50))
        }
        #expect(server.reasons == [.failed(110), .failed(110)])
        #expect((try? silent.read(timeout: Self.patience)) == nil)
        #expect(server.end())
    }

    @Test(arguments: ServerModel.allCases)
    func `a client that breaks the protocol is the only one that goes`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.lines)
        // Under `blocking` nobody else is served while the first is there: it comes afterwards.
        var beside = try server.connect()
        if model == .blocking { beside.finishWriting() } else { try beside.write("a\n") }
        let before = try beside.readLine(timeout: Self.patience)
        #expect(before == (model == .blocking ? nil : "a"))
        var bad = try server.connect()
        try bad.write("fine\nthis line is far too long\n")
        let last = try bad.readLine(timeout: Self.patience), end = try bad.readLine(timeout: Self.patience)
        #expect(last == "fine" && end == nil)
        bad.close()
        var next = try server.connect()
        try next.write("b\n")
        let answer = try next.readLine(timeout: Self.patience)
        #expect(answer == "b")
        if model != .blocking {
            try beside.write("c\n")
            let after = try beside.readLine(timeout: Self.patience)
            #expect(after == "c")
        }
        next.close()
        beside.close()
        #expect(server.end())
        #expect(server.reasons.contains(.refused("a frame of over 20 bytes")))
    }

    @Test(arguments: ServerModel.allCases)
    func `a handler says goodbye, and its last words arrive`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.lines)
        var client = try server.connect()
        try client.write("hello\nquit\nand what is never read\n")
        let lines = [try client.readLine(timeout: Self.patience), try client.readLine(timeout: Self.patience), try client.readLine(timeout: Self.patience)]
        #expect(lines == ["hello", "bye", nil])
        client.close()
        #expect(server.end())
        #expect(server.reasons == [.finished])
    }

    @Test(arguments: ServerModel.allCases)
    func `a server that has returned has told every client's end`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.lines, pause: .milliseconds(50))
        var client = try server.connect()
        try client.write("quit\n")
        _ = try client.readLine(timeout: Self.patience)
        client.close()
        #expect(server.end())
        #expect(server.reasons == [.finished])
    }

    @Test(arguments: ServerModel.allCases)
    func `a client that resets harms nobody`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.echo)
        for _ in 0..<20 {
            let client = try server.connect()
            // Closed with the answer unread: the system resets the connection.
            try client.write([UInt8](repeating: 1, count: 50_000), timeout: Self.patience)
            client.close()
        }
        var client = try server.connect()
        try client.write("still there")
        let answer = try client.read(exactly: 11, timeout: Self.patience)
        #expect(answer.map { String(decoding: $0, as: UTF8.self) } == "still there")
        client.close()
        #expect(server.end())
        #expect(server.reasons.count == 21)
    }

    @Test(arguments: ServerModel.allCases)
    func `a client that does not read is cut off`(_ model: ServerModel) throws {
        var options = ServeOptions()
        options.stallTimeout = .milliseconds(200)
        let server = try RunningModel(model, Self.echo, options)
        let client = try server.connect()
        #expect(throws: NetError.self) {
            for _ in 0..<2_000 { try client.write([UInt8](repeating: 1, count: 64 << 10), timeout: Self.patience) }
        }
        client.close()
        #expect(server.end())
        #expect(server.reasons == [.failed(110)])
    }

    @Test(arguments: ServerModel.allCases)
    func `any protocol's machine is served, its deadlines too`(_ model: ServerModel) throws {
        let mqtt = Service({
            var limits = MQTTLimits()
            limits.connectTimeout = .milliseconds(150)
            return MQTTServerMachine(limits: limits, now: Instant(nanoseconds: ContinuousClock.now.durationSinceStart))
        }) { event, _, machine, output in
            if case .connect = event { try machine.send(.connack(MQTTConnack()), into: &output) }
        }
        let server = try RunningModel(model, mqtt)
        var silent = try server.connect()
        let end = try silent.read(timeout: Self.patience)
        #expect(end == nil)
        silent.close()
        var client = try server.connect()
        try client.write([0x10, 13, 0, 4, 77, 81, 84, 84, 4, 2, 0, 60, 0, 1, 97, 0xC0, 0])
        let answer = try client.read(exactly: 6, timeout: Self.patience)
        #expect(answer == [0x20, 2, 0, 0, 0xD0, 0])
        client.close()
        #expect(server.end())
        #expect(server.reasons.contains(.refused("the connection was not opened in time")))
    }

    @Test(arguments: ServerModel.allCases)
    func `stopping ends clients that wait, and frees the port`(_ model: ServerModel) throws {
        let server = try RunningModel(model, Self.echo)
        var client = try server.connect()
        try client.write("x")
        let answer = try client.read(timeout: Self.patience)
        #expect(answer == [120])
        #expect(server.end())
        let end = try client.read(timeout: Self.patience)
        #expect(end == nil)
        #expect(throws: NetError.self) { _ = try server.connect() }
    }

    @Test func `clients of several loops are answered`() throws {
        var options = ServeOptions()
        options.loopCount = 3
        let server = try RunningModel(.loop, Self.lines, options)
        for index in 0..<6 {
            var client = try server.connect()
            try client.write("\(index)\n")
            let answer = try client.readLine(timeout: Self.patience)
            #expect(answer == "\(index)")
            client.close()
        }
        #expect(server.end())
        #expect(server.reasons.count == 6)
    }
}

extension ContinuousClock.Instant {
    /// The monotonic clock, as event loops and drivers read it.
    fileprivate var durationSinceStart: Int64 { LinuxKernel().now().nanoseconds }
}

/// A server of one model on a thread of its own.
private final class RunningModel: Sendable {
    private let address: SocketAddress
    private let stop = ServerStop(grace: .milliseconds(500))
    private let hasEnded = Atomic<Bool>(false)
    private let log = Mutex<[CloseReason]>([])

    init<Machine: ProtocolMachine & ~Copyable>(
        _ model: ServerModel, _ service: Service<Machine>, _ options: ServeOptions = ServeOptions(), sockets: StreamOptions = StreamOptions(),
        pause: Duration = .zero
    ) throws {
        let socket = try BoundSocket(try #require(SocketAddress("127.0.0.1", port: 0)), options: sockets)
        address = socket.address
        var options = options
        options.clientChanged = { [weak self] _, reason in
            guard let reason else { return }
            DetachedThread.sleep(pause)
            self?.log.withLock { $0.append(reason) }
        }
        let changed = options
        let error = DetachedThread.start(stackSize: 1 << 20) { [self, stop] in
            service.serve(model, on: socket, changed, until: stop)
            hasEnded.store(true, ordering: .releasing)
        }
        try #require(error == 0)
    }

    func connect(_ options: StreamOptions = StreamOptions()) throws(NetError) -> BlockingConnection {
        try Blocking.TCP.connect(to: "\(address)", options: options, timeout: .seconds(5))
    }

    /// Why clients went, in order.
    var reasons: [CloseReason] { log.withLock { $0 } }

    /// Stops it. False: it has not returned within ten seconds.
    func end() -> Bool {
        stop.stop()
        for _ in 0..<10_000 where !hasEnded.load(ordering: .acquiring) { DetachedThread.sleep(.milliseconds(1)) }
        return hasEnded.load(ordering: .acquiring)
    }
}
