import CLinux
import MartletBytes
import MartletZMQ
import Synchronization

/// What one socket of `martlet bench zmq` sends, or asks; and what receivers do.
struct ZMQBenchFlow: Sendable {
    /// In front of each message: that it is a bench's, its number, and when it was due.
    private static let mark: UInt32 = 0x4D5A_4251
    /// Messages between two looks at the clock, and at most in one hold of the counts.
    private static let clockStep = 16, runMax = 512

    private let load: BenchLoad
    private let tally: ZMQBenchTally
    private let gate: ZMQBenchGate
    private let index: Int

    init(_ load: BenchLoad, index: Int, _ tally: ZMQBenchTally, _ gate: ZMQBenchGate) {
        (self.load, self.index, self.tally, self.gate) = (load, index, tally, gate)
    }

    // MARK: Sending

    func send<Pattern: ZMQSender>(by socket: ZMQSocket<Pattern>) async throws {
        var pace = BenchPace(load, index: index), frame = [UInt8](repeating: UInt8(ascii: "x"), count: load.payloadSize)
        try await gate.wait()
        pace.start(at: cl_monotonic_ns())
        while pace.left > 0, !Task.isCancelled {
            let isFull = try tally.counts.withLock { counts in try run(&pace, &frame, &counts, socket) }
            if isFull {
                Self.stamp(&frame, pace.sequence, due: pace.isRated ? pace.nextDue : cl_monotonic_ns())
                try await socket.send(frame)
                pace.sent()
                tally.counts.withLock { $0.sent &+= 1 }
            } else if pace.isRated {
                try await Self.wait(until: pace.nextDue)
            } else {
                await Task.yield()
            }
        }
    }

    /// Sends what is due, or some, without waiting. Answers whether there is no room for more.
    private func run<Pattern: ZMQSender>(
        _ pace: inout BenchPace, _ frame: inout [UInt8], _ counts: inout BenchCounts, _ socket: ZMQSocket<Pattern>
    ) throws -> Bool {
        var now = cl_monotonic_ns()
        for step in 0..<Self.runMax where pace.left > 0 {
            if step % Self.clockStep == Self.clockStep - 1 { now = cl_monotonic_ns() }
            if pace.isRated, pace.nextDue > now { return false }
            Self.stamp(&frame, pace.sequence, due: pace.isRated ? pace.nextDue : now)
            guard try socket.trySend(ZMQMessage(frame)) else { return true }
            pace.sent()
            counts.sent &+= 1
        }
        return false
    }

    func ask(by socket: ZMQSocket<ZMQReq>) async throws {
        var pace = BenchPace(load, index: index), frame = [UInt8](repeating: UInt8(ascii: "x"), count: load.payloadSize)
        try await gate.wait()
        pace.start(at: cl_monotonic_ns())
        while pace.left > 0, !Task.isCancelled {
            if pace.isRated { try await Self.wait(until: pace.nextDue) }
            let due = pace.isRated ? pace.nextDue : cl_monotonic_ns()
            Self.stamp(&frame, pace.sequence, due: due)
            let question = ZMQMessage(frame)
            do throws(ZMQError) {
                let reply = try await socket.request(question), now = cl_monotonic_ns()
                tally.counts.withLock { counts in
                    counts.sent &+= 1
                    counts.received &+= 1
                    counts.latency.add(nanoseconds: now - due)
                    if reply.byteCount == question.byteCount, reply != question { counts.failed("a reply is another request's") }
                }
            } catch {
                if error == .cancelled || error == .closed { return }
                tally.fail("a request had no reply: \(error)")
            }
            pace.sent()
        }
    }

    private static func wait(until due: Int64) async throws {
        guard due != .max else { return }
        let left = due - cl_monotonic_ns()
        if left > 200_000 { try await Task.sleep(for: .nanoseconds(left - 100_000), tolerance: .zero) } else if left > 0 { await Task.yield() }
    }

    private static func stamp(_ frame: inout [UInt8], _ sequence: Int, due: Int64) {
        var head = UInt64(mark) << 32 | UInt64(UInt32(truncatingIfNeeded: sequence)), time = UInt64(bitPattern: due)
        for at in stride(from: 7, through: 0, by: -1) {
            frame[at] = UInt8(truncatingIfNeeded: head)
            frame[at + 8] = UInt8(truncatingIfNeeded: time)
            (head, time) = (head >> 8, time >> 8)
        }
    }

    // MARK: Receiving

    static func receive<Pattern: ZMQReceiver>(by socket: ZMQSocket<Pattern>, _ tally: ZMQBenchTally) async throws {
        while !Task.isCancelled {
            let count = tally.counts.withLock { counts in
                var now = cl_monotonic_ns(), count = 0
                while count < runMax, let message = socket.tryReceive() {
                    if count % clockStep == clockStep - 1 { now = cl_monotonic_ns() }
                    note(message, now, &counts)
                    count += 1
                }
                return count
            }
            if count == runMax {
                await Task.yield()
                continue
            }
            let message: ZMQMessage
            do throws(ZMQError) { message = try await socket.receive() } catch {
                if error == .cancelled || error == .closed { return }
                throw error
            }
            tally.counts.withLock { note(message, cl_monotonic_ns(), &$0) }
        }
    }

    @inline(__always) private static func note(_ message: ZMQMessage, _ now: Int64, _ counts: inout BenchCounts) {
        counts.received &+= 1
        let frame = message.span(of: message.count - 1)
        if frame.count >= 16, frame.uint32(at: 0) == mark { counts.latency.add(nanoseconds: now &- Int64(bitPattern: frame.uint64(at: 8))) }
    }

    /// Each request is its reply. Counted where nobody else does.
    static func answer(by socket: ZMQSocket<ZMQRep>, _ tally: ZMQBenchTally?) async throws {
        do throws(ZMQError) {
            while true {
                let request = try await socket.nextRequest(), message = request.message
                if let tally { tally.counts.withLock { note(message, cl_monotonic_ns(), &$0) } }
                try await request.reply(message)
            }
        } catch { if error != .cancelled, error != .closed { throw error } }
    }
}
