import CLinux
import Glibc
import MartletBytes
import MartletEventLoop
import MartletNet
import Testing

/// Datagram channels on a loop that the test ticks.
@Suite struct DatagramTests {
    final class Recorder: DatagramChannel {
        var sizes: [Int] = [], cut: [Int] = [], errors: [NetError] = [], stalls: [Bool] = []
        var echoes = false, batches = 0

        override func received(_ datagram: borrowing ArrivedDatagram, on loop: EventLoop) {
            sizes.append(datagram.count)
            if datagram.isTruncated { cut.append(datagram.sentCount) }
            if echoes { reply(datagram.bytes, to: datagram, on: loop) }
        }
        override func receivedAll(on loop: EventLoop) { batches += 1 }
        override func failed(_ error: NetError, on loop: EventLoop) { errors.append(error) }
        override func stalled(_ isStalled: Bool, on loop: EventLoop) { stalls.append(isStalled) }
    }

    static let anywhere = SocketAddress("127.0.0.1", port: 0)!

    /// Ticks until it holds, for at most five seconds.
    static func run(_ loop: EventLoop, until holds: () -> Bool) {
        let latest = Instant(nanoseconds: cl_monotonic_ns()) + .seconds(5)
        while !holds(), Instant(nanoseconds: cl_monotonic_ns()) < latest { loop.tick(until: Instant(nanoseconds: cl_monotonic_ns()) + .milliseconds(20)) }
    }

    @Test("A tick takes at most 256 datagrams, and its answers leave at its end, also more than one call holds") func batches() throws {
        let loop = EventLoop()
        var options = DatagramOptions()
        options.receiveBuffer = 4 << 20
        let server = Recorder(try DatagramSocket(boundTo: Self.anywhere, options: options))
        server.echoes = true
        server.open(on: loop)
        let client = Recorder(try DatagramSocket(connectedTo: server.socket.local, options: options))
        client.open(on: loop)
        let bytes = [UInt8](repeating: 5, count: 8)
        for _ in 0..<600 { client.send(bytes.span, on: loop) }
        loop.tick(until: loop.now)
        #expect(client.counters.sent == 600)
        var most = 0
        Self.run(loop) {
            let before = server.sizes.count, answered = server.counters.sent
            loop.tick(until: loop.now)
            most = max(most, server.sizes.count - before)
            let left = server.counters.sent - answered
            #expect(left == UInt64(server.sizes.count - before))
            return client.sizes.count == 600
        }
        #expect(server.sizes == [Int](repeating: 8, count: 600) && client.sizes.count == 600)
        #expect(most > 64 && most <= 256)
        #expect(
            server.counters
                == {
                    var expected = DatagramCounters(); expected.received = 600; expected.sent = 600; return expected
                }())
        client.close(on: loop)
        server.close(on: loop)
        loop.tick(until: loop.now)
        #expect(loop.connectionCount == 0)
    }

    @Test("Cut datagrams are shown as cut, with their length") func cut() throws {
        let loop = EventLoop()
        var options = DatagramOptions()
        options.datagramMax = 10
        let server = Recorder(try DatagramSocket(boundTo: Self.anywhere, options: options))
        server.open(on: loop)
        let client = Recorder(try DatagramSocket(connectedTo: server.socket.local))
        client.open(on: loop)
        for size in [0, 10, 11, 60_000] { client.send([UInt8](repeating: 0, count: size).span, on: loop) }
        Self.run(loop) { server.sizes.count == 4 }
        #expect(server.sizes == [0, 10, 10, 10] && server.cut == [11, 60_000] && server.counters.truncated == 2)
    }

    @Test("What the kernel refuses is reported and counted, and what follows still leaves") func refusals() throws {
        let loop = EventLoop()
        let server = Recorder(try DatagramSocket(boundTo: Self.anywhere))
        server.open(on: loop)
        let sender = Recorder(try DatagramSocket(boundTo: Self.anywhere))
        sender.open(on: loop)
        let bytes: [UInt8] = [1, 2, 3]
        let broadcast = try #require(SocketAddress("255.255.255.255", port: 9))
        sender.send(bytes.span, to: server.socket.local, on: loop)
        sender.send([UInt8](repeating: 0, count: 65_508).span, to: server.socket.local, on: loop)
        sender.send(bytes.span, to: broadcast, on: loop)
        sender.send(bytes.span, to: server.socket.local, on: loop)
        Self.run(loop) { server.sizes.count == 2 }
        #expect(server.sizes == [3, 3])
        #expect(sender.errors.map(\.kind).first == .tooLong && sender.errors.count == 2)
        #expect(sender.errors.map(\.address) == ["\(server.socket.local)", "255.255.255.255:9"])
        #expect(sender.counters.failed == 2 && sender.counters.sent == 2)
    }

    @Test("A refusal that a connected socket learns late costs the next datagram nothing") func lateRefusal() throws {
        let loop = EventLoop()
        let gone = try DatagramSocket(boundTo: Self.anywhere)
        let client = Recorder(try DatagramSocket(connectedTo: gone.local))
        gone.close()
        client.open(on: loop)
        let bytes: [UInt8] = [1]
        client.send(bytes.span, on: loop)
        _ = client.flush(on: loop)
        // The refusal is there before the loop looks.
        let server = Recorder(try DatagramSocket(boundTo: gone.local))
        server.open(on: loop)
        client.send(bytes.span, on: loop)
        _ = client.flush(on: loop)
        Self.run(loop) { server.sizes.count == 1 }
        #expect(server.sizes == [1] && client.errors.map(\.kind) == [.refused] && client.counters.failed == 0)
    }

    @Test("A Unix receiver that reads nothing holds the others up for a tenth of a second, then its datagrams are dropped") func fullReceiver() throws {
        let loop = EventLoop()
        let name = "\0martlet-datagrams-\(getpid())"
        let full = try DatagramSocket(boundTo: try #require(SocketAddress(unix: name + "-full")))
        defer { full.close() }
        let other = Recorder(try DatagramSocket(boundTo: try #require(SocketAddress(unix: name + "-other"))))
        other.open(on: loop)
        let sender = Recorder(try DatagramSocket(boundTo: try #require(SocketAddress(unix: name + "-sender"))))
        sender.open(on: loop)
        let bytes: [UInt8] = [1]
        for _ in 0..<200 { sender.send(bytes.span, to: full.local, on: loop) }
        sender.send(bytes.span, to: other.socket.local, on: loop)
        let start = cl_monotonic_ns()
        Self.run(loop) { other.sizes.count == 1 }
        #expect(other.sizes == [1] && sender.stalls == [true, false])
        #expect(cl_monotonic_ns() - start > 100_000_000)
        #expect(sender.counters.failed + sender.counters.sent == 201 && sender.counters.failed > 100)
    }

    @Test("What waits to be sent is bounded, and what is over is counted") func overflow() throws {
        let loop = EventLoop()
        let sender = Recorder(try DatagramSocket(connectedTo: try #require(SocketAddress("127.0.0.1", port: 9))))
        sender.open(on: loop)
        let bytes = [UInt8](repeating: 0, count: 60_000)
        var refused = 0
        for _ in 0..<100 where !sender.send(bytes.span, on: loop) { refused += 1 }
        #expect(refused > 20 && sender.counters.overflowed == UInt64(refused))
    }
}
