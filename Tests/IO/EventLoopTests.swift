import CLinux
import Glibc
import MartletBytes
import MartletEventLoop
import MartletNet
import MartletPipe
import Synchronization
import Testing

/// The loop on the real kernel: threads, mail, executors, sockets.
@Suite struct EventLoopTests {
    final class Echo: Channel {
        override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
            loop.willWrite(slot)
            loop[output: slot].append(bytes)
            return bytes.count
        }
    }

    /// Notes letters, in order.
    final class Reader: LoopTenant {
        let got: @Sendable ([UInt8], Int) -> Void
        init(_ got: @escaping @Sendable ([UInt8], Int) -> Void) { self.got = got }
        func tickBegan(on loop: EventLoop) {}
        func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) { got(letter.array, sender) }
        func tickEnded(on loop: EventLoop) {}
    }

    @Test func `ticks that take long are counted, and how long the longest took`() async {
        let loop = EventLoop(), told = Once<[EventLoopCounters]>()
        let thread = loop.start { _ in nil }
        loop.execute { loop in
            let before = loop.counters
            usleep(15_000)
            loop.execute { loop in
                let between = loop.counters
                usleep(110_000)
                loop.execute { told.resume(returning: [before, between, $0.counters]) }
            }
        }
        let counters = await told.wait()
        // A machine that is busy elsewhere makes more of them.
        #expect(counters[0].ticksOver10ms < counters[1].ticksOver10ms && counters[1].ticksOver10ms < counters[2].ticksOver10ms)
        #expect(counters[1].ticksOver100ms < counters[2].ticksOver100ms)
        #expect(counters[1].longestTick >= .milliseconds(15) && counters[2].longestTick >= .milliseconds(110))
        #expect(counters[2].ticks >= counters[0].ticks + 2)
        loop.stop()
        thread.join()
    }

    @Test func `ticks that take no time are not long`() {
        let network = PipeNetwork(), loop = EventLoop(kernel: PipeKernel(network))
        for _ in 0..<50 {
            network.advance(by: .seconds(1))
            loop.tick(until: network.now)
        }
        #expect(loop.counters.ticks == 50 && loop.counters.ticksOver10ms == 0 && loop.counters.longestTick == .zero)
    }

    @Test("Calls from another thread run on the loop's, in order") func calls() async {
        let loop = EventLoop()
        let thread = loop.start { _ in nil }
        let order = Mutex<[Int]>([])
        await withCheckedContinuation { done in
            for number in 0..<1000 {
                loop.execute { loop in
                    #expect(loop.isCurrent)
                    order.withLock { $0.append(number) }
                    if number == 999 { done.resume() }
                }
            }
        }
        #expect(order.withLock { $0 } == Array(0..<1000))
        loop.stop()
        thread.join()
    }

    @Test("Letters arrive whole, in order, with their sender, and are counted until they are read") func letters() async {
        let loop = EventLoop()
        let got = Mutex<[[UInt8]]>([])
        let (stream, continuation) = AsyncStream.makeStream(of: Int.self)
        let thread = loop.start { _ in
            Reader { bytes, sender in
                got.withLock { $0.append(bytes) }
                continuation.yield(sender)
            }
        }
        for number in 0..<100 as Range<UInt8> {
            var buffer = ByteBuffer()
            buffer.append(number)
            buffer.append(number)
            buffer.consume(1)
            loop.post(&buffer, from: 7)
            #expect(buffer.ownsMemory == false)
        }
        var count = 0
        for await sender in stream {
            #expect(sender == 7)
            count += 1
            if count == 100 { break }
        }
        #expect(got.withLock { $0 } == (0..<100).map { [UInt8($0)] })
        loop.stop()
        thread.join()
        #expect(loop.unreadLetterBytes == 0)
    }

    actor Resident {
        nonisolated let loop: EventLoop
        var sum = 0
        init(_ loop: EventLoop) { self.loop = loop }
        nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
        func add(_ number: Int) async -> Bool {
            sum += number
            await Task.yield()
            return loop.isCurrent
        }
    }

    @Test("A task that prefers the loop, and an actor whose executor it is, stay on its thread") func executors() async {
        let loop = EventLoop()
        let thread = loop.start { _ in nil }
        let resident = Resident(loop)
        let stayed = await Task(executorPreference: loop) {
            var stayed = loop.isCurrent
            for number in 0..<100 {
                let there = await resident.add(number)
                stayed = stayed && there && loop.isCurrent
            }
            return stayed
        }.value
        #expect(stayed)
        #expect(await resident.sum == 4950)
        loop.stop()
        thread.join()
    }

    @Test("Many tasks at once leave descriptors their turn") func tasksDoNotStarve() async throws {
        let loop = EventLoop()
        let thread = loop.start { _ in nil }
        let busy = Task(executorPreference: loop) { while !Task.isCancelled { await Task.yield() } }
        await withCheckedContinuation { done in loop.execute { _ in done.resume() } }
        busy.cancel()
        await busy.value
        loop.stop()
        thread.join()
    }

    /// Blocking client, for a server under test.
    struct Client: ~Copyable {
        let descriptor: Int32
        init(_ address: SocketAddress) async throws {
            let loop = EventLoop()
            let thread = loop.start { _ in nil }
            let result = await withCheckedContinuation { (done: CheckedContinuation<Result<Int32, NetError>, Never>) in
                loop.execute { loop in Connector(to: address, timeout: .seconds(5), on: loop) { done.resume(returning: $0) } }
            }
            loop.stop()
            thread.join()
            descriptor = try result.get()
        }
        deinit { cl_close(descriptor) }
        func write(_ bytes: [UInt8]) { _ = cl_write_all(descriptor, bytes, bytes.count) }
        func read(_ count: Int) async -> [UInt8] {
            var bytes: [UInt8] = []
            for _ in 0..<2000 where bytes.count < count {
                var piece = [UInt8](repeating: 0, count: 65536)
                let got = cl_read(descriptor, &piece, piece.count)
                if got > 0 { bytes += piece.prefix(got) } else if got == 0 { break } else { try? await Task.sleep(for: .milliseconds(1)) }
            }
            return bytes
        }
    }

    private func serve(_ address: SocketAddress) throws -> (EventLoop, LoopThread, BoundSocket) {
        let socket = try BoundSocket(address)
        let loop = EventLoop()
        let thread = loop.start { loop in
            Listener(socket) { descriptor, _ in loop.add(Echo(), descriptor: descriptor) }.open(on: loop)
            return nil
        }
        return (loop, thread, socket)
    }

    @Test("TCP over IPv4 and IPv6: bytes come back, port 0 becomes a number", arguments: ["127.0.0.1", "::1"]) func tcp(host: String) async throws {
        let (loop, thread, socket) = try serve(try #require(SocketAddress(host, port: 0)))
        #expect(socket.address.port != 0)
        #expect(socket.address.isLoopback)
        let client = try await Client(socket.address)
        let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0) }
        for start in stride(from: 0, to: bytes.count, by: 20_000) {
            client.write(Array(bytes[start..<start + 20_000]))
            #expect(await client.read(20_000) == Array(bytes[start..<start + 20_000]))
        }
        loop.stop()
        thread.join()
    }

    @Test("A Unix socket is taken over from a dead server, refused from a live one, and its file goes with it") func unix() async throws {
        let path = "/tmp/martlet-test-\(UInt64.random(in: .min ... .max)).sock"
        let address = try #require(SocketAddress(unix: path))
        let (loop, thread, _) = try serve(address)
        #expect(throws: NetError.self) { try BoundSocket(address) }
        let client = try await Client(address)
        client.write([1, 2, 3])
        #expect(await client.read(3) == [1, 2, 3])
        await withCheckedContinuation { done in
            loop.execute { loop in
                for listener in loop.channels(of: Listener.self) { loop.close(listener, .stopping) }
                done.resume()
            }
        }
        loop.stop()
        thread.join()
        let (again, threadAgain, _) = try serve(address)
        await withCheckedContinuation { done in
            again.execute { loop in
                for listener in loop.channels(of: Listener.self) { loop.close(listener, .stopping) }
                done.resume()
            }
        }
        again.stop()
        threadAgain.join()
    }

    @Test("A path where a datagram socket lives is not taken over") func livingDatagrams() throws {
        let path = "/tmp/martlet-test-\(UInt64.random(in: .min ... .max)).sock"
        let address = try #require(SocketAddress(unix: path))
        let datagrams = try DatagramSocket(boundTo: address)
        #expect(throws: NetError.self) { try BoundSocket(address) }
        datagrams.close()
        try BoundSocket(address).close()
        #expect(access(path, F_OK) != 0)
    }

    @Test("A port in use and a refused connection say what was tried and why") func errors() async throws {
        let (loop, thread, socket) = try serve(try #require(SocketAddress("127.0.0.1", port: 0)))
        do {
            _ = try BoundSocket(socket.address)
            Issue.record("bound twice")
        } catch {
            #expect(error.kind == .addressInUse)
            #expect(
                "\(error)"
                    == "cannot listen on \(socket.address): address already in use; is another server running there? take another port, or 0 for a free one")
        }
        loop.stop()
        thread.join()
    }

    @Test("Addresses read and print") func addresses() throws {
        #expect(SocketAddress("127.0.0.1", port: 80)?.description == "127.0.0.1:80")
        #expect(SocketAddress("::1", port: 80)?.description == "[::1]:80")
        #expect(SocketAddress("localhost", port: 80) == nil)
        #expect(SocketAddress(unix: "/tmp/x")?.description == "/tmp/x")
        #expect(SocketAddress(unix: "\0name")?.description == "@name")
        #expect(SocketAddress(unix: String(repeating: "x", count: 108)) == nil)
        #expect(try SocketAddress.resolve("localhost", port: 1).allSatisfy { $0.isLoopback } == true)
        #expect(throws: NetError.self) { try SocketAddress.resolve("no.such.host.invalid", port: 1) }
    }
}
