import Glibc
import MartletSockets
import Synchronization
import Testing

/// How connections end, and what waits for them, over loopback.
@Suite(.timeLimit(.minutes(10))) struct TCPEndTests {
    private static let size = 10 << 20

    /// A pattern of 4 KiB and a bit, so that a piece that is lost, doubled or elsewhere shows.
    private static func bytes(_ count: Int, seed: Int) -> [UInt8] {
        let piece = (0..<4_099).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 5) ^ seed) }
        var bytes: [UInt8] = []
        while bytes.count < count { bytes += piece }
        return bytes
    }

    private static func all(of connection: TCPConnection) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await chunk in connection.inbound { bytes += chunk }
        return bytes
    }

    @Test func `half-close: 10 MB one way after the other have ended lose nothing`() async throws {
        let question = Self.bytes(Self.size, seed: 1), answer = Self.bytes(Self.size, seed: 2)
        let isRight = try await withServer { connection in
            let heard = try await Self.all(of: connection)
            try await connection.write(heard == question ? answer : [0])
        } _: { address in
            try await TCP.withConnection(to: address) { connection in
                try await connection.write(question)
                try await connection.finishWriting()
                return try await Self.all(of: connection) == answer
            }
        }
        #expect(isRight)
    }

    @Test func `both sides write 10 MB and end while they read`() async throws {
        let mine = Self.bytes(Self.size, seed: 3), theirs = Self.bytes(Self.size, seed: 4)
        let serverHeard = Mutex(false)
        let clientHeard = try await withServer { connection in
            async let heard = Self.all(of: connection)
            try await connection.write(theirs)
            try await connection.finishWriting()
            let isRight = try await heard == mine
            serverHeard.withLock { $0 = isRight }
        } _: { address in
            try await TCP.withConnection(to: address) { connection in
                async let heard = Self.all(of: connection)
                try await connection.write(mine)
                try await connection.finishWriting()
                return try await heard == theirs
            }
        }
        #expect(clientHeard)
        #expect(serverHeard.withLock { $0 })
    }

    @Test func `leaving the scope sends everything first`() async throws {
        let sent = Self.bytes(Self.size, seed: 5)
        let (heard, gives) = AsyncStream.makeStream(of: Bool.self)
        try await withServer { connection in
            // The client has left long before this side begins to read.
            try await Task.sleep(for: .milliseconds(50))
            let isRight = try await Self.all(of: connection) == sent
            gives.yield(isRight)
        } _: { address in
            try await TCP.withConnection(to: address) { try await $0.write(sent) }
            #expect(await heard.first { _ in true } == true)
        }
    }

    @Test func `nothing may be written after finishWriting, or used after the scope`() async throws {
        try await withEchoServer { address in
            let kept = try await TCP.withConnection(to: address) { connection in
                try await connection.finishWriting()
                let error = await #expect(throws: NetError.self) { try await connection.write("x") }
                #expect(error?.kind == .closed)
                #expect(try await connection.read() == nil)
                return connection
            }
            for phase in [NetError.Phase.read, .write] {
                let error = await #expect(throws: NetError.self) { if phase == .read { _ = try await kept.read() } else { try await kept.write("x") } }
                #expect(error?.kind == .closed && error?.phase == phase)
            }
        }
    }

    @Test func `a writer waits for a peer that does not read, until its deadline`() async throws {
        let (gate, opens) = AsyncStream.makeStream(of: Void.self)
        try await withServer { connection in
            for await _ in gate { break }
            _ = try await Self.all(of: connection)
        } _: { address in
            try await TCP.withConnection(to: address) { connection in
                let chunk = [UInt8](repeating: 1, count: 1 << 16)
                var written = 0
                let error = await #expect(throws: NetError.self) {
                    while written < 1 << 30 {
                        try await connection.write(chunk, timeout: .milliseconds(200))
                        written += chunk.count
                    }
                }
                #expect(error?.kind == .timedOut && error?.phase == .write)
                #expect(error.map { $0.elapsed >= .milliseconds(200) } == true)
                #expect(written < 64 << 20)
                opens.yield()
            }
        }
    }

    @Test func `a reader that stops holds the peer back`() async throws {
        let sentCount = Atomic(0)
        var options = StreamOptions()
        options.receiveLimit = 1 << 16
        try await withServer { connection in
            let chunk = [UInt8](repeating: 1, count: 1 << 16)
            for _ in 0..<1_000 {
                try await connection.write(chunk)
                sentCount.wrappingAdd(chunk.count, ordering: .relaxed)
            }
        } _: { address in
            try await TCP.withConnection(to: address, options: options) { connection in
                try await Task.sleep(for: .milliseconds(300))
                // What the kernel's buffers and ours hold, and no more.
                #expect(sentCount.load(ordering: .relaxed) < 32 << 20)
                #expect(try await Self.all(of: connection).count == 1_000 << 16)
            }
        }
    }

    @Test func `a read ends at its deadline, and the next one gets what comes`() async throws {
        try await withEchoServer { address in
            try await TCP.withConnection(to: address) { connection in
                let start = ContinuousClock.now
                let error = await #expect(throws: NetError.self) { try await connection.read(timeout: .milliseconds(80)) }
                #expect(error?.kind == .timedOut && error?.phase == .read)
                #expect(ContinuousClock.now - start >= .milliseconds(80))
                #expect(error.map { $0.elapsed >= .milliseconds(80) } == true)
                try await connection.write("late")
                #expect(try await connection.read(timeout: .seconds(5)) == Array("late".utf8))
            }
        }
    }

    @Test func `reads that are cancelled before they begin all end, also two at once`() async throws {
        try await withEchoServer { address in
            try await TCP.withConnection(to: address) { connection in
                for _ in 0..<5_000 {
                    await withTaskGroup(of: Void.self) { group in
                        for _ in 0..<4 { group.addTask { _ = try? await connection.read() } }
                        group.cancelAll()
                    }
                }
                try await connection.write("on")
                #expect(try await connection.read(timeout: .seconds(10)) == Array("on".utf8))
            }
        }
    }

    @Test func `writes and closes that are cancelled while they wait end at once; what was written still leaves`() async throws {
        let (gate, opens) = AsyncStream.makeStream(of: Void.self), (counts, counted) = AsyncStream.makeStream(of: Int.self)
        var options = StreamOptions()
        (options.sendBuffer, options.receiveBuffer, options.receiveLimit) = (1 << 16, 1 << 16, 1 << 16)
        try await withServer(options: options) { connection in
            for await _ in gate { break }
            counted.yield(try await Self.all(of: connection).count)
        } _: { [options] address in
            let socket = try await TCP.connect(to: address, options: options)
            let connection = socket.connection
            var sent = 0, cancelled = 0
            let chunk = [UInt8](repeating: 1, count: 1 << 16)
            while true {
                sent += chunk.count
                do throws(NetError) { try await connection.write(chunk, timeout: .seconds(1)) } catch { break }
            }
            for round in 0..<500 {
                let write = Task { try await connection.write([2]) }
                sent += 1
                if round % 2 == 0 { await Task.yield() }
                write.cancel()
                let result = await write.result
                if case .failure(let error as NetError) = result, error.kind == .cancelled, error.phase == .write { cancelled += 1 }
            }
            #expect(cancelled == 500)
            opens.yield()
            try await socket.close()
            #expect(await counts.first { _ in true } == sent)
        }
        try await withServer { _ in
            for await _ in gate { break }
        } _: { address in
            try await TCP.withConnection(to: address) { connection in
                try? await connection.write([UInt8](repeating: 1, count: 64 << 20), timeout: .milliseconds(100))
                let start = ContinuousClock.now
                let close = Task { try await connection.close(timeout: .seconds(60)) }
                try await Task.sleep(for: .milliseconds(50))
                close.cancel()
                let error = await #expect(throws: NetError.self) { try await close.value }
                #expect(error?.kind == .cancelled && ContinuousClock.now - start < .seconds(20))
            }
        }
    }

    @Test func `a reset is an error of the read that waits, on either side`() async throws {
        let kinds = Notes()
        try await withServer { connection in
            do throws(NetError) { while try await connection.read() != nil {} } catch { kinds.add(error.kind) }
        } _: { address in
            try await TCP.withConnection(to: address) { connection in
                try await connection.write("x")
                connection.abort()
            }
            while kinds.all.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
        }
        #expect(kinds.all == [.reset])
        try await withServer { connection in
            _ = try await connection.read()
            connection.abort()
        } _: { address in
            let error = await #expect(throws: NetError.self) {
                try await TCP.withConnection(to: address) { connection in
                    try await connection.write("x")
                    _ = try await connection.read()
                }
            }
            #expect(error?.kind == .reset && error?.phase == .read)
        }
    }

    @Test func `refused, no such host, in use, not ours, no place: each its own error`() async throws {
        let free = try await withEchoServer { $0 }
        let refused = await #expect(throws: NetError.self) { try await TCP.withConnection(to: free) { _ in } }
        #expect(refused?.kind == .refused && refused?.phase == .connect && refused?.address == free && refused?.errno == 111)
        #expect("\(try #require(refused))".hasSuffix("; is the server running?"))
        let unknown = await #expect(throws: NetError.self) { try await TCP.withConnection(to: "nobody.invalid:80") { _ in } }
        #expect(unknown?.kind == .unresolvable && unknown?.phase == .resolve)
        let noPlace = await #expect(throws: NetError.self) { try await TCP.withConnection(to: "127.0.0.1") { _ in } }
        #expect(noPlace?.kind == .unresolvable)
        try await withEchoServer { address in
            let inUse = await #expect(throws: NetError.self) { try await TCP.listen(on: address) { _ in } }
            #expect(inUse?.kind == .addressInUse && inUse?.phase == .listen)
        }
        let notOurs = await #expect(throws: NetError.self) { try await TCP.listen(on: "192.0.2.1:0") { _ in } }
        #expect(notOurs?.kind == .addressNotAvailable)
        var options = StreamOptions()
        options.bindAddress = "192.0.2.1"
        let bind = await #expect(throws: NetError.self) { try await TCP.withConnection(to: free, options: options) { _ in } }
        #expect(bind?.kind == .addressNotAvailable && bind?.phase == .bind)
    }

    @Test(.enabled(if: geteuid() != 0, "root may bind any port")) func `a port below 1024 is not everybody's`() async {
        let error = await #expect(throws: NetError.self) { try await TCP.listen(on: "127.0.0.1:81") { _ in } }
        #expect(error?.kind == .permissionDenied)
    }

    @Test func `a cancelled server ends its handlers' waits, and their connections`() async throws {
        let ended = Notes()
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (addresses, ready) = AsyncStream.makeStream(of: SocketAddress.self)
            let (greetings, greeted) = AsyncStream.makeStream(of: Void.self)
            group.addTask {
                try await TCP.listen(on: "127.0.0.1:0", loops: 2, ready: { ready.yield($0) }) { connection in
                    try await connection.write("hello")
                    do throws(NetError) { _ = try await connection.read() } catch { ended.add(error.kind) }
                }
            }
            let address = try #require(await addresses.first { _ in true })
            try await withThrowingTaskGroup(of: Void.self) { clients in
                for _ in 0..<4 {
                    clients.addTask {
                        try await TCP.withConnection(to: "\(address)") { connection in
                            let first = try await connection.read()
                            greeted.yield()
                            let second = try await connection.read()
                            #expect(first == Array("hello".utf8) && second == nil)
                        }
                    }
                }
                for await _ in greetings.prefix(4) {}
                group.cancelAll()
                try await clients.waitForAll()
            }
        }
        #expect(ended.all == [.cancelled, .cancelled, .cancelled, .cancelled])
    }

    @Test(arguments: [false, true]) func `close waits for the peer's confirmation also after the peer has ended`(_ isReset: Bool) async throws {
        let (ends, ended) = AsyncStream.makeStream(of: NetError.Kind?.self)
        let (beginnings, began) = AsyncStream.makeStream(of: Void.self)
        var options = StreamOptions()
        (options.sendBuffer, options.receiveBuffer, options.receiveLimit) = (1 << 20, 4_096, 1)
        let kind = try await withServer(options: options) { connection in
            _ = try await Self.all(of: connection)
            try await connection.write([UInt8](repeating: 1, count: 300_000))
            began.yield()
            do throws(NetError) {
                try await connection.close(timeout: isReset ? .seconds(30) : .milliseconds(500))
                ended.yield(nil)
            } catch { ended.yield(error.kind) }
        } _: { [options] address in
            let socket = try await TCP.connect(to: address, options: options)
            let connection = socket.connection
            try await connection.finishWriting()
            // It does not read: the server's bytes lie in the server's machine.
            for await _ in beginnings { break }
            try await Task.sleep(for: .milliseconds(100))
            if isReset { connection.abort() }
            let kind = await ends.first { _ in true }
            connection.abort()
            return kind
        }
        #expect(kind == (isReset ? .reset : .timedOut))
    }

    @Test func `an owned socket closes when it is dropped, after what was written`() async throws {
        let (heard, gives) = AsyncStream.makeStream(of: [UInt8].self)
        try await withServer(handler: { gives.yield(try await Self.all(of: $0)) }) { address in
            func visit() async throws {
                let socket = try await TCP.connect(to: address)
                try await socket.connection.write("bye")
            }
            try await visit()
            #expect(await heard.first { _ in true } == Array("bye".utf8))
            let socket = try await TCP.connect(to: address)
            try await socket.connection.write("again")
            try await socket.close()
            #expect(await heard.first { _ in true } == Array("again".utf8))
        }
    }
}

/// What handlers noted, in order.
private final class Notes: Sendable {
    private let kinds = Mutex<[NetError.Kind]>([])
    func add(_ kind: NetError.Kind) { kinds.withLock { $0.append(kind) } }
    var all: [NetError.Kind] { kinds.withLock { $0 } }
}
