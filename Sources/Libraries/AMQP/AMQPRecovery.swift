internal import MartletAMQPProtocol
internal import MartletClient

/// Makes exchanges, queues and bindings anew, over a channel of its own so that a refusal closes no channel of a task.
///
/// All of a kind leave at once; bindings wait until the queues' names are known. A refusal closes the carrier: the step in front is to blame, since
/// answers keep the order; it is given up, and the rest goes on over the next carrier.
/// Not here: channels and consumers (`AMQPChannelState`).
final class AMQPRecovery {
    private struct Step {
        let method: AMQPMethod<[UInt8]>
        /// Of a queue that the server named: its first name.
        var original: [UInt8]?
    }
    private unowned let session: AMQPClientSession
    private(set) var carrier: AMQPChannelState
    private var steps = Line<Step>()
    private var bindings: [Step] = []

    /// `nil`: there is nothing to do, or no channel to do it over.
    init?(in session: AMQPClientSession) {
        guard let carrier = Self.makeCarrier(in: session) else { return nil }
        let topology = session.topology
        self.session = session
        self.carrier = carrier
        steps.append(contentsOf: topology.exchanges.values.map { Step(method: .exchangeDeclare($0)) })
        for (name, record) in topology.queues {
            // One that is not exclusive may have survived.
            let isPassive = record.isServerNamed && !record.method.exclusive
            steps.append(
                isPassive ? Self.check(name, record, topology) : Step(method: .queueDeclare(record.method), original: record.isServerNamed ? name : nil))
        }
        bindings = topology.allBindings.map { Step(method: $0.method) }
        guard !steps.isEmpty || !bindings.isEmpty else { return nil }
        load()
    }

    private static func check(_ name: [UInt8], _ record: AMQPTopology.QueueRecord, _ topology: AMQPTopology) -> Step {
        var method = record.method
        method.queue = topology.currentName(name)
        method.passive = true
        return Step(method: .queueDeclare(method), original: name)
    }

    private static func makeCarrier(in session: AMQPClientSession) -> AMQPChannelState? {
        session.freeNumber().map { number in
            let carrier = AMQPChannelState(number, nil, in: session)
            session.enter(carrier)
            return carrier
        }
    }

    private func load() {
        if steps.isEmpty {
            steps.append(contentsOf: bindings)
            bindings = []
        }
        carrier.add((0..<steps.count).map { .request(AMQPRequest(steps[$0].method, .recovery)) }, [])
    }

    /// The server has done the step in front.
    func answered(_ method: AMQPMethod<[UInt8]>) {
        guard let step = steps.first else { return }
        steps.removeFirst()
        if case .queueDeclareOk(let ok) = method, let original = step.original { session.topology.rename(original, to: ok.queue) }
        goOn()
    }

    private func goOn() {
        guard steps.isEmpty else { return }
        if bindings.isEmpty { session.recovered() } else { load() }
    }

    /// The server has closed the carrier. Answers an error if the connection is to be made once more.
    func refused(_ exception: AMQPException) -> AMQPError? {
        guard let step = steps.first else { return .channelClosed(exception) }
        // An exclusive queue of a connection that the server has not yet missed.
        if exception.replyCode == .resourceLocked, session.mayTryAgain { return .channelClosed(exception) }
        steps.removeFirst()
        guard let carrier = Self.makeCarrier(in: session) else { return .channelClosed(exception) }
        self.carrier = carrier
        if case .queueDeclare(var declare) = step.method, let original = step.original, declare.passive {
            // The queue is gone: make another.
            (declare.queue, declare.passive) = ([], false)
            let rest = steps.removeAll()
            steps.append(Step(method: .queueDeclare(declare), original: original))
            steps.append(contentsOf: rest)
        } else {
            giveUp(step, .channelClosed(exception))
            // What is bound to it is given up with it.
            if !bindings.isEmpty { bindings = session.topology.allBindings.map { Step(method: $0.method) } }
        }
        if steps.isEmpty && bindings.isEmpty { session.recovered() } else { load() }
        return nil
    }

    private func giveUp(_ step: Step, _ error: AMQPError) {
        session.connection.tell(.notRecovered(step.method.id.dotted, error))
        switch step.method {
        case .exchangeDeclare(let declare): session.topology.removeExchange(declare.exchange)
        case .queueDeclare(let declare): session.topology.removeQueue(step.original ?? declare.queue)
        case .queueBind(let bind):
            session.topology.note(.queueUnbind(.init(queue: bind.queue, exchange: bind.exchange, routingKey: bind.routingKey, arguments: bind.arguments)))
        case .exchangeBind(let bind):
            session.topology.note(
                .exchangeUnbind(.init(destination: bind.destination, source: bind.source, routingKey: bind.routingKey, arguments: bind.arguments)))
        default: break
        }
    }
}
