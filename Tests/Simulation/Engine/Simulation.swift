import MartletAMQPGateway
import MartletBytes
import MartletCore
import MartletEventLoop
import MartletJournal
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe
import MartletShard
import Synchronization

/// One run: a whole broker, clients that last, a network that splits, stalls and breaks, a clock that jumps, all from one seed.
///
/// One thread and one source of randomness: the same seed gives the same run, bit for bit (`Trace.hash`). After the faults everybody
/// comes back, everything drains, and the books are closed: what was acknowledged has come, and nothing has come that must not.
package final class Simulation {
    package let seed: UInt64
    package let trace: Trace
    var random: SeededRandom
    private(set) var network: PipeNetwork
    /// Nil: nothing lasts, and nothing crashes.
    private let disk: SimulatedDisk?
    let faults: Faults
    /// The server says goodbye.
    private(set) var isStopping = false { didSet { amqpBook.isStopping = isStopping } }
    private var crashes = 0
    private var turnsFull = 0
    /// There was no room on the disk for a while: messages may have been refused.
    private(set) var wasFull = false { didSet { amqpBook.wasFull = wasFull } }
    private let deliveryLimits: CoreLimits
    private(set) var broker: PipeBroker
    let mqttBook: MQTTBook
    let amqpBook: AMQPBook
    private var actors: [Actor] = []
    private let names: Names
    static let stepsMax = 3000

    /// `crashes`: not only the network, the broker and its disk fail, too.
    package init(seed: UInt64, crashes canCrash: Bool = true, show: ((String) -> Void)? = nil) {
        self.seed = seed
        trace = Trace(show: show)
        random = SeededRandom(seed &+ 1)
        for _ in 0..<8 { _ = random.next() }
        network = Self.makeNetwork(&random)
        mqttBook = MQTTBook(trace)
        amqpBook = AMQPBook(trace)
        names = Names(random.next())
        faults = canCrash ? Faults(seed: seed) : Faults()
        let segmentBytes = [8192, 16_384, 1 << 18].randomElement(using: &random)!
        disk =
            Int.random(in: 0..<10, using: &random) == 0 || !canCrash ? nil : SimulatedDisk(seed: random.next(), segmentBytes: segmentBytes, sync: faults.sync)
        if faults.isRotten { disk?.rotPerMille = 50 }
        disk?.latencyMax = [.microseconds(100), .milliseconds(2), .milliseconds(50)].randomElement(using: &random)!
        var limits = CoreLimits()
        if Bool.random(using: &random) { limits.residentBytesMax = 10_000 }
        deliveryLimits = limits
        broker = Self.start(network, names, disk, limits, &random)
        trace.note(
            "starts", broker.loops.count, disk == nil ? "shards in memory" : "shards, segments of \(segmentBytes), \(limits.residentBytesMax) bytes resident")
        for number in 0..<6 {
            let expiry: UInt32 = number == 5 ? 0 : number == 4 ? 30 : 600_000
            actors.append(MQTTActor(self, number: number, version: number % 3 == 2 ? .v3_1_1 : .v5, sessionExpirySeconds: expiry))
        }
        for number in 0..<3 { actors.append(AMQPActor(self, number: number)) }
    }

    private static func makeNetwork(_ random: inout SeededRandom) -> PipeNetwork {
        let network = PipeNetwork()
        network.readSizeMax = [Int.max, 1000, 17].randomElement(using: &random)!
        network.capacity = [1 << 16, 1 << 16, 3000].randomElement(using: &random)!
        return network
    }

    /// What gateways draw names from.
    private final class Names: Sendable {
        private let random: Mutex<SeededRandom>
        init(_ seed: UInt64) { random = Mutex(SeededRandom(seed)) }
        func next() -> UInt64 { random.withLock { $0.next() } }
    }

    @inline(never) private static func start(
        _ network: PipeNetwork, _ names: Names, _ disk: SimulatedDisk?, _ limits: CoreLimits, _ random: inout SeededRandom
    ) -> PipeBroker {
        var amqp = AMQPGatewayOptions()
        amqp.randomNumber = { names.next() }
        let latency: Duration? = disk == nil ? [nil, .microseconds(100), .milliseconds(5)].randomElement(using: &random)! : nil
        return PipeBroker(shards: [1, 2, 4].randomElement(using: &random)!, on: network, latency: latency, disk: disk, amqp: amqp, limits: limits) {
            $0.randomNumber = { names.next() }
            $0.outputBytesMax = 20_000
        }
    }

    // MARK: Crashes

    private enum End: String { case process, power }

    /// One that the disk's promises outlast.
    private func anyEnd() -> End { Bool.random(using: &random) || !faults.promisesPower ? .process : .power }

    /// The broker is gone but for its disk; some time later there is another.
    private func crash(_ end: End) {
        guard let disk else { return }
        crashes += 1
        trace.note("CRASH", crashes, "\(end.rawValue), journals: \(broker.journals.map(\.description))")
        for journal in broker.journals { journal.interrupt() }
        broker.throwAway()
        for actor in actors { actor.lose() }
        if end == .power { disk.losePower() }
        startAgain(disk, mayBeTorn: true)
    }

    /// Everybody is told, and everything is synced, however seldom that is done otherwise.
    private func stop() {
        guard let disk, broker.failure == nil else { return }
        trace.note("STOP")
        isStopping = true
        for shard in broker.shards { for gateway in shard.allGateways { gateway.stop() } }
        for _ in 0..<4 {
            for loop in broker.loops { tick(loop) }
            for actor in actors { actor.move(all: true) }
            network.advance(by: .milliseconds(1))
        }
        disk.isFull = false
        for shard in broker.shards { shard.ended(on: shard.loop) }
        let isWhole = broker.journals.allSatisfy { $0.failure == nil && $0.isComplete }
        trace.expect(isWhole || broker.journals.contains { $0.failure != nil }, "a stop left something unwritten: \(broker.journals.map(\.description))")
        if !isWhole { for journal in broker.journals { journal.interrupt() } }
        broker.throwAway()
        for actor in actors { actor.lose() }
        isStopping = false
        if isWhole || faults.promisesPower, Bool.random(using: &random) { disk.losePower() }
        startAgain(disk, mayBeTorn: !isWhole)
    }

    private func startAgain(_ disk: SimulatedDisk, mayBeTorn: Bool) {
        amqpBook.life += 1
        disk.isFull = false
        let away = [0, 0, 1000, 40_000].randomElement(using: &random)!
        for attempt in 0..<4 {
            if faults.isRotten { rot(disk) }
            let wallTime = network.wallTime.milliseconds + Int64(away)
            network = Self.makeNetwork(&random)
            network.wallTime.milliseconds = wallTime
            // A start that is interrupted, too; the last one is not.
            disk.stepsLeft = attempt < 3 && Int.random(in: 0..<5, using: &random) == 0 ? Int.random(in: 0..<12, using: &random) : nil
            broker = Self.start(network, names, disk, deliveryLimits, &random)
            let isInterrupted = disk.stepsLeft.map { $0 < 0 } ?? false
            disk.stepsLeft = nil
            for finding in broker.findings { trace.note("finding", Int(finding.segment), finding.description) }
            for finding in broker.findings where finding.isDamage && !faults.isRotten { trace.fail("after a crash: \(finding)") }
            for finding in broker.findings where !mayBeTorn && attempt == 0 { trace.fail("after a stop: \(finding)") }
            trace.note("starts", broker.loops.count, "shards, \(disk.segmentCount) segments, \(broker.restored)")
            guard let failure = broker.failure else { return }
            trace.note("start failed", attempt, failure.description)
            if !isInterrupted { return trace.fail("it does not start: \(failure)") }
            broker.throwAway()
            if Bool.random(using: &random), faults.promisesPower { disk.losePower() }
        }
    }

    /// A few bits change. What is gone then was covered by them, and what is said of it is what recovery says.
    private func rot(_ disk: SimulatedDisk) {
        var changed: [(segment: UInt32, offset: Int)] = []
        do {
            let before = try RecoveryImage(disk)
            for _ in 0..<Int.random(in: 0...2, using: &random) { if let place = disk.rot() { changed.append(place) } }
            if changed.isEmpty { return }
            trace.note("rots", changed.count, "\(changed)")
            if !(try RecoveryImage(disk).isSame(as: before, changed: changed) { trace.fail($0) }) { trace.isDamaged = true }
        } catch { trace.fail("recovery fails: \(error)") }
    }

    /// Something may be wrong with the disk.
    private func troubleDisk() {
        guard let disk else { return }
        switch Int.random(in: 0..<6, using: &random) {
        case 0 where faults.hasStops: stop()
        case 0...2: crash(anyEnd())
        case 3:
            trace.note("sync will fail")
            broker.journals.randomElement(using: &random)?.failsSync = true
        default:
            trace.note("disk is full")
            disk.isFull = true
            wasFull = true
            turnsFull = Int.random(in: 1...400, using: &random)
        }
    }

    /// What the loops have said so far is where it lasts.
    var hasWrittenAll: Bool { broker.journals.allSatisfy(\.isComplete) }

    private func lookAtDisk() {
        guard let disk else { return }
        if turnsFull > 0 {
            turnsFull -= 1
            if turnsFull == 0 { disk.isFull = false }
        }
        if broker.journals.contains(where: { $0.failure != nil }) { crash(anyEnd()) }
    }

    /// The answer: what should not have happened.
    package func run() -> [String] {
        let steps = Int.random(in: 300...Self.stepsMax, using: &random)
        for _ in 0..<steps where trace.problems.isEmpty { step() }
        disk?.isFull = false
        settle("the end")
        checkReads()
        if trace.problems.isEmpty {
            // What everybody has been told is so after another crash, too.
            if faults.hasStops, Bool.random(using: &random) { stop() } else { crash(anyEnd()) }
            settle("the end, once more")
            checkReads()
        }
        if trace.problems.isEmpty {
            mqttBook.check()
            amqpBook.check()
            checkRetained()
        }
        if trace.problems.isEmpty { leave() }
        broker.throwAway()
        return trace.problems
    }

    private func step() {
        trace.step += 1
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<35: tick(broker.loops.randomElement(using: &random)!)
        case 35..<68: actors.randomElement(using: &random)!.move()
        case 68..<90: actors.randomElement(using: &random)!.act()
        case 90..<99: network.advance(by: .microseconds(Int.random(in: 1...3000, using: &random)))
        default:
            switch Int.random(in: 0..<20, using: &random) {
            case 0, 1: pass()
            case 2, 3: troubleDisk()
            default: break
            }
        }
        lookAtDisk()
    }

    private func tick(_ loop: EventLoop) { loop.tick(until: loop.now) }

    /// A longer while: delays and lifetimes come to their ends.
    private func pass() {
        let while_ = Int.random(in: 50...8000, using: &random)
        trace.note("time passes", while_, "ms")
        network.advance(by: .milliseconds(while_))
    }

    /// Nothing breaks any more, until nothing moves.
    private func settle(_ what: String) {
        var still = 0
        for _ in 0..<3000 where trace.problems.isEmpty {
            trace.step += 1
            let before = trace.hash
            for actor in actors {
                actor.move(all: true)
                actor.settle()
            }
            for _ in 0..<3 { for loop in broker.loops { tick(loop) } }
            lookAtDisk()
            network.advance(by: .milliseconds(20))
            // Two seconds: a lingering connection's and a queue's longest pause.
            still = trace.hash == before ? still + 1 : 0
            if still > 120, actors.allSatisfy(\.isIdle) { return }
        }
        guard trace.problems.isEmpty else { return }
        for actor in actors where !actor.isIdle { trace.expectUndamaged(false, "\(actor.name) waits at \(what): \(actor.waitsFor)") }
        for journal in broker.journals { trace.note("journal", 0, journal.description) }
        for shard in broker.shards { trace.note("shard", Int(shard.number), "\(shard.core.value.tableCounts.filter { $0.count > 0 })") }
    }

    /// Nothing that was left in the journal is found damaged there.
    private func checkReads() {
        for shard in broker.shards {
            let damaged = shard.core.value.counters.damaged
            trace.expectUndamaged(damaged == 0, "shard \(shard.number) could not read \(damaged) messages again")
        }
    }

    private func checkRetained() {
        let reader = RetainedReader(self)
        let found = reader.read(broker.gateways[0])
        for actor in actors where actor is MQTTActor {
            let topic = "r/\(actor.name)", allowed = mqttBook.retained(topic)
            let number = found[topic]
            trace.expectUndamaged(
                number.map(allowed.contains) ?? (mqttBook.messages.allSatisfy { $0.topic != topic || !$0.isAcknowledged }),
                "\(topic) holds \(number.map { "\($0)" } ?? "nothing"), not one of \(allowed)")
        }
    }

    /// Everybody leaves, and takes back what lasts: nothing is left in memory.
    private func leave() {
        for actor in actors { actor.leave() }
        settle("leaving")
        RetainedReader(self).clear(actors.map { "r/\($0.name)" }, broker.gateways[0])
        for _ in 0..<8 {
            network.advance(by: .seconds(86_400))
            for _ in 0..<12 { for loop in broker.loops { tick(loop) } }
        }
        for gateway in broker.gateways { RetainedReader(self).clear(["nobody"], gateway) }
        expectNothing("")
        guard disk != nil, trace.problems.isEmpty else { return }
        crash(.process)
        // What a restart itself has ended is told to its owners when it is on disk.
        expectNothing(" after a restart", but: "endedElsewhere")
        rest()
        for _ in 0..<100 where !hasWrittenAll { rest() }
        rest()
        expectNothing(" some time after a restart")
    }

    private func expectNothing(_ when: String, but exception: String = "") {
        if trace.isDamaged { return }
        trace.expect(broker.router.bindingCount == 0, "\(broker.router.bindingCount) bindings are left\(when)")
        for shard in broker.shards {
            for table in shard.core.value.tableCounts where table.count != 0 && table.name != exception {
                trace.fail("shard \(shard.number): \(table.count) \(table.name) are left\(when)")
            }
            trace.expect(shard.core.value.storedBytes == 0, "shard \(shard.number): \(shard.core.value.storedBytes) bytes are left\(when)")
        }
    }

    /// Ticks until nothing moves, for a client that is served at once.
    func rest() {
        for _ in 0..<12 { for loop in broker.loops { tick(loop) } }
        network.advance(by: .milliseconds(20))
        for _ in 0..<12 { for loop in broker.loops { tick(loop) } }
    }
}
