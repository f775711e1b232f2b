import MartletBytes
import MartletEventLoop
import MartletPipe
import MartletTLS
import Testing

/// TLS as a stream: every byte once and in order however it is cut, ends that are told apart from cuts, and nothing that bad bytes could break.
@Suite struct TLSStreamTests {
    private static func pair(_ version: TLSVersion, _ network: PipeNetwork = PipeNetwork()) throws -> TLSPair {
        TLSPair(try TLSTests.client { $0.maximumVersion = version }, try TLSTests.server(), network)
    }

    @Test("Any cut of reads and writes gives the same bytes in both directions", arguments: [TLSVersion.tls12, .tls13], [1, 7, 1000, 1 << 16])
    func cuts(version: TLSVersion, size: Int) throws {
        let pair = try Self.pair(version)
        pair.network.readSizeMax = size
        pair.network.capacity = max(size, 10)
        pair.server.echoes = true
        pair.server.frame = 3
        let count = size < 10 ? 20_001 : 180_000
        let bytes = Array(StreamLayerTests.numbers.prefix(count))
        pair.client.say(bytes, on: pair.loops[0])
        pair.settle { pair.client.heard.count >= count }
        #expect(pair.server.heard == bytes)
        #expect(pair.client.heard == bytes)
        #expect(pair.client.happened == ["secured"])
    }

    @Test("A megabyte each way at once arrives whole, in records that fill the read area")
    func large() throws {
        let pair = try Self.pair(.tls13)
        pair.network.capacity = 1 << 22
        let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 10) }
        pair.client.say(bytes, on: pair.loops[0])
        pair.server.say(bytes, on: pair.loops[1])
        pair.settle { pair.client.heard.count >= bytes.count && pair.server.heard.count >= bytes.count }
        #expect(pair.client.heard == bytes)
        #expect(pair.server.heard == bytes)
    }

    @Test("finish says close_notify after the output, and the other side ends cleanly", arguments: [TLSVersion.tls12, .tls13])
    func farewell(version: TLSVersion) throws {
        let pair = try Self.pair(version).shakeHands()
        pair.client.say([1, 2, 3], on: pair.loops[0])
        pair.loops[0].finish(pair.client, .finished)
        pair.tick(5)
        #expect(pair.server.heard.suffix(3) == [1, 2, 3])
        #expect(pair.server.happened == ["secured", "end", "closed: the peer closed the connection"])
        #expect(pair.loops.map(\.connectionCount) == [0, 0])
    }

    @Test("After finishWriting the answer still comes", arguments: [TLSVersion.tls12, .tls13])
    func halfClose(version: TLSVersion) throws {
        let pair = try Self.pair(version)
        pair.server.staysOpen = true
        pair.client.say([1, 2, 3], on: pair.loops[0])
        pair.loops[0].finishWriting(pair.client)
        pair.tick(12)
        #expect(pair.server.heard == [1, 2, 3])
        #expect(pair.server.happened == ["secured", "end"])
        pair.server.say([4, 5], on: pair.loops[1])
        pair.tick(3)
        #expect(pair.client.heard == [4, 5])
        pair.loops[1].finish(pair.server, .finished)
        pair.tick(5)
        #expect(pair.client.happened == ["secured", "end", "closed: the peer closed the connection"])
    }

    @Test("What comes after close_notify is nobody's", arguments: [TLSVersion.tls12, .tls13], [true, false])
    func afterFarewell(version: TLSVersion, atOnce: Bool) throws {
        let pair = try Self.pair(version).shakeHands()
        pair.server.staysOpen = true
        pair.client.say([1, 2, 3], on: pair.loops[0])
        pair.loops[0].finishWriting(pair.client)
        pair.loops[0].tick(until: pair.loops[0].now)
        if !atOnce { pair.tick(3) }
        pair.network.write([23, 3, 3, 0, 50] + [UInt8](repeating: 9, count: 70_000), to: pair.descriptors.0)
        pair.tick(5)
        #expect(pair.server.heard == Array("ping".utf8) + [1, 2, 3])
        #expect(pair.server.happened == ["secured", "end"])
        pair.server.say([4, 5], on: pair.loops[1])
        pair.tick(3)
        #expect(pair.client.heard.suffix(2) == [4, 5])
    }

    @Test("A stream that ends without close_notify was truncated", arguments: [TLSVersion.tls12, .tls13])
    func truncated(version: TLSVersion) throws {
        let pair = try Self.pair(version).shakeHands()
        pair.loops[0].close(pair.client, .finished)
        pair.tick(3)
        #expect(pair.server.failure?.kind == .truncated)
    }

    @Test("A connection moves to another loop in the middle of a record")
    func moving() throws {
        let pair = try Self.pair(.tls13).shakeHands()
        let other = EventLoop(number: 2, kernel: PipeKernel(pair.network), limits: pair.loops[1].limits)
        let next = TLSPair.Ear()
        pair.server.onReceive = { ear, loop, bytes in
            other.add(next, loop.surrender(ear, unread: bytes))
            return bytes.count
        }
        pair.network.readSizeMax = 10_000
        pair.client.say(Array(StreamLayerTests.numbers.prefix(50_000)), on: pair.loops[0])
        for _ in 0..<20 {
            pair.tick()
            other.tick(until: other.now)
        }
        #expect(next.heard == Array(StreamLayerTests.numbers.prefix(50_000)))
        next.say([1, 2], on: other)
        other.tick(until: other.now)
        pair.tick()
        #expect(pair.client.heard.suffix(2) == [1, 2])
    }

    @Test("What is no ClientHello is answered with an alert and told as what it is")
    func garbage() throws {
        let samples: [([UInt8], String)] = [
            (Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8), "the peer speaks HTTP without TLS"),
            ([0x10, 0x10, 0, 4, 0x4D, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 4, 0x74, 0x65, 0x73, 0x74], "the peer does not speak TLS"),
            ([UInt8](repeating: 0xFF, count: 100), "the peer does not speak TLS"),
        ]
        for (bytes, text) in samples {
            let bench = StreamLayerTests.Bench(layer: try TLSTests.server().makeLayer())
            bench.hear(bytes)
            #expect(bench.ear.failure?.kind == .handshakeFailed)
            #expect(bench.ear.failure?.text.hasPrefix(text) == true, "\(bench.ear.failure?.text ?? "nothing")")
            #expect(bench.network.hasEnded(bench.far))
        }
        let client = StreamLayerTests.Bench(layer: try TLSTests.client().makeLayer(serverName: "localhost"))
        client.hear([0x20, 2, 0, 0, 0x30, 5, 0, 1, 0x61, 0x62])
        #expect(client.ear.failure?.text.hasPrefix("the peer does not speak TLS") == true)
    }

    @Test("A channel's deadline cuts a handshake that stalls")
    func stalled() throws {
        final class Impatient: Channel {
            var latest = Instant.never
            var end: CloseReason?
            override var deadline: Instant { latest }
            override func wake(on loop: EventLoop) { loop.finish(self, .refused("too late")) }
            override func secured(on loop: EventLoop) { latest = .never }
            override func closed(_ reason: CloseReason, on loop: EventLoop) { end = reason }
        }
        let network = PipeNetwork()
        let loop = EventLoop(kernel: PipeKernel(network))
        let (near, far) = network.makeStream()
        let channel = Impatient()
        channel.latest = loop.now + .seconds(5)
        loop.add(channel, Transport(descriptor: near, layer: try TLSTests.server().makeLayer()))
        network.write([22, 3, 1, 2, 0, 1, 0, 1, 0xFC], to: far)
        loop.tick(until: loop.now)
        network.advance(by: .seconds(5))
        loop.tick(until: loop.now)
        #expect(channel.end == .refused("too late"))
        #expect(network.hasEnded(far))
        network.advance(by: .seconds(3))
        loop.tick(until: loop.now)
        #expect(loop.connectionCount == 0)
    }

    @Test("A flipped, lost, doubled or foreign byte anywhere ends the connection, and never gives a wrong byte", arguments: [TLSVersion.tls12, .tls13])
    func corruption(version: TLSVersion) throws {
        let client = try TLSTests.client { $0.maximumVersion = version }, server = try TLSTests.server()
        var random = SystemRandomNumberGenerator()
        let sent = Array(StreamLayerTests.numbers.prefix(5000))
        for round in 0..<400 {
            let pair = TLSPair(client, server)
            pair.client.say(sent, on: pair.loops[0])
            pair.server.say(sent, on: pair.loops[1])
            // One flight of either side, at any time, goes through bad hands.
            let victim = Int.random(in: 0...1, using: &random), turn = Int.random(in: 0..<5, using: &random)
            for step in 0..<12 {
                for (index, loop) in pair.loops.enumerated() {
                    loop.tick(until: loop.now)
                    guard step == turn, index == victim else { continue }
                    let reader = index == 0 ? pair.descriptors.1 : pair.descriptors.0, writer = index == 0 ? pair.descriptors.0 : pair.descriptors.1
                    let bytes = pair.network.read(from: reader)
                    pair.network.write(Self.spoil(bytes, round % 5, &random), to: writer)
                }
            }
            #expect(sent.starts(with: pair.server.heard), "round \(round)")
            #expect(sent.starts(with: pair.client.heard), "round \(round)")
        }
    }

    private static func spoil(_ bytes: [UInt8], _ how: Int, _ random: inout SystemRandomNumberGenerator) -> [UInt8] {
        var bytes = bytes
        guard !bytes.isEmpty else { return (0..<Int.random(in: 0..<100, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) } }
        let at = Int.random(in: 0..<bytes.count, using: &random)
        switch how {
        case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.remove(at: at)
        case 2: bytes.insert(bytes[at], at: at)
        case 3: bytes.replaceSubrange(at..., with: (0..<50).map { _ in UInt8.random(in: 0...255, using: &random) })
        default: for index in at..<min(bytes.count, at + 20) { bytes[index] = UInt8.random(in: 0...255, using: &random) }
        }
        return bytes
    }
}
