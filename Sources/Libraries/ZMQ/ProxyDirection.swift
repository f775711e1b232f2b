internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

/// What a proxy moves from one socket to another, in runs. Its lock is held while a run moves, so that a pause is one.
final class ProxyDirection: Sendable {
    struct Counts: Sendable {
        var received = ZMQProxy.Count()
        var sent = ZMQProxy.Count()
        var refused: UInt64 = 0
    }
    private struct State {
        /// Taken, and not sent yet from `next` on.
        var run: [ZMQMessage] = []
        var next = 0
        var counts = Counts()
        var isPaused = false
        var pausers: [Once<Void>] = []
    }
    private enum Step {
        case moved([ZMQMessage])
        case nothing, full, closed
        case paused(Once<Void>)
    }

    private let source: SocketCore
    private let target: SocketCore
    private let capture: SocketCore?
    private let state = Mutex(State())
    /// A run is what one read of 64 KiB may bring in small messages, or 256 KiB of large ones: a loop that carries it is not held up for longer than that.
    private static let countMax = 1_024, bytesMax = 256 << 10
    private static let runsMax = 8

    init(from source: SocketCore, to target: SocketCore, capture: SocketCore?) {
        self.source = source
        self.target = target
        self.capture = capture
    }

    var counts: Counts { state.withLock { $0.counts } }
    var isPaused: Bool { state.withLock { $0.isPaused } }

    func pause() { state.withLock { $0.isPaused = true } }

    func resume() {
        let pausers = state.withLock { state in
            state.isPaused = false
            defer { state.pausers = [] }
            return state.pausers
        }
        for once in pausers { once.resume(returning: ()) }
    }

    /// Until one of the sockets is closed.
    func carry() async throws(ZMQError) {
        var runs = 0
        while true {
            if Task.isCancelled { throw .cancelled }
            switch move() {
            case .moved(let messages):
                for message in messages { try await capture?.send(message) }
                runs += 1
                // Messages that come as fast as they are carried must not keep others from the thread.
                if runs.isMultiple(of: Self.runsMax) { await Task.yield() }
            case .nothing: try await source.waitForMessage(until: .never)
            case .full: try await target.waitForRoom(until: .never)
            case .closed: throw .closed
            case .paused(let once):
                await withTaskCancellationHandler {
                    await once.wait()
                } onCancel: {
                    once.resume(returning: ())
                }
            }
        }
    }

    /// One run. What is captured is answered.
    private func move() -> Step {
        state.withLock { state in
            guard !state.isPaused else {
                let once = Once<Void>()
                state.pausers.append(once)
                return .paused(once)
            }
            if state.run.isEmpty {
                // What nobody can take stays where its sender's mark counts it.
                if target.isWithoutRoom { return .full }
                let isClosed = source.take(into: &state.run, countMax: Self.countMax, bytesMax: Self.bytesMax)
                if state.run.isEmpty { return isClosed ? .closed : .nothing }
                state.counts.received.messages &+= UInt64(state.run.count)
                for message in state.run { state.counts.received.bytes &+= UInt64(message.byteCount) }
            }
            let outcome = target.offer(run: state.run, from: state.next)
            state.counts.sent.messages &+= UInt64(outcome.taken - outcome.refused)
            state.counts.sent.bytes &+= UInt64(outcome.bytes)
            state.counts.refused &+= UInt64(outcome.refused)
            let captured = capture == nil ? [] : Array(state.run[state.next..<(state.next + outcome.taken)])
            state.next += outcome.taken
            if state.next == state.run.count {
                state.run.removeAll(keepingCapacity: true)
                state.next = 0
            }
            if outcome.isClosed { return .closed }
            return outcome.taken > 0 ? .moved(captured) : .full
        }
    }
}

extension SocketCore {
    /// Messages go to one peer of several, and none has room.
    fileprivate var isWithoutRoom: Bool {
        switch type {
        case .push, .dealer, .pair, .client: shared.withLock { !$0.state.hasRoom && !$0.isClosing }
        default: false
        }
    }
}
