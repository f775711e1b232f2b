import Glibc
import MartletSockets
import Testing

/// Nothing is left behind: descriptors, memory, bytes. What counts them has a process of its own, since other suites run in this one.
@Suite(.serialized, .timeLimit(.minutes(10))) struct TCPStormTests {
    static var descriptorCount: Int {
        guard let directory = opendir("/proc/self/fd") else { return .max }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        return count
    }

    /// The library's loops stay, and the runtime opens its own when it likes: an epoll and an eventfd each. What leaks, leaks hundreds.
    static let slack = 16

    /// What was closed last may still be on its way to the kernel.
    static func comesDown(to limit: Int) async throws -> Bool {
        for _ in 0..<3_000 {
            if descriptorCount <= limit { return true }
            try await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    @Test func `100,000 cancelled reads leave nothing behind and lose no byte`() async {
        await #expect(processExitsWith: .success) {
            try await withEchoServer { address in
                try await TCP.withConnection(to: address) { connection in
                    // Dispatch opens its own at the first sleep.
                    try await Task.sleep(for: .milliseconds(1))
                    let before = TCPStormTests.descriptorCount
                    var heap: UInt64 = 0, cancelled = 0, heard: [UInt8] = [], sent: [UInt8] = []
                    for round in 0..<100_000 {
                        if round == 1_000 { heap = ProcessSetup.heapInUse }
                        if round % 1_000 == 0 {
                            sent.append(UInt8(truncatingIfNeeded: round / 1_000))
                            try await connection.write([sent[sent.count - 1]])
                        }
                        let read = Task { try await connection.read() }
                        read.cancel()
                        switch await read.result {
                        case .success(let bytes): heard += bytes ?? []
                        case .failure(let error): cancelled += (error as? NetError)?.kind == .cancelled ? 1 : 0
                        }
                    }
                    #expect(cancelled >= 99_000)
                    while heard.count < sent.count { heard += try #require(try await connection.read(timeout: .seconds(5))) }
                    #expect(heard == sent)
                    #expect(try await TCPStormTests.comesDown(to: before + TCPStormTests.slack))
                    // A leak of 100 bytes a read would be 10 MB.
                    #expect(Int64(ProcessSetup.heapInUse) - Int64(heap) < 8 << 20)
                }
            }
        }
    }

    @Test func `a read that is cancelled while it waits loses no byte either`() async throws {
        try await withEchoServer { address in
            try await TCP.withConnection(to: address) { connection in
                var heard: [UInt8] = []
                for round in 0..<2_000 {
                    let read = Task { try await connection.read() }
                    // Written and cancelled at once: whichever comes first, the byte is somebody's.
                    try await connection.write([UInt8(truncatingIfNeeded: round)])
                    if round.isMultiple(of: 3) { await Task.yield() }
                    read.cancel()
                    if case .success(let bytes) = await read.result { heard += bytes ?? [] }
                }
                while heard.count < 2_000 { heard += try #require(try await connection.read(timeout: .seconds(5))) }
                #expect(heard == (0..<2_000).map { UInt8(truncatingIfNeeded: $0) })
            }
        }
    }

    @Test func `1,000 connects, resets and half-closes lose no descriptor`() async {
        await #expect(processExitsWith: .success) {
            let before = TCPStormTests.descriptorCount
            try await withEchoServer(loops: 2) { address in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for task in 0..<10 {
                        group.addTask {
                            for round in 0..<100 {
                                try await TCP.withConnection(to: address) { connection in
                                    switch (task + round) % 4 {
                                    case 0: connection.abort()
                                    case 1:
                                        try await connection.write("x")
                                        connection.abort()
                                    case 2:
                                        try await connection.write("half")
                                        try await connection.finishWriting()
                                        var answer: [UInt8] = []
                                        for try await chunk in connection.inbound { answer += chunk }
                                        #expect(answer == Array("half".utf8))
                                    default: break
                                    }
                                }
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            #expect(try await TCPStormTests.comesDown(to: before + TCPStormTests.slack))
        }
    }

    @Test func `connecting that is cancelled ends at once and leaves no descriptor`() async {
        await #expect(processExitsWith: .success) {
            // The client's loop, and Dispatch's own, are there before the count.
            try? await TCP.withConnection(to: "127.0.0.1:1") { _ in }
            try await Task.sleep(for: .milliseconds(1))
            let before = TCPStormTests.descriptorCount
            // A listener whose queue is full answers no further connection.
            let address = try #require(SocketAddress("127.0.0.1", port: 0))
            var options = StreamOptions()
            options.backlog = 0
            let socket = try BoundSocket(address, options: options)
            let place = "\(socket.address)"
            await withTaskGroup(of: NetError.Kind?.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        do {
                            try await TCP.withConnection(to: place) { _ in try await Task.sleep(for: .seconds(60)) }
                            return nil
                        } catch { return (error as? NetError)?.kind }
                    }
                }
                try? await Task.sleep(for: .milliseconds(200))
                let start = ContinuousClock.now
                group.cancelAll()
                var kinds: [NetError.Kind?] = []
                for await kind in group { kinds.append(kind) }
                #expect(ContinuousClock.now - start < .seconds(3))
                #expect(kinds.count { $0 == .cancelled } >= 15)
            }
            socket.close()
            #expect(try await TCPStormTests.comesDown(to: before + TCPStormTests.slack))
        }
    }

    @Test func `where no descriptor is left for a loop, calls throw, and go on once there is one`() async {
        await #expect(processExitsWith: .success) {
            // Dispatch's own come first.
            try await Task.sleep(for: .milliseconds(1))
            var limit = rlimit(rlim_cur: 64, rlim_max: 64)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            var taken: [Int32] = []
            while case let descriptor = open("/dev/null", O_RDONLY), descriptor >= 0 { taken.append(descriptor) }
            let client = await #expect(throws: NetError.self) { try await TCP.withConnection(to: "127.0.0.1:1") { _ in } }
            #expect(client?.errno == EMFILE)
            // Enough for the socket, and too few for the loop.
            close(taken.removeLast())
            let server = await #expect(throws: NetError.self) { try await TCP.listen(on: "127.0.0.1:0") { _ in } }
            let datagrams = await #expect(throws: NetError.self) { try await UDP.bind(on: "127.0.0.1:0") { _ in } }
            let visitor = await #expect(throws: NetError.self) { try await UDP.withSocket(to: "127.0.0.1:9") { _ in } }
            #expect([server, datagrams, visitor].allSatisfy { $0?.errno == EMFILE })
            // All gave back what they had.
            close(taken.removeLast())
            close(taken.removeLast())
            let address = try await UDP.bind(on: "127.0.0.1:0") { $0.local }
            #expect(address.port > 0)
        }
    }
}
