import CLinux
import MartletBytes
import MartletEventLoop
import MartletPipe
import Testing

/// The loop over memory and a virtual clock: reading, writing, back-pressure, ends and timers, without a socket.
@Suite struct PipeTests {
    /// Echoes, and notes what happens to it.
    final class Echo: Channel {
        var frame = 1
        var wakes: [Instant] = []
        var wanted = Instant.never
        var blocked: [Bool] = []
        var end: CloseReason?
        var seen: [UInt8] = []
        var endsItself = false

        override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
            let whole = bytes.count / frame * frame
            guard whole > 0 else { return 0 }
            seen += bytes.extracting(0..<whole).array
            loop.willWrite(slot)
            loop[output: slot].append(bytes.extracting(0..<whole))
            if endsItself { loop.finish(self, .finished) }
            return whole
        }
        override var deadline: Instant { wanted }
        override func wake(on loop: EventLoop) {
            wakes.append(loop.now)
            wanted = .never
        }
        override func outputBlocked(_ blocked: Bool, on loop: EventLoop) { self.blocked.append(blocked) }
        override func closed(_ reason: CloseReason, on loop: EventLoop) { end = reason }
    }

    final class Bench {
        let network = PipeNetwork()
        let loop: EventLoop
        let echo = Echo()
        let far: Int32
        init(_ change: (inout EventLoopLimits) -> Void = { _ in }) {
            var limits = EventLoopLimits()
            limits.connectionsMax = 64
            change(&limits)
            loop = EventLoop(kernel: PipeKernel(network), limits: limits)
            let (near, far) = network.makeStream()
            self.far = far
            loop.add(echo, descriptor: near)
        }
        func tick(_ count: Int = 1) { for _ in 0..<count { loop.tick(until: loop.now) } }
    }

    @Test("What is read is echoed, all of a tick in one write") func echoing() {
        let bench = Bench()
        bench.network.write(Array("hello".utf8), to: bench.far)
        bench.tick()
        #expect(bench.network.read(from: bench.far) == Array("hello".utf8))
    }

    @Test("A cut frame is kept and shown again with what follows", arguments: [1, 2, 3, 7, 100]) func cutFrames(readSize: Int) {
        let bench = Bench()
        bench.network.readSizeMax = readSize
        bench.echo.frame = 5
        let bytes = (0..<103).map { UInt8($0) }
        bench.network.write(bytes, to: bench.far)
        bench.tick(110)
        #expect(bench.echo.seen == Array(bytes.prefix(100)))
        bench.network.write([200, 201], to: bench.far)
        bench.tick(3)
        #expect(Array(bench.echo.seen.suffix(5)) == [100, 101, 102, 200, 201])
    }

    @Test("A frame larger than the read area arrives whole") func largeFrame() {
        let bench = Bench()
        bench.echo.frame = 300_000
        bench.network.capacity = 1 << 20
        let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        bench.network.write(bytes, to: bench.far)
        bench.tick(10)
        #expect(bench.echo.seen == bytes)
        #expect(bench.network.read(from: bench.far) == bytes)
    }

    @Test("A peer that does not read stops being read from, and goes on when it does") func backPressure() {
        let bench = Bench {
            $0.outputHighWater = 1000; $0.outputLowWater = 100
        }
        bench.network.capacity = 64
        bench.network.readSizeMax = 500
        bench.network.write([UInt8](repeating: 7, count: 10_000), to: bench.far)
        bench.tick(20)
        #expect(bench.echo.blocked == [true])
        #expect(bench.loop.isBlocked(bench.echo.slot))
        let stuckAt = bench.echo.seen.count
        #expect(stuckAt < 3000)
        bench.tick(20)
        #expect(bench.echo.seen.count == stuckAt)
        var back = 0
        for _ in 0..<2000 {
            back += bench.network.read(from: bench.far).count
            bench.tick()
        }
        #expect(back == 10_000)
        #expect(bench.echo.blocked.filter { $0 }.count == bench.echo.blocked.filter { !$0 }.count)
    }

    @Test("The end of the stream lets the output leave, then closes") func halfClose() {
        let bench = Bench()
        bench.network.capacity = 10
        bench.network.write([UInt8](repeating: 1, count: 100), to: bench.far)
        bench.network.end(bench.far)
        var back = 0
        for _ in 0..<40 {
            bench.tick()
            back += bench.network.read(from: bench.far).count
        }
        #expect(back == 100)
        #expect(bench.echo.end == .ended)
        #expect(bench.network.hasEnded(bench.far))
        #expect(bench.loop.connectionCount == 0)
    }

    @Test("A farewell leaves before the close; a peer that does not end is cut after the linger") func farewell() {
        let bench = Bench()
        bench.echo.endsItself = true
        bench.network.write([9], to: bench.far)
        bench.tick()
        #expect(bench.echo.end == .finished)
        #expect(bench.network.read(from: bench.far) == [9])
        #expect(bench.network.hasEnded(bench.far))
        #expect(bench.loop.connectionCount == 1, "the descriptor lingers")
        bench.network.write([1, 2, 3], to: bench.far)
        bench.tick()
        #expect(bench.echo.seen == [9], "nobody hears what comes after")
        bench.network.advance(by: .seconds(2))
        bench.tick()
        #expect(bench.loop.connectionCount == 0)
    }

    @Test("A slot that is used again never gets what was meant for its predecessor") func generations() {
        let bench = Bench()
        let old = bench.echo.slot
        bench.echo.wanted = bench.loop.now + .seconds(1)
        bench.loop.schedule(bench.echo)
        bench.loop.close(bench.echo, .finished)
        let next = Echo()
        let (near, far) = bench.network.makeStream()
        bench.loop.add(next, descriptor: near)
        #expect(next.slot == old)
        bench.network.write([1], to: bench.far)
        bench.network.advance(by: .seconds(5))
        bench.tick()
        #expect(next.wakes.isEmpty)
        #expect(next.seen.isEmpty)
        bench.network.write([2], to: far)
        bench.tick()
        #expect(next.seen == [2])
    }

    @Test("A deadline that moves away costs nothing and fires when it comes; one that moves nearer fires earlier") func timers() {
        let bench = Bench()
        let start = bench.loop.now
        bench.echo.wanted = start + .seconds(10)
        bench.loop.schedule(bench.echo)
        bench.echo.wanted = start + .seconds(20)
        bench.network.advance(by: .seconds(10))
        bench.tick()
        #expect(bench.echo.wakes.isEmpty)
        bench.network.advance(by: .seconds(10))
        bench.tick()
        #expect(bench.echo.wakes == [start + .seconds(20)])
        bench.echo.wanted = start + .seconds(60)
        bench.loop.schedule(bench.echo)
        bench.echo.wanted = start + .seconds(30)
        bench.loop.schedule(bench.echo)
        bench.network.advance(by: .seconds(10))
        bench.tick()
        #expect(bench.echo.wakes.last == start + .seconds(30))
        bench.network.advance(by: .seconds(60))
        bench.tick()
        #expect(bench.echo.wakes.count == 2)
    }

    @Test("A paused connection is not read from") func paused() {
        let bench = Bench()
        bench.loop.pauseReading(bench.echo.slot, true)
        bench.network.write([1], to: bench.far)
        bench.tick(3)
        #expect(bench.echo.seen.isEmpty)
        bench.loop.pauseReading(bench.echo.slot, false)
        bench.tick()
        #expect(bench.echo.seen == [1])
    }

    @Test("A connection handed to another loop takes its unread bytes along") func handOver() {
        let bench = Bench()
        let other = EventLoop(number: 1, kernel: PipeKernel(bench.network), limits: bench.loop.limits)
        let transport = bench.loop.surrender(bench.echo, unread: [1, 2, 3].span)
        let next = Echo()
        other.add(next, transport)
        bench.network.write([4], to: bench.far)
        bench.tick()
        other.tick(until: other.now)
        #expect(next.seen == [1, 2, 3, 4])
        #expect(bench.loop.connectionCount == 0)
        #expect(bench.network.read(from: bench.far) == [1, 2, 3, 4])
    }

    /// Says what it hears to all.
    final class Crier: Channel {
        var all: [Channel] = []
        override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
            for channel in all where channel.slot != 0 {
                loop.willWrite(channel.slot)
                loop[output: channel.slot].append(bytes)
            }
            return bytes.count
        }
    }

    @Test("What many are told leaves a few at a time; what comes meanwhile leaves with it for those whose turn has not come") func fewAtATime() {
        let bench = Bench { $0.flushBatch = 2 }, network = bench.network, crier = Crier()
        let (near, far) = network.makeStream()
        bench.loop.add(crier, descriptor: near)
        let fars = (0..<7).map { _ in
            let (near, far) = network.makeStream(), echo = Echo()
            bench.loop.add(echo, descriptor: near)
            crier.all.append(echo)
            return far
        }
        func heard() -> [String] { fars.map { String(decoding: network.read(from: $0), as: UTF8.self) } }
        network.write(Array("a".utf8), to: far)
        bench.tick()
        #expect(heard() == ["a", "a", "a", "a", "", "", ""])
        network.write(Array("b".utf8), to: far)
        // One of those that wait goes, and its row has another owner before its turn comes.
        bench.loop.close(crier.all[5], .finished)
        let (next, nextFar) = network.makeStream(), newcomer = Echo()
        bench.loop.add(newcomer, descriptor: next)
        bench.tick()
        #expect(heard() == ["b", "", "", "", "ab", "", "ab"])
        bench.tick(2)
        #expect(heard() == ["", "b", "b", "b", "", "", ""])
        #expect(network.read(from: nextFar).isEmpty && newcomer.end == nil)
        network.write(Array("c".utf8), to: nextFar)
        bench.tick()
        #expect(network.read(from: nextFar) == Array("c".utf8))
    }
}
