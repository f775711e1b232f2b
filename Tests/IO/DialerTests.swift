import CLinux
import Glibc
import MartletEventLoop
import Synchronization
import Testing

@testable import MartletNet

/// RFC 8305 with a resolver that says what the test wants.
@Suite(.timeLimit(.minutes(10))) struct DialerTests {
    /// Listens on 127.0.0.1 and keeps what it accepts in the kernel's queue.
    private let server: BoundSocket
    private let loop = EventLoop()
    private let thread: LoopThread

    init() throws {
        server = try BoundSocket(try #require(SocketAddress("127.0.0.1", port: 0)))
        thread = loop.start { _ in nil }
    }

    private func dial(_ addresses: [SocketAddress], timeout: Duration = .seconds(5), options: StreamOptions = StreamOptions()) async -> Result<
        Dialer.Outcome, NetError
    > {
        let resolver = Resolver { (_, _) throws(NetError) in addresses }
        return await dial(resolver, timeout: timeout, options: options)
    }

    private func dial(_ resolver: Resolver, timeout: Duration = .seconds(5), options: StreamOptions = StreamOptions()) async -> Result<Dialer.Outcome, NetError>
    {
        let answer = Once<Result<Dialer.Outcome, NetError>>()
        loop.execute { loop in
            Dialer(to: .internet(host: "name.test", port: 1), options: options, timeout: timeout, by: resolver, on: loop) { answer.resume(returning: $0) }
        }
        let result = await answer.wait()
        if case .success(let outcome) = result { cl_close(outcome.descriptor) }
        loop.stop()
        thread.join()
        server.close()
        return result
    }

    @Test("Section 4: the families take turns, the resolver's first choice first") func interleaving() throws {
        let six = try (1...3).map { try #require(SocketAddress("::\($0)", port: 1)) },
            four = try (1...2).map { try #require(SocketAddress("10.0.0.\($0)", port: 1)) }
        #expect(Dialer.interleaved(six + four) == [six[0], four[0], six[1], four[1], six[2]])
        #expect(Dialer.interleaved(four + six) == [four[0], six[0], four[1], six[1], six[2]])
        #expect(Dialer.interleaved(four) == four)
        #expect(Dialer.interleaved([]) == [])
    }

    @Test("RFC 9293, 3.5: a socket that meets itself has met nobody") func itself() async throws {
        let free = try BoundSocket(try #require(SocketAddress("127.0.0.1", port: 0)))
        free.close()
        var options = StreamOptions()
        options.bindAddress = "\(free.address)"
        guard case .failure(let error) = await dial([free.address], options: options) else { Issue.record("connected"); return }
        #expect(error.kind == .refused)
    }

    /// An IPv6 listener whose queue is full: its kernel answers no SYN.
    private func makeSilence() throws -> (address: SocketAddress, descriptors: [Int32]) {
        var options = StreamOptions()
        options.backlog = 0
        let silent = try BoundSocket(try #require(SocketAddress("::1", port: 0)), options: options)
        var raw = silent.address.raw
        let fillers = (0..<4).map { _ in cl_socket(6, 1) }
        for filler in fillers { _ = cl_connect(filler, &raw) }
        return (silent.address, [silent.descriptor] + fillers)
    }

    @Test("Section 5: a first family that is silent costs a quarter of a second, not the timeout") func silentFamily() async throws {
        let (silent, descriptors) = try makeSilence()
        defer { for descriptor in descriptors { cl_close(descriptor) } }
        let outcome = try await dial([silent, server.address]).get()
        #expect(outcome.peer == server.address)
        #expect(outcome.steps.connecting >= .milliseconds(250) && outcome.steps.connecting < .seconds(2))
        #expect(outcome.steps.addresses == [silent, server.address])
    }

    @Test("A first family that refuses costs nothing, and is told of") func refusingFamily() async throws {
        let closed = try BoundSocket(try #require(SocketAddress("::1", port: 0)))
        closed.close()
        let outcome = try await dial([closed.address, server.address]).get()
        #expect(outcome.steps.connecting < .milliseconds(200))
        #expect(outcome.peer == server.address)
        #expect(outcome.steps.failures.map(\.kind) == [.refused])
    }

    @Test("When all fail, one error tells of every attempt") func allFail() async throws {
        let closed = try ["::1", "127.0.0.1"].map { host in
            let socket = try BoundSocket(try #require(SocketAddress(host, port: 0)))
            socket.close()
            return socket.address
        }
        guard case .failure(let error) = await dial(closed) else { Issue.record("connected"); return }
        #expect(error.kind == .refused && error.phase == .connect && error.address == "name.test:1")
        #expect(error.detail == "\(closed[0]) refused, \(closed[1]) refused")
    }

    @Test("A resolver that hangs is given up at the deadline, and holds up no loop and no other name") func slowResolver() async throws {
        let gate = Mutex(false)
        let resolver = Resolver { (host, _) throws(NetError) in
            while host == "name.test", !gate.withLock({ $0 }) { usleep(5_000) }
            return []
        }
        async let other = resolver.addresses(of: "other.test", port: 1, timeout: .seconds(2))
        guard case .failure(let error) = await dial(resolver, timeout: .milliseconds(150)) else { Issue.record("connected"); return }
        #expect(error.kind == .timedOut && error.phase == .resolve)
        #expect(error.elapsed >= .milliseconds(150) && error.elapsed < .seconds(2))
        #expect(try await other == [])
        gate.withLock { $0 = true }
    }

    @Test(
        "Where the system gives no thread to look names up, that is the error",
        .enabled(
            if: dlsym(nil, "__asan_init") == nil && dlsym(nil, "__tsan_init") == nil, "the sanitizers want memory where the test leaves none"))
    func noThread() async {
        await #expect(processExitsWith: .success) {
            let resolver = Resolver { (_, _) throws(NetError) in [] }
            // No room for a stack; one that another thread has left would do.
            var limit = rlimit(rlim_cur: 1 << 20, rlim_max: rlim_t.max)
            setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
            let answer = Mutex<NetError.Kind?>(nil)
            resolver.resolve("name.test", port: 1) { result in
                if case .failure(let error) = result { answer.withLock { $0 = error.kind } }
            }
            limit.rlim_cur = rlim_t.max
            setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
            let kind = answer.withLock { $0 }
            #expect(kind == .other)
            let after = try await resolver.addresses(of: "name.test", port: 1)
            #expect(after == [])
        }
    }

    @Test("A name without addresses, and a bind address of the other family") func nothingToTry() async throws {
        guard case .failure(let error) = await dial([]) else { Issue.record("connected"); return }
        #expect(error.kind == .unresolvable)
    }

    @Test("The bind address is where the connection comes from") func bindAddress() async throws {
        var options = StreamOptions()
        options.bindAddress = "127.0.0.2"
        let answer = Once<SocketAddress?>()
        let place = Place.internet(host: "127.0.0.1", port: server.address.port)
        loop.execute { [options] loop in
            Dialer(to: place, options: options, timeout: .seconds(5), on: loop) { result in
                let descriptor = (try? result.get())?.descriptor ?? -1
                answer.resume(returning: SocketAddress.local(of: descriptor))
                cl_close(descriptor)
            }
        }
        #expect(await answer.wait()?.description.hasPrefix("127.0.0.2:") == true)
        loop.stop()
        thread.join()
        server.close()
    }

    @Test("A full accept queue is seen, and what overflowed is counted") func acceptQueue() async throws {
        var options = StreamOptions()
        options.backlog = 1
        let small = try BoundSocket(try #require(SocketAddress("127.0.0.1", port: 0)), options: options)
        var raw = small.address.raw
        let clients = (0..<8).map { _ in cl_socket(4, 1) }
        for client in clients { _ = cl_connect(client, &raw) }
        try await Task.sleep(for: .milliseconds(50))
        let queue = try #require(AcceptQueue(descriptor: small.descriptor))
        #expect(queue.waiting == 2 && queue.capacity == 1)
        #expect(queue.overflows > 0)
        for client in clients { cl_close(client) }
        small.close()
        loop.stop()
        thread.join()
        server.close()
    }

    private static func option(of descriptor: Int32, _ level: Int32, _ name: Int32) -> Int32 {
        var value: Int32 = -1, size = socklen_t(4)
        return getsockopt(descriptor, level, name, &value, &size) == 0 ? value : -1
    }

    @Test("Options reach the socket") func options() async throws {
        var options = StreamOptions()
        options.keepAlive = .init(idle: .seconds(7))
        options.sendBuffer = 100_000
        options.unconfirmedTimeout = .seconds(9)
        options.reusePort = true
        let first = try BoundSocket(try #require(SocketAddress("127.0.0.1", port: 0)), options: options)
        let second = try BoundSocket(first.address, options: options)
        for (level, name, value) in [(6, 4, 7), (1, 9, 1), (6, 18, 9_000), (1, 15, 1), (6, 1, 1)] as [(Int32, Int32, Int32)] {
            #expect(Self.option(of: first.descriptor, level, name) == value)
        }
        #expect(Self.option(of: first.descriptor, 1, 7) == 200_000)
        first.close()
        second.close()
        loop.stop()
        thread.join()
        server.close()
    }
}
