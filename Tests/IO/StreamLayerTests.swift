import CLinux
import MartletBytes
import MartletEventLoop
import MartletPipe
import Testing

/// What the loop owes a connection with a layer, by one that XORs: no byte lost, doubled or out of order, whatever is cut.
@Suite struct StreamLayerTests {
    /// Collects what it hears, frame by frame; echoes if it is asked to.
    final class Ear: Channel {
        var frame = 1
        var echoes = false
        var heard: [UInt8] = []
        var happened: [String] = []
        var blocked: [Bool] = []
        var staysOpen = false
        var failure: LayerFailure?
        var onReceive: ((Ear, EventLoop, Span<UInt8>) -> Int?)?

        override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
            if let used = onReceive?(self, loop, bytes) { return used }
            let whole = bytes.count / frame * frame
            guard whole > 0 else { return 0 }
            heard += bytes.extracting(0..<whole).array
            if echoes { say(bytes.extracting(0..<whole).array, on: loop) }
            return whole
        }
        func say(_ bytes: [UInt8], on loop: EventLoop) {
            loop.willWrite(slot)
            loop[output: slot].append(bytes.span)
        }
        override func secured(on loop: EventLoop) { happened.append("secured") }
        override func receiveEnd(on loop: EventLoop) {
            happened.append("end")
            if !staysOpen { loop.finish(self, .ended) }
        }
        override func outputBlocked(_ blocked: Bool, on loop: EventLoop) { self.blocked.append(blocked) }
        override func closed(_ reason: CloseReason, on loop: EventLoop) {
            happened.append("closed: \(reason)")
            if case .layerFailed(let failure) = reason { self.failure = failure }
        }
    }

    /// Two loops with a connection between them, a layer at each end.
    final class Pair {
        let network = PipeNetwork()
        let loops: [EventLoop]
        let client = Ear(), server = Ear()
        let clientLayer = XORLayer(isClient: true), serverLayer = XORLayer(isClient: false)
        let descriptors: (Int32, Int32)

        init(_ change: (inout EventLoopLimits) -> Void = { _ in }) {
            var limits = EventLoopLimits()
            limits.connectionsMax = 64
            change(&limits)
            let network = network
            loops = (0..<2).map { EventLoop(number: $0, kernel: PipeKernel(network), limits: limits) }
            descriptors = network.makeStream()
            loops[0].add(client, Transport(descriptor: descriptors.0, layer: clientLayer))
            loops[1].add(server, Transport(descriptor: descriptors.1, layer: serverLayer))
        }
        func tick(_ count: Int = 1) { for _ in 0..<count { for loop in loops { loop.tick(until: loop.now) } } }
        /// Until nothing moves any more.
        func settle(_ isDone: () -> Bool) { for _ in 0..<200_000 where !isDone() { tick() } }
    }

    /// One end by hand.
    final class Bench {
        let network = PipeNetwork()
        let loop: EventLoop
        let ear = Ear()
        let layer: StreamLayer
        let far: Int32
        init(layer: StreamLayer = XORLayer(isClient: false), _ change: (inout EventLoopLimits) -> Void = { _ in }) {
            self.layer = layer
            var limits = EventLoopLimits()
            limits.connectionsMax = 64
            change(&limits)
            loop = EventLoop(kernel: PipeKernel(network), limits: limits)
            let (near, far) = network.makeStream()
            self.far = far
            loop.add(ear, Transport(descriptor: near, layer: layer))
        }
        func hear(_ bytes: [UInt8]) {
            network.write(bytes, to: far)
            loop.tick(until: loop.now)
        }
        func said() -> [UInt8] { network.read(from: far) }
    }

    static let numbers = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    @Test("What is written before the layer opens leaves once it has, and both are told")
    func opening() {
        let pair = Pair()
        pair.server.echoes = true
        pair.client.say([1, 2, 3], on: pair.loops[0])
        pair.tick(10)
        #expect(pair.server.heard == [1, 2, 3])
        #expect(pair.client.heard == [1, 2, 3])
        #expect(pair.client.happened == ["secured"])
        #expect(pair.server.happened == ["secured"])
        #expect(pair.clientLayer.starts == 1)
    }

    @Test("Any cut of reads and writes gives the same bytes in both directions", arguments: [1, 2, 3, 7, 100, 4999, 65536], [1, 10, 1 << 16])
    func cuts(readSize: Int, capacity: Int) {
        let pair = Pair {
            $0.outputHighWater = 100_000; $0.outputLowWater = 1000
        }
        pair.network.readSizeMax = readSize
        pair.network.capacity = capacity
        pair.server.echoes = true
        pair.server.frame = 3
        let count = min(readSize, capacity) < 4 ? 3000 : min(readSize, capacity) < 11 ? 30_000 : 199_998
        let bytes = Array(Self.numbers.prefix(count))
        pair.client.say(bytes, on: pair.loops[0])
        pair.settle { pair.client.heard.count >= count }
        #expect(pair.server.heard == bytes)
        #expect(pair.client.heard == bytes)
    }

    @Test("A frame larger than the read area arrives whole", arguments: [70_000, 150_000])
    func largeFrame(count: Int) {
        let pair = Pair()
        pair.network.capacity = 1 << 20
        pair.server.frame = count
        let bytes = Array(Self.numbers.prefix(count))
        pair.client.say(bytes, on: pair.loops[0])
        pair.tick(20)
        #expect(pair.server.heard == bytes)
    }

    @Test("A peer that does not read holds its writer: sealed bytes count as output does")
    func backPressure() {
        let pair = Pair {
            $0.outputHighWater = 50_000; $0.outputLowWater = 1000
        }
        pair.network.capacity = 1000
        pair.tick(5)
        pair.loops[1].pauseReading(pair.server.slot, true)
        pair.client.say(Array(Self.numbers.prefix(49_000)), on: pair.loops[0])
        pair.tick(5)
        #expect(pair.client.blocked == [])
        pair.client.say(Array(Self.numbers[49_000..<52_500]), on: pair.loops[0])
        pair.tick(5)
        #expect(pair.client.blocked == [true])
        #expect(pair.loops[0].unsentCount(pair.client.slot) > 51_000)
        #expect(pair.loops[0].isBlocked(pair.client.slot))
        pair.loops[1].pauseReading(pair.server.slot, false)
        pair.settle { pair.server.heard.count == 52_500 }
        #expect(pair.server.heard == Array(Self.numbers.prefix(52_500)))
        #expect(pair.client.blocked == [true, false])
        pair.tick(3)
        #expect(pair.loops[0].unsentCount(pair.client.slot) == 0)
    }

    @Test("A peer that has the layer answer and takes no answer is cut off, read while blocked or not", arguments: [true, false])
    func flood(readsWhileBlocked: Bool) {
        /// Answers every byte with 20.
        final class AnsweringLayer: StreamLayer {
            override func start() { isOpen = true }
            override func unseal(_ bytes: UnsafeRawPointer, count: Int, into plain: UnsafeMutableRawPointer) -> Int {
                sealed.value.append([UInt8](repeating: 1, count: 20 * count).span)
                return 0
            }
        }
        let bench = Bench(layer: AnsweringLayer()) { $0.readsWhileBlocked = readsWhileBlocked }
        var most = 0
        for _ in 0..<1_000 where bench.ear.slot != 0 {
            bench.hear([UInt8](repeating: 0, count: 1_000))
            most = max(most, bench.layer.sealed.value.count)
        }
        #expect(bench.ear.failure?.kind == .protocolError)
        #expect(most < 1 << 19)
    }

    @Test("Output that waits for the handshake does not stop the reading that ends it")
    func muchBeforeOpening() {
        let pair = Pair {
            $0.outputHighWater = 1000; $0.outputLowWater = 100
        }
        pair.client.say(Array(Self.numbers.prefix(20_000)), on: pair.loops[0])
        pair.settle { pair.server.heard.count == 20_000 }
        #expect(pair.server.heard == Array(Self.numbers.prefix(20_000)))
    }

    @Test("flushEarly seals, and says what is left of both")
    func early() {
        let pair = Pair()
        pair.tick(5)
        pair.client.say([1, 2, 3], on: pair.loops[0])
        #expect(pair.loops[0].flushEarly(pair.client.slot, limit: 1))
        pair.loops[1].tick(until: pair.loops[1].now)
        #expect(pair.server.heard == [1, 2, 3])
        pair.network.capacity = 10
        pair.client.say([UInt8](repeating: 4, count: 100), on: pair.loops[0])
        #expect(!pair.loops[0].flushEarly(pair.client.slot, limit: 80))
        #expect(pair.loops[0].unsentCount(pair.client.slot) == 92)
    }

    @Test("finish: output, farewell and end leave, whatever the cut; the other side hears all and an end", arguments: [1, 10, 1 << 16])
    func finishing(capacity: Int) {
        let pair = Pair()
        pair.network.capacity = capacity
        pair.settle { pair.client.happened == ["secured"] }
        pair.client.say(Array(Self.numbers.prefix(1000)), on: pair.loops[0])
        pair.loops[0].finish(pair.client, .finished)
        pair.settle { pair.loops[0].connectionCount == 0 }
        #expect(pair.server.heard == Array(Self.numbers.prefix(1000)))
        #expect(pair.server.happened == ["secured", "end", "closed: the peer closed the connection"])
        #expect(pair.loops[1].connectionCount == 0)
    }

    @Test("finish: a peer that ends meanwhile still gets what is sealed")
    func endWhileLeaving() {
        let bench = Bench()
        bench.network.capacity = 1_000
        bench.hear(Array("HELLO".utf8))
        var got = bench.said()
        bench.ear.say(Array(Self.numbers.prefix(100_000)), on: bench.loop)
        bench.loop.finish(bench.ear, .finished)
        bench.loop.tick(until: bench.loop.now)
        bench.network.end(bench.far)
        for _ in 0..<200 {
            bench.loop.tick(until: bench.loop.now)
            got += bench.said()
        }
        let isWhole = got == Array("OLLEH".utf8) + XORLayer.records(Array(Self.numbers.prefix(100_000))) + [0, 0]
        #expect(isWhole)
        #expect(bench.loop.connectionCount == 0)
    }

    @Test("finishWriting: the farewell leaves after the output, and the answer still comes")
    func halfClose() {
        let pair = Pair()
        pair.server.staysOpen = true
        pair.client.say([1, 2, 3], on: pair.loops[0])
        pair.loops[0].finishWriting(pair.client)
        pair.tick(10)
        #expect(pair.server.heard == [1, 2, 3])
        #expect(pair.server.happened == ["secured", "end"])
        pair.server.say([4, 5], on: pair.loops[1])
        pair.tick(3)
        #expect(pair.client.heard == [4, 5])
        #expect(pair.client.happened == ["secured"])
        pair.loops[1].finish(pair.server, .finished)
        pair.tick(5)
        #expect(pair.client.happened == ["secured", "end", "closed: the peer closed the connection"])
        #expect(pair.loops.map(\.connectionCount) == [0, 0])
    }

    @Test("finishWriting without a layer: the end of the stream, and the answer still comes")
    func halfCloseOfPlainStream() {
        let network = PipeNetwork()
        let loop = EventLoop(kernel: PipeKernel(network))
        let ear = Ear()
        let (near, far) = network.makeStream()
        loop.add(ear, descriptor: near)
        network.capacity = 2
        ear.say([1, 2, 3], on: loop)
        loop.finishWriting(ear)
        loop.tick(until: loop.now)
        #expect(network.read(from: far) == [1, 2])
        #expect(!network.hasEnded(far))
        loop.tick(until: loop.now)
        #expect(network.read(from: far) == [3])
        #expect(network.hasEnded(far))
        network.write([9], to: far)
        loop.tick(until: loop.now)
        #expect(ear.heard == [9])
        network.end(far)
        for _ in 0..<3 { loop.tick(until: loop.now) }
        #expect(ear.happened == ["end", "closed: the peer closed the connection"])
        #expect(loop.connectionCount == 0)
    }

    @Test("A stream that ends without the farewell was cut off; one that ends in the handshake never opened")
    func truncated() {
        let bench = Bench()
        bench.hear(Array("HELLO".utf8) + XORLayer.records([1, 2]) + [0, 9, 1])
        #expect(bench.ear.heard == [1, 2])
        bench.network.end(bench.far)
        bench.hear([])
        #expect(bench.ear.happened == ["secured", "closed: the stream was cut off"])
        #expect(bench.loop.connectionCount == 0)
        let other = Bench()
        other.hear(Array("HEL".utf8))
        other.network.end(other.far)
        other.hear([])
        #expect(other.ear.happened == ["closed: the peer closed the connection in the handshake"])
    }

    @Test("A failure is told after the bytes before it, and its answer leaves before the end")
    func failing() {
        let bench = Bench()
        bench.hear(Array("HELLO".utf8) + XORLayer.records([1, 2]) + [0xFF, 0xFF, 1, 2, 3])
        #expect(bench.ear.heard == [1, 2])
        #expect(bench.ear.happened == ["secured", "closed: not what was agreed"])
        #expect(bench.said() == Array("OLLEH!".utf8))
        #expect(bench.network.hasEnded(bench.far))
        let other = Bench()
        other.ear.say([1], on: other.loop)
        other.hear(Array("GET / HTTP/1.1\r\n".utf8))
        #expect(other.ear.happened == ["closed: not what was agreed"])
        #expect(other.said() == Array("!".utf8))
    }

    @Test("finish before the layer is open sends nothing that is not sealed")
    func finishInHandshake() {
        let bench = Bench()
        bench.ear.say([1, 2, 3], on: bench.loop)
        bench.loop.finish(bench.ear, .finished)
        bench.hear([])
        #expect(bench.said() == [])
        #expect(bench.network.hasEnded(bench.far))
        bench.network.advance(by: .seconds(3))
        bench.hear([])
        #expect(bench.loop.connectionCount == 0)
    }

    @Test("A connection moves in the middle of a record, with its layer, what is unread and what is sealed", arguments: [0, 1, 2, 4])
    func moving(cut: Int) {
        let bench = Bench()
        let other = EventLoop(number: 1, kernel: PipeKernel(bench.network), limits: bench.loop.limits)
        let next = Ear()
        bench.ear.onReceive = { ear, loop, bytes in
            guard bytes.count >= 3 else { return 0 }
            let transport = loop.surrender(ear, unread: bytes)
            other.add(next, transport)
            return bytes.count
        }
        let second = XORLayer.records([4, 5, 6, 7])
        bench.hear(Array("HELLO".utf8) + XORLayer.records([1, 2, 3]) + second.prefix(cut))
        #expect(bench.loop.connectionCount == 0)
        #expect(bench.said() == [], "the layer's answer went along")
        other.tick(until: other.now)
        #expect(next.heard == [1, 2, 3])
        #expect(bench.said() == Array("OLLEH".utf8))
        bench.network.write(Array(second.dropFirst(cut)) + [0, 0], to: bench.far)
        other.tick(until: other.now)
        #expect(next.heard == [1, 2, 3, 4, 5, 6, 7])
        #expect(next.happened == ["end", "closed: the peer closed the connection"], "it was open when it came")
        #expect((bench.layer as? XORLayer)?.starts == 1)
    }

    @Test("A connection that moves after its end is told of it there")
    func movingAfterEnd() {
        let bench = Bench()
        let other = EventLoop(number: 1, kernel: PipeKernel(bench.network), limits: bench.loop.limits)
        let next = Ear()
        bench.ear.onReceive = { ear, loop, bytes in
            other.add(next, loop.surrender(ear, unread: bytes))
            return bytes.count
        }
        bench.hear(Array("HELLO".utf8) + XORLayer.records([1]) + [0, 0])
        other.tick(until: other.now)
        #expect(next.heard == [1])
        #expect(next.happened == ["end", "closed: the peer closed the connection"])
    }

    @Test("A row is as small as it can be: a layer costs an idle connection without one 8 bytes")
    func size() { #expect(EventLoop.rowSize == 56) }
}
