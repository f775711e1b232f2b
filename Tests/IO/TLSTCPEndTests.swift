import Glibc
import MartletBytes
import MartletEventLoop
import MartletNet
import MartletSockets
import Synchronization
import Testing

/// How TLS over TCP begins and ends when the other side does not do its part.
@Suite(.serialized, .timeLimit(.minutes(10))) struct TLSTCPEndTests {
    private let certificates = TestCertificates.shared

    private func client() -> TLSClientOptions {
        var options = TLSClientOptions()
        options.trust = .file(certificates.path("ca.pem"))
        return options
    }

    /// What a server was told of its connections, and how long its end took.
    private final class Told: Sendable {
        private let errors = Mutex<[NetError]>([])
        func add(_ error: any Error) { if let error = error as? NetError { errors.withLock { $0.append(error) } } }
        var all: [NetError] { errors.withLock { $0 } }
        func become(_ count: Int) async throws { while all.count < count { try await Task.sleep(for: .milliseconds(5)) } }
    }

    private func withServer(
        _ options: StreamOptions = StreamOptions(), loops: Int = 1, told: Told = Told(),
        handler: @escaping @Sendable (TCPConnection) async throws -> Void = { connection in
            for try await chunk in connection.inbound { try await connection.write(chunk) }
        },
        _ body: (SocketAddress) async throws -> Void
    ) async throws {
        let tls = TLSServerOptions(identity: certificates.identity("server"))
        let (addresses, ready) = AsyncStream.makeStream(of: SocketAddress.self)
        try await withThrowingTaskGroup(of: Void.self) { [tls] group in
            group.addTask {
                try await TCP.listen(on: "127.0.0.1:0", tls: tls, options: options, loops: loops, ready: { ready.yield($0) }, failed: { told.add($1) }, handler)
            }
            try await body(try #require(await addresses.first { _ in true }))
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    private static let clientHello: [UInt8] = [22, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]

    @Test func `who says nothing, too little, or a byte now and then is cut off when the time for the handshake is over`() async throws {
        var options = StreamOptions()
        options.handshakeTimeout = .milliseconds(400)
        let told = Told()
        try await withServer(options, told: told) { address in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for kind in 0..<3 {
                    group.addTask {
                        let start = ContinuousClock.now
                        // Whether it is the end or a reset that it sees depends on what it has said.
                        try? await TCP.withConnection(to: "\(address)") { connection in
                            if kind == 1 { try await connection.write(Self.clientHello) }
                            async let drip: Void = {
                                for byte in Self.clientHello + [UInt8](repeating: 0, count: 500) where kind == 2 {
                                    try await connection.write([byte])
                                    try await Task.sleep(for: .milliseconds(20))
                                }
                            }()
                            while try await connection.read(timeout: .seconds(200)) != nil {}
                            try await drip
                        }
                        #expect(ContinuousClock.now - start < .seconds(150))
                    }
                }
                try await group.waitForAll()
            }
            try await told.become(3)
            #expect(told.all.map(\.kind) == [.timedOut, .timedOut, .timedOut])
            #expect(told.all.allSatisfy { $0.phase == .handshake && $0.elapsed >= .milliseconds(400) })
        }
    }

    @Test func `a reset and an end in the middle of the handshake are the server's to know`() async throws {
        let told = Told()
        try await withServer(told: told) { address in
            for isReset in [true, false] {
                try await TCP.withConnection(to: "\(address)") { connection in
                    try await connection.write(Self.clientHello)
                    try await Task.sleep(for: .milliseconds(50))
                    if isReset { connection.abort() }
                }
                try await told.become(isReset ? 1 : 2)
            }
            #expect(told.all.map(\.kind) == [.reset, .tls])
            #expect(told.all.allSatisfy { $0.phase == .handshake })
            try await TCP.withConnection(to: "localhost:\(address.port)", tls: client()) { connection in
                try await connection.write("well")
                #expect(try await connection.read(timeout: .seconds(10)) == Array("well".utf8))
            }
        }
    }

    @Test func `a server that ends in the middle of handshakes does not wait for them`() async throws {
        let told = Told()
        var visitors: [Visitor] = []
        try await withServer(loops: 2, told: told) { address in
            for index in 0..<50 { visitors.append(try Visitor(to: address, says: index % 2 == 0 ? Self.clientHello : [])) }
            // Connections are accepted in their order and dealt out in turn: behind these two, one on each loop, all others are.
            for _ in 0..<2 {
                try await TCP.withConnection(to: "localhost:\(address.port)", tls: client()) { connection in
                    try await connection.write("well")
                    #expect(try await connection.read(timeout: .seconds(10)) == Array("well".utf8))
                }
            }
        }
        #expect(told.all.count == visitors.count && told.all.allSatisfy { $0.kind == .cancelled && $0.phase == .handshake })
        for visitor in visitors { #expect(visitor.seesEnd()) }
    }

    /// A plain connection that stays.
    private final class Visitor {
        private var connection: BlockingConnection
        init(to address: SocketAddress, says bytes: [UInt8]) throws {
            connection = try Blocking.TCP.connect(to: "\(address)")
            try connection.write(bytes)
        }
        /// Whether the server has ended or reset it.
        func seesEnd() -> Bool {
            do throws(NetError) { return try connection.read(timeout: .seconds(5)) == nil } catch { return error.kind == .reset }
        }
    }

    /// Reads nothing for a while, then takes all and leaves as programs do that know nothing of close_notify.
    private final class RudeChannel: Channel {
        private var left: Int
        private var readsFrom: Instant
        init(_ count: Int, after delay: Duration, on loop: EventLoop) {
            left = count
            readsFrom = loop.now + delay
            super.init()
        }
        override var deadline: Instant { readsFrom }
        override func wake(on loop: EventLoop) {
            readsFrom = .never
            loop.pauseReading(slot, false)
        }
        override func secured(on loop: EventLoop) { loop.pauseReading(slot, true) }
        override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
            left -= bytes.count
            return bytes.count
        }
        override func receiveEnd(on loop: EventLoop) { loop.close(self, .finished) }
    }

    @Test func `close succeeds when the peer has everything, and does not ask for its close_notify`() async throws {
        let context = try TLSContext(server: TLSServerOptions(identity: certificates.identity("server")))
        var options = StreamOptions()
        (options.sendBuffer, options.receiveBuffer) = (1 << 20, 4_096)
        let socket = try BoundSocket(try #require(SocketAddress("127.0.0.1", port: 0)), options: options)
        let loop = EventLoop(), count = 200_000
        let thread = loop.start { loop in
            Listener(socket) { descriptor, _ in
                loop.add(RudeChannel(count, after: .milliseconds(300), on: loop), Transport(descriptor: descriptor, layer: context.makeLayer()))
            }.open(on: loop)
            return nil
        }
        for _ in 0..<5 {
            try await TCP.withConnection(to: "localhost:\(socket.address.port)", tls: client(), options: options) { connection in
                try await connection.write([UInt8](repeating: 7, count: count))
            }
        }
        loop.execute { loop in for channel in loop.channels(of: Channel.self) { loop.close(channel, .stopping) } }
        loop.stop()
        thread.join()
    }

    @Test func `connecting that is cancelled at any moment ends at once and leaves no descriptor`() async {
        await #expect(processExitsWith: .success) {
            let tests = TLSTCPEndTests()
            try await tests.withServer(loops: 2) { address in
                let place = "localhost:\(address.port)", tls = tests.client()
                try await TCP.withConnection(to: place, tls: tls) { _ in }
                let before = Self.descriptorCount
                for round in 0..<300 {
                    let task = Task {
                        try await TCP.withConnection(to: place, tls: tls) { connection in
                            try await connection.write("x")
                            while try await connection.read() != nil {}
                        }
                    }
                    try await Task.sleep(for: .microseconds(round * 40))
                    task.cancel()
                    let error = await #expect(throws: NetError.self) { try await task.value }
                    #expect(error?.kind == .cancelled, "round \(round): \(error.map { "\($0)" } ?? "")")
                }
                for _ in 0..<1_000 where Self.descriptorCount > before + 16 { try await Task.sleep(for: .milliseconds(10)) }
                #expect(Self.descriptorCount <= before + 16)
            }
        }
    }

    private static var descriptorCount: Int {
        guard let directory = opendir("/proc/self/fd") else { return .max }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        return count
    }
}
