import CLinux
import MartletBytes
import MartletEventLoop
import MartletLogging
import MartletWebSocket
import Synchronization

/// `--mode echo`: sends numbered messages, and compares what comes back.
final class WSBenchEcho: Channel, EchoBenchClient {
    private let bench: WSBench
    private var pace: EchoBenchPace
    private let peer: Pinned<WSBenchPeer>
    private var message: [UInt8]
    private var answered: UInt64 = 0
    private var isReady = false

    init(_ bench: WSBench, index: Int, now: Instant) {
        self.bench = bench
        pace = EchoBenchPace(bench.load, index: index)
        peer = Pinned(WSBenchPeer(bench, now: now))
        message = WSBenchNumber.message(bench.load.size)
    }

    func begin(on loop: EventLoop) {
        let request = peer.value.request
        loop.willWrite(slot)
        loop[output: slot].append(request.span)
    }

    private var hasRoom: Bool { pace.sequence - answered < UInt64(bench.load.depth) }

    func startSending(at now: Int64, on loop: EventLoop) {
        pace.start(at: now)
        guard slot != 0 else { return }
        if pace.interval > 0 { loop.schedule(self) } else if let tenant = EchoBenchLoop.on(loop) { fill(tenant, due: now, on: loop) }
    }

    private func fill(_ tenant: EchoBenchLoop, due: Int64, on loop: EventLoop) {
        guard pace.left > 0, hasRoom else { return }
        loop.willWrite(slot)
        while pace.left > 0, hasRoom { send(due: due, tenant, on: loop) }
    }

    private func send(due: Int64, _ tenant: EchoBenchLoop, on loop: EventLoop) {
        WSBenchNumber.write(pace.sent(due: due), to: &message)
        let bytes = message
        try? peer.value.machine?.send(bench.kind, bytes.span, into: &loop[output: slot])
        tenant.counts.sent &+= 1
        tenant.counts.sentInAll &+= 1
    }

    func sendDue(on loop: EventLoop) -> Int64 {
        guard slot != 0, let tenant = EchoBenchLoop.on(loop) else { return .max }
        let now = cl_monotonic_ns()
        if hasRoom, pace.nextDue <= now {
            loop.willWrite(slot)
            while hasRoom, pace.nextDue <= now { send(due: pace.nextDue, tenant, on: loop) }
        }
        return hasRoom ? pace.nextDue : .max
    }

    override var deadline: Instant {
        guard pace.interval > 0, hasRoom, pace.nextDue != .max else { return .never }
        return Instant(nanoseconds: pace.nextDue - EchoBenchLoop.clockStep)
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = EchoBenchLoop.on(loop) else { return bytes.count }
        guard isReady else { return open(bytes, tenant, on: loop) }
        let now = cl_monotonic_ns(), before = answered
        var input = ByteReader(bytes), failure: String?
        peer.value.machine?.heard(at: loop.now)
        do throws(WebSocketViolation) {
            while let event = try peer.value.machine?.nextEvent(from: &input, into: &loop[output: slot]) {
                switch event {
                case .text(let range), .binary(let range):
                    guard Self.number(peer.value, range) == answered, Int(range.count) == bench.load.size else {
                        failure = "what came back is not what was sent, in message \(answered) of a connection; does the server echo?"
                        break
                    }
                    if tenant.isMeasuring { tenant.counts.latency.add(nanoseconds: now &- pace.due(answered)) }
                    answered += 1
                case .close(let code, _): failure = "the server closed with \(code)"
                case .part, .ping, .pong: break
                }
                if failure != nil { break }
            }
        } catch { failure = "the server broke the protocol: \(error)" }
        tenant.counts.received &+= answered - before
        tenant.counts.receivedInAll &+= answered - before
        if let failure {
            tenant.counts.failed(failure)
            loop.close(self, .finished)
            return bytes.count
        }
        if !loop[output: slot].isEmpty { loop.willWrite(slot) }
        if tenant.isSending, pace.interval == 0 { fill(tenant, due: now, on: loop) }
        return input.offset
    }

    private static func number(_ peer: borrowing WSBenchPeer, _ range: ByteRange) -> UInt64? {
        switch peer.machine {
        case .some(let machine): WSBenchNumber.read(machine.content, at: Int(range.start))
        case nil: nil
        }
    }

    private func open(_ bytes: Span<UInt8>, _ tenant: EchoBenchLoop, on loop: EventLoop) -> Int {
        do throws(WSBenchPeer.Failure) {
            let used = try peer.value.open(bytes)
            guard used > 0 else { return 0 }
            isReady = true
            tenant.counts.readyCount += 1
            return used
        } catch {
            if case .refused(let reason) = error { tenant.counts.failed(reason, isUnreachable: true) }
            loop.close(self, .finished)
            return bytes.count
        }
    }

    func close(on loop: EventLoop) {
        guard slot != 0 else { return }
        loop.willWrite(slot)
        try? peer.value.machine?.close(into: &loop[output: slot])
        loop.finish(self, .finished)
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        guard reason != .finished, let tenant = EchoBenchLoop.on(loop) else { return }
        tenant.counts.failed("a connection was lost: \(reason)", isUnreachable: !isReady)
    }
}

/// What is said and not yet heard by all, on whatever loops they are.
final class WSBenchFlight: Sendable {
    private let sent = Atomic(0), heard = Atomic(0)
    private let depth: Int, copies: Int

    init(depth: Int, copies: Int) { (self.depth, self.copies) = (depth, copies) }

    var hasRoom: Bool { sent.load(ordering: .relaxed) * copies - heard.load(ordering: .relaxed) < depth * copies }
    func noteSent() { sent.wrappingAdd(1, ordering: .relaxed) }
    func noteHeard(_ count: Int) { heard.wrappingAdd(count, ordering: .relaxed) }
}

/// `--mode broadcast`: a connection that hears.
class WSBenchListener: BenchConnection {
    final let bench: WSBench
    final let flight: WSBenchFlight
    final let peer: Pinned<WSBenchPeer>

    init(_ bench: WSBench, _ flight: WSBenchFlight, now: Instant) {
        (self.bench, self.flight) = (bench, flight)
        peer = Pinned(WSBenchPeer(bench, now: now))
    }

    override func connect(on loop: EventLoop) {
        let request = peer.value.request
        loop.willWrite(slot)
        loop[output: slot].append(request.span)
    }

    /// The speaker's own words do not count.
    var counts: Bool { true }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = BenchLoop.on(loop) else { return bytes.count }
        guard isReady else {
            do throws(WSBenchPeer.Failure) {
                let used = try peer.value.open(bytes)
                if used > 0 { ready(on: loop) }
                return used
            } catch {
                if case .refused(let reason) = error { fail(reason, on: loop) }
                return bytes.count
            }
        }
        let now = cl_monotonic_ns()
        var input = ByteReader(bytes), failure: String?, count = 0
        peer.value.machine?.heard(at: loop.now)
        do throws(WebSocketViolation) {
            while failure == nil, let event = try peer.value.machine?.nextEvent(from: &input, into: &loop[output: slot]) {
                switch event {
                case .text(let range), .binary(let range):
                    guard counts else { break }
                    guard let due = Self.due(peer.value, range, size: bench.load.size) else {
                        failure = "what came is not what was said"
                        break
                    }
                    count += 1
                    if tenant.isMeasuring { tenant.counts.latency.add(nanoseconds: now &- due) }
                case .close(let code, _): failure = "the server closed with \(code)"
                case .part, .ping, .pong: break
                }
            }
        } catch { failure = "the server broke the protocol: \(error)" }
        tenant.counts.received &+= UInt64(count)
        flight.noteHeard(count)
        if let failure { fail(failure, on: loop) } else if !loop[output: slot].isEmpty { loop.willWrite(slot) }
        return slot == 0 ? bytes.count : input.offset
    }

    /// When it was due; the message is what stands last.
    private static func due(_ peer: borrowing WSBenchPeer, _ range: ByteRange, size: Int) -> Int64? {
        switch peer.machine {
        case .some(let machine): WSBenchNumber.read(machine.content, at: range.end - size).map { Int64(bitPattern: $0) }
        case nil: nil
        }
    }
}

/// The one that speaks, when fewer messages than `--depth` are unheard by some.
final class WSBenchSpeaker: WSBenchListener, BenchPublisher {
    var pace: BenchPace
    private var message: [UInt8]

    init(_ bench: WSBench, _ load: BenchLoad, _ flight: WSBenchFlight, now: Instant) {
        pace = BenchPace(load, index: 0)
        message = WSBenchNumber.message(bench.load.size)
        super.init(bench, flight, now: now)
    }

    override var counts: Bool { false }
    override var deadline: Instant { isReady ? paceDeadline : .never }
    var hasRoom: Bool { flight.hasRoom }
    /// The listeners may be on other loops: it looks again.
    var awaitsAnswers: Bool { bench.load.loopCount == 1 }

    func send(due: Int64, on loop: EventLoop) {
        WSBenchNumber.write(UInt64(bitPattern: due), to: &message)
        let bytes = message
        try? peer.value.machine?.send(bench.kind, bytes.span, into: &loop[output: slot])
        flight.noteSent()
    }
}

/// `--mode idle`: opens connections, holds them, and tells what they cost.
struct WSBenchIdle {
    let bench: WSBench

    init(_ bench: WSBench) { self.bench = bench }

    func run() throws(CommandFailure) -> Int32 {
        let before = try memory()
        let bench = bench, load = bench.load
        return CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            let began = cl_monotonic_ns()
            let echo = EchoBench(load)
            do throws(CommandFailure) {
                let (seconds, grown) = try await echo.hold({ () async throws(CommandFailure) in
                    try await StreamBench.open(echo) { opened, index in
                        let connection = WSBenchEcho(bench, index: index, now: opened.loop.now)
                        opened.loop.add(connection, opened.transport)
                        connection.begin(on: opened.loop)
                        return connection
                    }
                }) { () async throws(CommandFailure) -> (Double, Int?) in
                    let seconds = Double(cl_monotonic_ns() - began) / 1e9
                    try? await Task.sleep(for: .milliseconds(500))
                    return (seconds, try before.map { (before) throws(CommandFailure) in (try Self.memory(of: bench.process) ?? before) - before })
                }
                tell(load, seconds, grown)
                return ExitCode.ok
            } catch {
                StandardStream.error.write("martlet: bench ws: \(error.sentence)\n")
                return error.code
            }
        }
    }

    private func tell(_ load: EchoBenchOptions, _ seconds: Double, _ grown: Int?) {
        let count = load.connectionCount, each = grown.map { max(0, $0) / count }
        if load.isJSON {
            let members = [
                "\"connections\":\(count)", "\"seconds\":\(BenchFigures.rounded(seconds))", "\"bytes_each\":\(each.map { "\($0)" } ?? "null")", "\"errors\":0",
            ]
            StandardStream.output.write("{\(members.joined(separator: ","))}\n")
        } else {
            var rows = [("connections", "\(BenchFigures.grouped(Double(count))) opened in \(BenchFigures.rounded(seconds)) s")]
            if let each { rows.append(("memory", "the server grew by \(BenchFigures.grouped(Double(each))) bytes for each")) }
            StandardStream.output.write(BenchFigures.table(rows))
        }
    }

    private func memory() throws(CommandFailure) -> Int? { try Self.memory(of: bench.process) }

    /// Resident bytes of a process; nil without one.
    private static func memory(of process: Int?) throws(CommandFailure) -> Int? {
        guard let process else { return nil }
        do throws(InputFailure) {
            let text = String(decoding: try InputFile(path: "/proc/\(process)/status").read(atMost: 1 << 14), as: UTF8.self)
            for line in text.split(separator: "\n") where line.hasPrefix("VmRSS:") {
                if let kilobytes = line.split(separator: " ").dropFirst().compactMap({ Int($0.filter(\.isNumber)) }).first { return kilobytes << 10 }
                if let kilobytes = Int(line.filter(\.isNumber)) { return kilobytes << 10 }
            }
        } catch { throw CommandFailure(ExitCode.failed, "bench ws: there is no process \(process)") }
        throw CommandFailure(ExitCode.failed, "bench ws: process \(process) has no memory of its own")
    }
}
