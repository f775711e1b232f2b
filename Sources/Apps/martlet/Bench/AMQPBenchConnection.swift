import MartletAMQP
import MartletAMQPProtocol
import MartletBytes
import MartletDriver
import MartletEventLoop

/// What all connections of `martlet bench amqp` share: opening, one channel, closing.
class AMQPBenchConnection: BenchConnection {
    typealias Method = AMQPMethod<[UInt8]>
    final let options: AMQPBenchOptions
    final var machine: AMQPClientMachine
    /// Why the connection ends, once that is known.
    final var failure: String?
    private var isLeaving = false
    /// The one channel of each.
    static let channel: UInt16 = 1

    init(_ options: AMQPBenchOptions, now: Instant) {
        self.options = options
        var limits = AMQPLimits()
        limits.heartbeat = 0
        limits.bodySizeMax = 256 << 20
        machine = AMQPClientMachine(limits: limits, now: now)
        super.init()
    }

    /// The channel is open.
    func opened(_ machine: inout AMQPClientMachine, on loop: EventLoop) {}
    /// A method that opening and closing do not know.
    func answered(_ method: AMQPMethod<ByteRange>, _ machine: inout AMQPClientMachine, on loop: EventLoop) {}

    override final func connect(on loop: EventLoop) {
        do throws(AMQPMisuse) { try loop.send(.protocolHeader, through: &machine, slot: slot) } catch { fail("the protocol header: \(error)", on: loop) }
    }

    override func farewell(on loop: EventLoop) {
        isLeaving = true
        do throws(AMQPMisuse) {
            try loop.send(.method(channel: Self.channel, .channelClose(.init(replyCode: 200))), through: &machine, slot: slot)
        } catch { loop.close(self, .finished) }
    }

    override func wake(on loop: EventLoop) {
        do throws(AMQPViolation) { try loop.wake(&machine, slot: slot) } catch { fail("the server broke the protocol: \(error)", on: loop) }
    }

    override var deadline: Instant { machine.deadline }

    final func send(_ method: Method, _ machine: inout AMQPClientMachine, channel: UInt16 = AMQPBenchConnection.channel, on loop: EventLoop) {
        do throws(AMQPMisuse) { try machine.send(.method(channel: channel, method), into: &loop[output: slot]) } catch {
            failure = failure ?? "method \(method.id) could not be sent: \(error)"
        }
    }

    /// What is no message. Answers whether the machine goes on.
    final func take(_ event: AMQPEvent, in bytes: Span<UInt8>, _ machine: inout AMQPClientMachine, on loop: EventLoop) -> Bool {
        guard case .method(_, let method) = event else { return true }
        switch method {
        case .connectionStart: send(startOk, &machine, channel: 0, on: loop)
        case .connectionTune(let tune):
            send(machine.tuneOk(to: .init(channelMax: tune.channelMax, frameMax: tune.frameMax, heartbeat: tune.heartbeat)), &machine, channel: 0, on: loop)
            send(.connectionOpen(.init(virtualHost: Array(options.server.virtualHost.utf8))), &machine, channel: 0, on: loop)
        case .connectionOpenOk: send(.channelOpen(.init()), &machine, on: loop)
        case .channelOpenOk: opened(&machine, on: loop)
        case .connectionClose(let close):
            send(.connectionCloseOk, &machine, channel: 0, on: loop)
            failure = "the server closed the connection: \(String(decoding: bytes.at(close.replyText).array, as: UTF8.self))"
        case .channelClose(let close):
            send(.channelCloseOk, &machine, on: loop)
            failure = "the server closed the channel: \(String(decoding: bytes.at(close.replyText).array, as: UTF8.self))"
        case .channelCloseOk: send(.connectionClose(.init(replyCode: 200)), &machine, channel: 0, on: loop)
        case .connectionCloseOk: return false
        default: answered(method, &machine, on: loop)
        }
        return failure == nil
    }

    /// After what a read brought: ends the connection if it is to end.
    final func settle(on loop: EventLoop) {
        if let failure {
            BenchLoop.on(loop)?.failed(failure)
            loop.finish(self, .finished)
        } else if machine.isClosed {
            loop.close(self, .finished)
        }
    }

    private var startOk: Method {
        let capabilities: AMQPCapabilities = [.publisherConfirms, .basicNack, .authenticationFailureClose]
        let properties: AMQPTable = ["product": "martlet bench", "capabilities": .table(capabilities.table)]
        let login = AMQPSASL.plain(
            user: Array((options.server.userName ?? "guest").utf8),
            password: Array((options.server.password ?? (options.server.userName == nil ? "guest" : "")).utf8))
        return .connectionStartOk(
            .init(clientProperties: properties.encoded, mechanism: login.mechanism, response: login.response, locale: Array("en_US".utf8)))
    }
}

/// Declares what a run needs before all others, and deletes it behind them.
final class AMQPBenchDeclarer: AMQPBenchConnection {
    private let topology: AMQPBenchTopology
    private var steps: [Method]
    private var stepCount = 0, answerCount = 0
    private var isDeleting = false
    /// So many are asked for before the first is answered.
    private static let depth = 64

    init(_ options: AMQPBenchOptions, _ topology: AMQPBenchTopology, now: Instant) {
        self.topology = topology
        steps = topology.declarations
        super.init(options, now: now)
    }

    override func opened(_ machine: inout AMQPClientMachine, on loop: EventLoop) { goOn(&machine, on: loop) }

    override func answered(_ method: AMQPMethod<ByteRange>, _ machine: inout AMQPClientMachine, on loop: EventLoop) {
        switch method {
        case .exchangeDeclareOk, .exchangeDeleteOk, .queueDeclareOk, .queueDeleteOk, .queueBindOk: answerCount += 1
        default: return
        }
        BenchLoop.on(loop)?.counts.stepCount += 1
        goOn(&machine, on: loop)
    }

    private func goOn(_ machine: inout AMQPClientMachine, on loop: EventLoop) {
        while stepCount < steps.count, stepCount - answerCount < Self.depth {
            send(steps[stepCount], &machine, on: loop)
            stepCount += 1
        }
        guard answerCount == steps.count else { return }
        if isDeleting { send(.channelClose(.init(replyCode: 200)), &machine, on: loop) } else { ready(on: loop) }
    }

    override func farewell(on loop: EventLoop) {
        guard machine.isOpen, !isDeleting else { return super.farewell(on: loop) }
        isDeleting = true
        steps = topology.deletions
        (stepCount, answerCount) = (0, 0)
        loop.willWrite(slot)
        goOn(&machine, on: loop)
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        var used = bytes.count
        do throws(AMQPViolation) {
            used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in take(event, in: bytes, &machine, on: loop) }
        } catch { failure = "the server broke the protocol: \(error)" }
        settle(on: loop)
        return used
    }
}
