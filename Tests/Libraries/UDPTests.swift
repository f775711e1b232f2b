import CLinux
import Glibc
import MartletNet
import MartletSockets
import Synchronization
import Testing

/// UDP by tasks, over loopback.
@Suite struct UDPTests {
    static let echo: @Sendable (UDPSocket) async throws -> Void = { socket in
        for try await (datagram, from) in socket { try await socket.send(datagram, to: from) }
    }

    /// Serves `handler` while `body` runs with its address.
    static func serving<Result: Sendable>(
        on place: String = "127.0.0.1:0", options: DatagramOptions = DatagramOptions(),
        _ handler: @escaping @Sendable (UDPSocket) async throws -> Void = echo, _ body: (SocketAddress) async throws -> Result
    ) async throws -> Result {
        let (bound, isBound) = AsyncStream.makeStream(of: SocketAddress.self)
        let server = Task {
            try await UDP.bind(on: place, options: options, ready: { isBound.yield($0) }, handler)
        }
        defer { server.cancel() }
        var iterator = bound.makeAsyncIterator()
        let address = try #require(await iterator.next())
        let result = try await body(address)
        server.cancel()
        do {
            try await server.value
        } catch let error as NetError { #expect(error.kind == .cancelled) }
        return result
    }

    static func failure(_ body: () async throws -> Void) async throws -> NetError {
        do { try await body() } catch let error as NetError { return error }
        Issue.record("nothing was thrown")
        return NetError(.other, .close, "")
    }

    @Test("A datagram comes back whole, from whom it was sent to, empty and of 65,507 bytes too") func echoes() async throws {
        try await Self.serving { address in
            try await UDP.withSocket(to: "\(address)") { socket in
                for size in [0, 1, 1_472, 65_507] {
                    let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
                    try await socket.send(bytes)
                    let (reply, from) = try await socket.receiveFrom(timeout: .seconds(60))
                    #expect(reply == bytes)
                    #expect(from == address)
                }
                #expect(socket.peer == address)
            }
            try await UDP.withSocket(on: "127.0.0.1:0") { socket in
                try await socket.send("without a peer", to: "\(address)")
                let (reply, from) = try await socket.receiveFrom(timeout: .seconds(60))
                #expect(String(decoding: reply, as: UTF8.self) == "without a peer" && from == address)
            }
        }
    }

    @Test("IPv6 carries 65,527 bytes; a socket of one family sends to no other") func ipv6() async throws {
        try await Self.serving(on: "[::1]:0") { address in
            try await UDP.withSocket(to: "[::1]:\(address.port)") { socket in
                try await socket.send([UInt8](repeating: 7, count: 65_527))
                #expect(try await socket.receive(timeout: .seconds(60)).count == 65_527)
                let error = try await Self.failure { try await socket.send("x", to: "127.0.0.1:9") }
                #expect(error.kind == .addressNotAvailable && error.phase == .write)
            }
        }
    }

    @Test("A datagram that is longer than the limit is an error that says how long, and the next one is whole") func truncation() async throws {
        var options = DatagramOptions()
        options.datagramMax = 1_024
        try await UDP.withSocket(on: "127.0.0.1:0", options: options) { receiver in
            try await UDP.withSocket(to: "\(receiver.local)") { sender in
                try await sender.send([UInt8](repeating: 1, count: 1_025))
                try await sender.send([UInt8](repeating: 2, count: 1_024))
                let error = try await Self.failure { _ = try await receiver.receive(timeout: .seconds(60)) }
                #expect(error.kind == .truncated && error.phase == .read && error.address == "\(sender.local)")
                #expect("\(error)".contains("1025 bytes") && "\(error)".contains("datagramMax"))
                #expect(try await receiver.receive(timeout: .seconds(60)) == [UInt8](repeating: 2, count: 1_024))
                #expect(await receiver.counters.truncated == 1)
            }
        }
    }

    @Test("Too long a datagram is an error that names the limit") func tooLong() async throws {
        try await UDP.withSocket(to: "127.0.0.1:9") { socket in
            let error = try await Self.failure { try await socket.send([UInt8](repeating: 0, count: 65_508)) }
            #expect(error.kind == .tooLong && error.phase == .write)
            #expect("\(error)".contains("65507"))
        }
    }

    @Test("That nobody listens is an error of the receiving or the next sending call, and the socket goes on") func refused() async throws {
        let address = try await UDP.withSocket(on: "127.0.0.1:0") { $0.local }
        try await UDP.withSocket(to: "\(address)") { socket in
            try await socket.send("anybody?")
            let error = try await Self.failure { _ = try await socket.receive(timeout: .seconds(60)) }
            #expect(error.kind == .refused && error.address == "\(address)")
            try await Self.serving(on: "\(address)") { _ in
                try await socket.send("now?")
                #expect(try await socket.receive(timeout: .seconds(60)) == Array("now?".utf8))
            }
        }
    }

    @Test("What cannot be bound or found says why") func bindErrors() async throws {
        try await UDP.withSocket(on: "127.0.0.1:0") { socket in
            let taken = try await Self.failure { try await UDP.bind(on: "\(socket.local)") { _ in } }
            #expect(taken.kind == .addressInUse && taken.phase == .bind && taken.address == "\(socket.local)")
        }
        let foreign = try await Self.failure { try await UDP.bind(on: "192.0.2.1:0") { _ in } }
        #expect(foreign.kind == .addressNotAvailable)
        let nowhere = try await Self.failure { try await UDP.withSocket(to: "no.such.host.invalid:9") { _ in } }
        #expect(nowhere.kind == .unresolvable && nowhere.phase == .resolve)
        let nonsense = try await Self.failure { try await UDP.bind(on: "nonsense") { _ in } }
        #expect(nonsense.kind == .unresolvable)
        let broadcast = try await Self.failure { try await UDP.withSocket(to: "255.255.255.255:9") { try await $0.send("x") } }
        #expect(broadcast.kind == .permissionDenied || broadcast.kind == .unreachable)
    }

    @Test("A wait ends with its deadline and with its task, and loses no datagram") func waits() async throws {
        try await UDP.withSocket(on: "127.0.0.1:0") { receiver in
            let late = try await Self.failure { _ = try await receiver.receive(timeout: .milliseconds(20)) }
            #expect(late.kind == .timedOut && late.elapsed >= .milliseconds(20))
            try await UDP.withSocket(to: "\(receiver.local)") { sender in
                for round in 0..<200 as Range<UInt8> {
                    let wait = Task { try await receiver.receive() }
                    if round.isMultiple(of: 3) { await Task.yield() }
                    async let sent: Void = sender.send([round])
                    wait.cancel()
                    try await sent
                    let result = await wait.result
                    switch result {
                    case .success(let bytes): #expect(bytes == [round])
                    case .failure(let error):
                        #expect((error as? NetError)?.kind == .cancelled)
                        #expect(try await receiver.receive(timeout: .seconds(60)) == [round])
                    }
                }
            }
        }
    }

    final class Seen: Sendable { let numbers = Mutex<Set<Int>>([]) }

    @Test("Several tasks share what arrives, each datagram goes to one") func sharing() async throws {
        let total = 300
        var options = DatagramOptions()
        options.receiveBuffer = 1 << 20
        try await UDP.withSocket(on: "127.0.0.1:0", options: options) { receiver in
            let seen = Seen()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        while let bytes = try? await receiver.receive(timeout: .seconds(60)) {
                            let isFirst = seen.numbers.withLock { $0.insert(Int(bytes[0]) << 8 | Int(bytes[1])).inserted }
                            #expect(isFirst)
                        }
                    }
                }
                try await UDP.withSocket(to: "\(receiver.local)") { sender in
                    for number in 0..<total { try await sender.send([UInt8(number >> 8), UInt8(number & 255)]) }
                }
                for _ in 0..<60_000 where seen.numbers.withLock({ $0.count }) < total { try await Task.sleep(for: .milliseconds(1)) }
                group.cancelAll()
                try await group.waitForAll()
            }
            #expect(seen.numbers.withLock { $0.count } == total)
        }
    }

    @Test("Who does not read holds the socket up: what no buffer holds is counted as dropped") func overflow() async throws {
        var options = DatagramOptions()
        options.inboundMax = 16
        options.receiveBuffer = 4_096
        try await UDP.withSocket(on: "127.0.0.1:0", options: options) { receiver in
            try await UDP.withSocket(to: "\(receiver.local)") { sender in
                for _ in 0..<2_000 { try await sender.send([UInt8](repeating: 0, count: 100)) }
            }
            var taken: UInt64 = 0
            while (try? await receiver.receive(timeout: .milliseconds(200))) != nil { taken += 1 }
            let counters = await receiver.counters
            #expect(counters.received == taken && counters.dropped > 0)
            #expect(counters.received + counters.dropped == 2_000)
        }
    }

    /// In a process of its own: other tests open descriptors meanwhile.
    @Test("Sockets that are opened, cancelled and closed leave no descriptor") func storm() async {
        await #expect(processExitsWith: .success) {
            try await UDP.withSocket(on: "127.0.0.1:0") { _ in }  // the loops are there
            try await UDPTests.serving { _ in }
            let before = try UDPTests.descriptorCount()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<2_000 {
                    group.addTask {
                        let task = Task {
                            try await UDP.withSocket(to: "127.0.0.1:9") { socket in
                                try await socket.send("x")
                                _ = try await socket.receive(timeout: .seconds(60))
                            }
                        }
                        if index.isMultiple(of: 2) { await Task.yield() }
                        task.cancel()
                        _ = await task.result
                    }
                    if index >= 50 { try await group.next() }
                }
                try await group.waitForAll()
            }
            for _ in 0..<100 {
                let server = Task { try await UDP.bind(on: "127.0.0.1:0", UDPTests.echo) }
                server.cancel()
                _ = await server.result
            }
            let after = try UDPTests.descriptorCount()
            // The library's loops and the runtime's own come and stay: an epoll and an eventfd each. What leaks, leaks hundreds.
            #expect(after <= before + 16)
        }
    }

    private static func descriptorCount() throws -> Int {
        let directory = try #require(opendir("/proc/self/fd"))
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        return count
    }
}

/// Datagrams over Unix sockets.
@Suite struct UnixDatagramTests {
    @Test("A path's file is taken over from the dead, not from the living, and removed at the end") func paths() async throws {
        let path = "/tmp/martlet-udp-\(getpid()).sock"
        defer { unlink(path) }
        let dead = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = UInt16(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let isBound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(dead, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        #expect(isBound == 0)
        close(dead)
        #expect(access(path, F_OK) == 0)
        try await UnixDatagram.withSocket(on: path) { server in
            let taken = try await UDPTests.failure { try await UnixDatagram.withSocket(on: path) { _ in } }
            #expect(taken.kind == .addressInUse)
            try await UnixDatagram.withSocket(to: path) { client in
                try await client.send("ask")
                let (bytes, from) = try await server.receiveFrom(timeout: .seconds(60))
                #expect(bytes == Array("ask".utf8) && from == client.local)
                try await server.send("answer", to: from)
                #expect(try await client.receive(timeout: .seconds(60)) == Array("answer".utf8))
            }
        }
        #expect(access(path, F_OK) != 0)
    }

    @Test("Abstract names leave no file; a sender waits for a receiver that is full, and nothing is lost") func abstractNames() async throws {
        let name = "@martlet-udp-\(getpid())"
        var options = DatagramOptions()
        options.inboundMax = 8
        try await UnixDatagram.withSocket(on: name, options: options) { server in
            let total = 500
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await UnixDatagram.withSocket(to: name) { client in
                        for number in 0..<total { try await client.send([UInt8(number >> 8), UInt8(number & 255)]) }
                        try await client.send("end", timeout: .seconds(60))
                        // The last ones leave when the server has read.
                        _ = try await client.receive(timeout: .seconds(60))
                    }
                }
                for number in 0..<total {
                    let (bytes, from) = try await server.receiveFrom(timeout: .seconds(60))
                    #expect(bytes == [UInt8(number >> 8), UInt8(number & 255)])
                    #expect("\(from)".hasPrefix("@"))
                }
                let (_, from) = try await server.receiveFrom(timeout: .seconds(60))
                try await server.send("thanks", to: from)
                try await group.waitForAll()
            }
        }
    }
}
