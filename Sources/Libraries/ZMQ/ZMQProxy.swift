internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

/// Moves messages between two sockets, as libzmq's `zmq_proxy_steerable` does: what comes to the one is sent by the other, in both directions if their
/// patterns allow it, many messages at a time.
/// ```swift
/// let proxy = try ZMQProxy(frontend: router, backend: dealer)  // or XSUB and XPUB, PULL and PUSH, …
/// try await proxy.run()
/// ```
/// An XPUB's subscriptions reach an XSUB's publishers, also those that come later. While the one side has no room, nothing is taken from the other: so its
/// peers wait at their high-water marks, as they would without the proxy. What a socket drops by its pattern is in that socket's `counters`.
public final class ZMQProxy: Sendable {
    /// Messages and their bytes, without framing.
    public struct Count: Sendable, Equatable {
        public var messages: UInt64 = 0
        public var bytes: UInt64 = 0
    }
    /// What passed so far.
    public struct Statistics: Sendable, Equatable {
        public var receivedByFrontend = Count()
        public var sentByFrontend = Count()
        public var receivedByBackend = Count()
        public var sentByBackend = Count()
        /// Messages that a mandatory ROUTER had no peer for.
        public var refused: UInt64 = 0
    }

    private let frontend: SocketCore
    private let backend: SocketCore
    private let capture: SocketCore?
    private let forward: ProxyDirection?
    private let backward: ProxyDirection?
    private let ending = Mutex<(isTerminated: Bool, waiting: [Once<Void>])>((false, []))

    /// Throws `typesDoNotFit` when neither socket can send what comes to the other. Both stay the caller's, who closes them afterwards.
    public convenience init<Frontend: ZMQPattern, Backend: ZMQPattern>(frontend: ZMQSocket<Frontend>, backend: ZMQSocket<Backend>) throws(ZMQError) {
        try self.init(frontend, backend, capture: nil)
    }

    /// `capture` sends a copy of all that passes, in either direction. A PUB drops what nobody takes; any other pattern holds the proxy up meanwhile.
    /// Throws `typesDoNotFit` as the other.
    public convenience init<Frontend: ZMQPattern, Backend: ZMQPattern, Capture: ZMQSender>(
        frontend: ZMQSocket<Frontend>, backend: ZMQSocket<Backend>, capture: ZMQSocket<Capture>
    ) throws(ZMQError) {
        try self.init(frontend, backend, capture: capture.core)
    }

    private init<Frontend: ZMQPattern, Backend: ZMQPattern>(
        _ frontend: ZMQSocket<Frontend>, _ backend: ZMQSocket<Backend>, capture: SocketCore?
    ) throws(ZMQError) {
        self.frontend = frontend.core
        self.backend = backend.core
        self.capture = capture
        let goesForward = Frontend.self is any ZMQReceiver.Type && Backend.self is any ZMQSender.Type
        let goesBackward = Backend.self is any ZMQReceiver.Type && Frontend.self is any ZMQSender.Type
        guard goesForward || goesBackward else {
            throw .typesDoNotFit("nothing goes through a proxy between \(Frontend.type.name) and \(Backend.type.name): one has to receive, the other to send")
        }
        forward = goesForward ? ProxyDirection(from: frontend.core, to: backend.core, capture: capture) : nil
        backward = goesBackward ? ProxyDirection(from: backend.core, to: frontend.core, capture: capture) : nil
    }

    // MARK: Running

    /// Moves messages until `terminate`. What was taken and found no room is kept for another call, after a cancelled one say.
    ///
    /// Where its sockets share an event loop, as they do unless `withZMQSocket` was told otherwise, it works on that: no change of thread a message.
    /// Throws `closed` when one of its sockets is closed, `cancelled`.
    public func run() async throws(ZMQError) { try await run(obeying: nil) }

    /// Obeys the commands that come to `control` meanwhile, as libzmq does: `PAUSE`, `RESUME`, `TERMINATE` and `STATISTICS`.
    ///
    /// A REP answers each: with an empty message, or for `STATISTICS` eight frames of eight bytes, little-endian: messages and bytes that the frontend has
    /// received and sent, then those of the backend. A PAIR or DEALER answers `STATISTICS` alone, PULL and SUB nothing. What is no command is answered by
    /// a REP with `unknown command`, and otherwise ignored.
    /// Throws as `run` does, and `typesDoNotFit` when `control` cannot receive.
    public func run<Control: ZMQPattern>(control: ZMQSocket<Control>) async throws(ZMQError) {
        guard Control.type == .rep || Control.self is any ZMQReceiver.Type else {
            throw .typesDoNotFit("a \(Control.type.name) socket hears no commands: take REP, PAIR, DEALER, PULL or SUB")
        }
        let answers = Control.self is any ZMQSender.Type
        try await run(obeying: { proxy async throws(ZMQError) in
            if Control.type == .rep { try await proxy.obey(requestsTo: control.core) } else { try await proxy.obey(control.core, answers: answers) }
        })
    }

    private func run(obeying obey: (@Sendable (ZMQProxy) async throws(ZMQError) -> Void)?) async throws(ZMQError) {
        let loop = frontend.loop
        let error =
            if loop === backend.loop {
                await withTaskExecutorPreference(loop.tasks) { await self.finish(obey) }
            } else {
                await finish(obey)
            }
        if let error { throw error }
    }

    /// Until the first of its tasks has ended.
    private func finish(_ obey: (@Sendable (ZMQProxy) async throws(ZMQError) -> Void)?) async -> ZMQError? {
        await withTaskGroup(of: ZMQError?.self) { group in
            for direction in [forward, backward] {
                guard let direction else { continue }
                group.addTask { await Self.outcome { () async throws(ZMQError) in try await direction.carry() } }
            }
            for core in [frontend, backend] {
                group.addTask {
                    await Self.outcome { () async throws(ZMQError) in
                        try await core.waitForClosing()
                        throw .closed
                    }
                }
            }
            if let obey { group.addTask { await Self.outcome { () async throws(ZMQError) in try await obey(self) } } }
            group.addTask { await Self.outcome { () async throws(ZMQError) in try await self.awaitTermination() } }
            let error = await group.next() ?? nil
            group.cancelAll()
            return error
        }
    }

    private static func outcome(_ body: () async throws(ZMQError) -> Void) async -> ZMQError? {
        do throws(ZMQError) {
            try await body()
            return nil
        } catch { return error }
    }

    private func awaitTermination() async throws(ZMQError) {
        let once = Once<Void>()
        ending.withLock { ending in if ending.isTerminated { once.resume(returning: ()) } else { ending.waiting.append(once) } }
        await withTaskCancellationHandler {
            await once.wait()
        } onCancel: {
            once.resume(returning: ())
        }
        if !ending.withLock({ $0.isTerminated }) { throw .cancelled }
    }

    // MARK: Steering

    /// Holds everything up: when it returns nothing more passes, and what comes waits in the sockets.
    public func pause() { for direction in [forward, backward] { direction?.pause() } }

    /// Goes on after `pause`.
    public func resume() { for direction in [forward, backward] { direction?.resume() } }

    public var isPaused: Bool { (forward ?? backward)?.isPaused ?? false }

    /// Ends `run`, for good.
    public func terminate() {
        let waiting = ending.withLock { ending in
            defer { ending = (true, []) }
            return ending.waiting
        }
        for once in waiting { once.resume(returning: ()) }
    }

    public var statistics: Statistics {
        var statistics = Statistics()
        if let forward {
            let counts = forward.counts
            (statistics.receivedByFrontend, statistics.sentByBackend, statistics.refused) = (counts.received, counts.sent, counts.refused)
        }
        if let backward {
            let counts = backward.counts
            (statistics.receivedByBackend, statistics.sentByFrontend) = (counts.received, counts.sent)
            statistics.refused += counts.refused
        }
        return statistics
    }

    // MARK: The control socket

    private func obey(requestsTo control: SocketCore) async throws(ZMQError) {
        while true {
            let request = try await control.nextRequest(until: .never), answer = obey(request.message)
            try await request.reply(answer ?? "unknown command")
        }
    }

    private func obey(_ control: SocketCore, answers: Bool) async throws(ZMQError) {
        while true {
            let answer = obey(try await control.receive().0)
            if answers, let answer, answer.count > 1 { try await control.send(answer) }
        }
    }

    /// Carries a command out; nil if it is none.
    private func obey(_ command: ZMQMessage) -> ZMQMessage? {
        switch command.text {
        case "PAUSE": pause()
        case "RESUME": resume()
        case "TERMINATE": terminate()
        case "STATISTICS": return statistics.message
        default: return nil
        }
        return ZMQMessage()
    }
}

extension ZMQProxy.Statistics {
    /// Eight numbers, as libzmq says them.
    fileprivate var message: ZMQMessage {
        let counts = [receivedByFrontend, sentByFrontend, receivedByBackend, sentByBackend]
        return ZMQMessage(
            frames: counts.flatMap { [$0.messages, $0.bytes] }.map { number in
                stride(from: 0, to: 64, by: 8).map { UInt8(truncatingIfNeeded: number >> $0) }
            })
    }
}
