public import MartletBytes
public import MartletDriver
public import MartletEventLoop
public import MartletNet

/// An event loop: one thread waits for all clients at once, and calls who has something.
extension Service where Machine: ~Copyable {
    /// Serves on `options.loopCount` loops until `stop`, and returns when they have ended; the calling thread waits.
    @inlinable public func serveLoop(on socket: BoundSocket, _ options: ServeOptions = ServeOptions(), until stop: ServerStop) {
        LoopServer(socket, options, stop) { loop in channel(on: loop) }.run()
    }

    /// Inlined where `Machine` is known, so that the machine and the handler are one piece of code with what calls them.
    @inlinable func channel(on loop: EventLoop) -> ServiceChannel {
        let machine = Pinned(makeMachine())
        let handle = handle
        return ServiceChannel(deadline: machine.value.deadline) { occasion, bytes, channel, loop throws in
            defer { channel.times.value.machine = machine.value.deadline }
            let slot = channel.slot
            switch occasion {
            case .bytes:
                var failure: (any Error)?
                let used = try loop.drive(&machine.value, over: bytes, slot: slot) { event, machine in
                    // First, so that the answer is written into a buffer of the loop's pool.
                    loop.willWrite(slot)
                    do { try handle(event, bytes, &machine, &loop[output: slot]) } catch { failure = error }
                    return failure == nil
                }
                if let failure { throw failure }
                return used
            case .end:
                defer { if !loop[output: slot].isEmpty { loop.willWrite(slot) } }
                try machine.value.receiveEnd(at: loop.now, into: &loop[output: slot])
            case .deadline: try loop.wake(&machine.value, slot: slot)
            }
            return 0
        }
    }
}

/// One client of `serveLoop`.
@usableFromInline final class ServiceChannel: Channel {
    @usableFromInline enum Occasion { case bytes, end, deadline }
    /// Answers how many bytes were used; throws what ends the client.
    @usableFromInline typealias Turn = (Occasion, Span<UInt8>, ServiceChannel, EventLoop) throws -> Int

    private let turn: Turn
    /// The machine's deadline, and when a client that takes nothing is cut off.
    @usableFromInline let times: Pinned<(machine: Instant, stall: Instant)>
    fileprivate var stallTimeout = Duration.zero
    /// What was to be sent when `times.stall` was set.
    private var unsentCount = 0
    private var hasEnded = false
    fileprivate var left: ((CloseReason) -> Void)?

    @usableFromInline init(deadline: Instant, _ turn: @escaping Turn) {
        self.turn = turn
        times = Pinned((deadline, .never))
        super.init()
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        do { return try turn(.bytes, bytes, self, loop) } catch {
            loop.finish(self, CloseReason(ending: error))
            return bytes.count
        }
    }

    override func receiveEnd(on loop: EventLoop) {
        do {
            _ = try turn(.end, Span(), self, loop)
        } catch { return loop.finish(self, CloseReason(ending: error)) }
        if loop.unsentCount(slot) == 0 { return loop.finish(self, .ended) }
        // It gets what it is owed, as long as it takes any of it.
        hasEnded = true
        times.value.machine = .never
        expectProgress(on: loop)
        loop.finishWriting(self)
    }

    override func outputEnded(on loop: EventLoop) { loop.finish(self, .ended) }

    override func wake(on loop: EventLoop) {
        if times.value.stall <= loop.now {
            guard loop.unsentCount(slot) < unsentCount else { return loop.close(self, .failed(timedOut)) }
            expectProgress(on: loop)
        }
        if hasEnded { return }
        do { _ = try turn(.deadline, Span(), self, loop) } catch { loop.finish(self, CloseReason(ending: error)) }
    }

    override var deadline: Instant { min(times.value.machine, times.value.stall) }

    /// A handshake must come to its end too.
    fileprivate func expectSecured(on loop: EventLoop) { times.value.stall = loop.now + stallTimeout }

    override func secured(on loop: EventLoop) { times.value.stall = .never }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) {
        if blocked { expectProgress(on: loop) } else if !hasEnded { times.value.stall = .never }
    }

    /// Some of what is to be sent must have left when the time is over.
    private func expectProgress(on loop: EventLoop) {
        unsentCount = loop.unsentCount(slot)
        times.value.stall = loop.now + stallTimeout
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) { left?(reason) }
}

/// The loops of one `serveLoop`: the first accepts, and gives clients to all in turn.
@usableFromInline struct LoopServer: Sendable {
    private let socket: BoundSocket
    private let options: ServeOptions
    private let stop: ServerStop
    private let makeChannel: @Sendable (EventLoop) -> ServiceChannel

    @usableFromInline init(_ socket: BoundSocket, _ options: ServeOptions, _ stop: ServerStop, _ makeChannel: @escaping @Sendable (EventLoop) -> ServiceChannel)
    {
        (self.socket, self.options, self.stop, self.makeChannel) = (socket, options, stop, makeChannel)
    }

    @usableFromInline func run() {
        var limits = EventLoopLimits()
        // A handler answers its own client alone.
        limits.flushBatch = 32
        let loops = (0..<max(1, options.loopCount)).map { [limits] in EventLoop(number: $0, limits: limits) }
        let server = self
        let threads = loops.map { loop in
            loop.start { loop in
                if loop.number == 0 { server.accept(for: loops, on: loop) }
                return nil
            }
        }
        stop.whenStopped { [stop] in
            for loop in loops {
                loop.execute { loop in for channel in loop.channels(of: Channel.self) { loop.finish(channel, .stopping) } }
                loop.stop(grace: stop.grace)
            }
        }
        for thread in threads { thread.join() }
    }

    private func accept(for loops: [EventLoop], on first: EventLoop) {
        var turn = 0
        Listener(socket) { [self] descriptor, peer in
            let loop = loops[turn]
            turn = (turn + 1) % loops.count
            if loop === first { take(descriptor, peer, on: loop) } else { loop.execute { loop in take(descriptor, peer, on: loop) } }
        }.open(on: first)
    }

    private func take(_ descriptor: Int32, _ peer: SocketAddress, on loop: EventLoop) {
        let channel = makeChannel(loop)
        channel.stallTimeout = options.stallTimeout
        if options.layer != nil { channel.expectSecured(on: loop) }
        if let clientChanged = options.clientChanged { channel.left = { clientChanged(peer, $0) } }
        guard loop.add(channel, Transport(descriptor: descriptor, layer: options.layer?())) != nil else { return }
        options.clientChanged?(peer, nil)
    }
}

extension Service where Machine: ~Copyable {
    /// Serves as `model` says.
    @inlinable public func serve(_ model: ServerModel, on socket: BoundSocket, _ options: ServeOptions = ServeOptions(), until stop: ServerStop) {
        switch model {
        case .blocking: serveBlocking(on: socket, options, until: stop)
        case .polling: servePolling(on: socket, options, until: stop)
        case .threads: serveThreads(on: socket, options, until: stop)
        case .loop: serveLoop(on: socket, options, until: stop)
        }
    }
}
