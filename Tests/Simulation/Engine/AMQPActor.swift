import MartletAMQPGateway
import MartletAMQPProtocol
import MartletBytes
import MartletEventLoop
import MartletPipe

/// An AMQP client that lasts. Its connection has three channels: one publishes with confirms, one in transactions, one consumes.
final class AMQPActor: Actor {
    typealias Method = AMQPMethod<[UInt8]>
    private enum Phase { case away, opening, open, leaving }
    private static let publishing: UInt16 = 1, transacting: UInt16 = 2, consuming: UInt16 = 3
    static let queues = ["d0", "d1", "d2"]
    /// A queue that takes what MQTT clients publish on `t/#`; it stands for a subscriber of this number.
    static let meetingQueue = "mq", meetingNumber = 1000

    private let book: AMQPBook
    private var machine: AMQPClientMachine
    private var input = UnreadBytes()
    private var phase = Phase.away
    /// Answers of the set-up that have not come.
    private var awaited = 0
    private var isSettling = false
    private var isGoingForGood = false
    private(set) var isGone = false

    private var lastTag: UInt64 = 0
    /// The queue for MQTT's messages was bound when so many had been published.
    private var boundAt: UInt64?
    private var unconfirmed: [UInt64: Int] = [:]
    private var consumers: Set<String> = []
    /// By consumer tag: its queue.
    private var queueOfTag: [String: String] = [:]
    /// Deliveries that were not acknowledged, by tag, of each channel; MQTT's messages too.
    private var held: [UInt64: Int] = [:]
    private var got: [UInt64: Int] = [:]
    /// Acknowledged since the last question, and before each question that was not answered.
    private var acknowledged: [Int] = []
    private var questions: [[Int]] = []

    private var transaction: Int?
    private var staged: [UInt64: Int] = [:]
    private var isDeciding = false
    private var isGetting: String?

    /// A queue of its own that goes with its consumer.
    private enum Fleeting { case none, declaring, consuming, leaving }
    private var fleeting = Fleeting.none
    /// The broker has said that it has a consumer.
    private var hasFleetingConsumer = false
    /// It was there, and went, after the faults.
    private var hasLeftFleeting = false
    /// It belongs to a connection, so that none that has gone takes it along.
    private var fleetingQueue: String { "x\(link)" }
    /// Those that were declared and perhaps never had a consumer, and those whose end may not have been on disk.
    private var lingering: Set<String> = []
    /// Those whose end is not known to be on disk, and the step of that.
    private var ended: [(queue: String, step: Int)] = []
    /// Steps in which every loop has surely had its turn.
    private static let turnSteps = 200

    init(_ world: Simulation, number: Int) {
        book = world.amqpBook
        machine = Self.machine(world)
        super.init(world, "a\(number)", number: number)
    }

    private static func machine(_ world: Simulation) -> AMQPClientMachine {
        var limits = AMQPLimits()
        limits.heartbeat = 0
        return AMQPClientMachine(limits: limits, now: world.network.now)
    }

    /// Names the connection among all actors'.
    private var link: Int { number * 100_000 + connection }

    override var isIdle: Bool {
        isGone
            || phase == .open && unconfirmed.isEmpty && held.isEmpty && got.isEmpty && staged.isEmpty && !isDeciding && isGetting == nil && !isDirty
                && consumers.count >= Self.queues.count && fleeting == .none && (hasLeftFleeting || !world.faults.hasAutoDelete)
    }
    private var isDirty: Bool { transaction.map { !book.transactions[$0].messages.isEmpty } ?? false }

    override var waitsFor: String {
        "\(phase), confirms \(unconfirmed.keys.sorted()), holds \(held.count) and \(got.count), staged \(staged.count), decides: \(isDeciding), gets: \(isGetting ?? "")"
    }

    // MARK: Coming and going

    private func connect() {
        machine = Self.machine(world)
        input = UnreadBytes()
        open { world.broker.amqpGateways.randomElement(using: &world.random)!.adopt(Transport(descriptor: $0)) }
        phase = .opening
        lastTag = 0
        say(.protocolHeader)
    }

    override func connectionEnded() {
        if phase == .leaving, isGoingForGood { isGone = true }
        phase = .away
        book.connectionEnded(link, transaction: transaction)
        (unconfirmed, consumers, queueOfTag, held, got, acknowledged, questions) = ([:], [], [:], [:], [:], [], [])
        (transaction, staged, isDeciding, isGetting, boundAt) = (nil, [:], false, nil, nil)
        if fleeting != .none { if hasFleetingConsumer { ended.append((fleetingQueue, world.trace.step)) } else { lingering.insert(fleetingQueue) } }
        fleeting = .none
    }

    override func lose() {
        super.lose()
        lingering.insert(fleetingQueue)
        lingering.formUnion(ended.map(\.queue))
        ended = []
        hasLeftFleeting = false
    }

    private func call(_ method: Method, on channel: UInt16) { say(.method(channel: channel, method)) }

    private func say(_ message: AMQPOutgoing) {
        world.trace.note("says", 0, "\(name) \(message)")
        var output = ByteBuffer()
        do { try machine.send(message, into: &output) } catch {
            // What it says when it has been told that the server stops.
            if !world.isStopping { world.trace.fail("\(name): misuse \(error) in \(message)") }
        }
        send(output.span.array)
    }

    private func opened(_ channel: UInt16) {
        awaited -= 1
        switch channel {
        case Self.publishing:
            ask(.confirmSelect(.init()), on: channel)
            for queue in Self.queues { ask(.queueDeclare(.init(queue: Array(queue.utf8), durable: true)), on: channel) }
            guard number == 0 else { break }
            ask(.queueDeclare(.init(queue: Array(Self.meetingQueue.utf8), durable: true)), on: channel)
            world.mqttBook.subscribes(Self.meetingNumber, "t/#", qos: 1)
            ask(.queueBind(.init(queue: Array(Self.meetingQueue.utf8), exchange: Array("amq.topic".utf8), routingKey: Array("t.#".utf8))), on: channel)
        case Self.transacting: ask(.txSelect, on: channel)
        default: call(.basicQos(.init(prefetchCount: UInt16.random(in: 1...12, using: &world.random))), on: channel); questions.append([])
        }
    }

    private func ask(_ method: Method, on channel: UInt16) {
        awaited += 1
        call(method, on: channel)
    }

    private func answered() {
        awaited -= 1
        if awaited == 0, phase == .opening { phase = .open }
    }

    // MARK: What it does

    private func lookAtEnded() { if world.hasWrittenAll { ended.removeAll { $0.step + Self.turnSteps < world.trace.step } } }

    override func act() {
        lookAtEnded()
        let random = Int.random(in: 0..<100, using: &world.random)
        guard phase == .open else {
            if phase == .away, random < 30 { connect() }
            return
        }
        if world.faults.hasAutoDelete, Int.random(in: 0..<20, using: &world.random) == 0 { useFleeting() }
        switch random {
        case 0..<25: for _ in 0..<Int.random(in: 1...4, using: &world.random) { publish() }
        case 25..<30: consume(Self.queues.randomElement(using: &world.random)!)
        case 30: if number == 0 { consume(Self.meetingQueue) }
        case 31..<60: for _ in 0..<Int.random(in: 1...6, using: &world.random) { acknowledge() }
        case 60..<63: giveBack()
        case 63..<67: question()
        case 67..<85: transact()
        case 85..<90: decide()
        case 90: cut()
        case 91: wire?.stall(turns: Int.random(in: 1...60, using: &world.random))
        default: break
        }
    }

    override func settle() {
        lookAtEnded()
        isSettling = true
        if isGone { return }
        if phase == .away { return connect() }
        guard phase == .open else { return }
        if isGoingForGood { return depart() }
        for queue in Self.queues { consume(queue) }
        if number == 0 { consume(Self.meetingQueue) }
        while !held.isEmpty { acknowledge() }
        if world.faults.hasAutoDelete, fleeting != .none || !hasLeftFleeting { useFleeting() }
        guard !isDeciding, isGetting == nil else { return }
        while !got.isEmpty { stageOne() }
        if !staged.isEmpty || isDirty { commit() }
    }

    override func leave() { isGoingForGood = true }

    private func depart() {
        if number == 0 { for queue in Self.queues + [Self.meetingQueue] { call(.queueDelete(.init(queue: Array(queue.utf8))), on: Self.publishing) } }
        for queue in lingering.sorted() { call(.queueDelete(.init(queue: Array(queue.utf8))), on: Self.publishing) }
        call(.connectionClose(.init(replyCode: 200)), on: 0)
        phase = .leaving
    }

    private func content(_ message: AMQPBook.Message, on channel: UInt16) {
        var properties = AMQPProperties()
        properties.deliveryMode = message.isPersistent ? 2 : 1
        say(.content(channel: channel, .basicPublish(.init(routingKey: Array(message.queue.utf8))), properties: properties, body: message.body))
    }

    private func size() -> Int { Int.random(in: 0..<20, using: &world.random) == 0 ? Int.random(in: 0...9000, using: &world.random) : 12 }

    private func publish() {
        guard unconfirmed.count < 30 else { return }
        publish(to: Self.queues.randomElement(using: &world.random)!)
    }

    private func publish(to queue: String) {
        let message = book.publish(
            "\(link)", to: queue, size: size(), isPersistent: Int.random(in: 0..<5, using: &world.random) != 0, isFleeting: queue == fleetingQueue)
        lastTag += 1
        unconfirmed[lastTag] = message.number
        world.trace.note("publishes", message.number, "\(name) to \(message.queue)")
        content(message, on: Self.publishing)
    }

    private func consume(_ queue: String) {
        guard consumers.insert(queue).inserted else { return }
        call(.basicConsume(.init(queue: Array(queue.utf8), consumerTag: Array("\(queue)-\(link)".utf8))), on: Self.consuming)
        queueOfTag["\(queue)-\(link)"] = queue
    }

    /// The next step with it: it is declared, gets messages and a consumer, and loses that and so itself. What is in it then is gone.
    private func useFleeting() {
        switch fleeting {
        case .none:
            fleeting = .declaring
            hasFleetingConsumer = false
            call(.queueDeclare(.init(queue: Array(fleetingQueue.utf8), durable: true, autoDelete: true)), on: Self.publishing)
        case .consuming where isSettling || Int.random(in: 0..<3, using: &world.random) == 0:
            fleeting = .leaving
            call(.basicCancel(.init(consumerTag: Array("\(fleetingQueue)-\(link)".utf8))), on: Self.consuming)
        case .consuming where unconfirmed.count < 30: publish(to: fleetingQueue)
        default: break
        }
    }

    private func fleetingDeclared() {
        fleeting = .consuming
        publish(to: fleetingQueue)
        queueOfTag["\(fleetingQueue)-\(link)"] = fleetingQueue
        call(.basicConsume(.init(queue: Array(fleetingQueue.utf8), consumerTag: Array("\(fleetingQueue)-\(link)".utf8))), on: Self.consuming)
    }

    private func fleetingLeft() {
        fleeting = .none
        ended.append((fleetingQueue, world.trace.step))
        if isSettling { hasLeftFleeting = true }
    }

    private func acknowledge() {
        guard let tag = held.keys.sorted().randomElement(using: &world.random) else { return }
        let isMultiple = Int.random(in: 0..<4, using: &world.random) == 0
        for other in held.keys.sorted() where other == tag || isMultiple && other < tag {
            guard let number = held.removeValue(forKey: other), number >= AMQPBook.firstNumber else { continue }
            book.place(number, .acknowledging(connection: link))
            acknowledged.append(number)
        }
        call(.basicAck(.init(deliveryTag: tag, multiple: isMultiple)), on: Self.consuming)
    }

    private func giveBack() {
        guard let tag = held.keys.sorted().randomElement(using: &world.random), let number = held.removeValue(forKey: tag) else { return }
        if number >= AMQPBook.firstNumber { book.place(number, .returning) }
        call(.basicNack(.init(deliveryTag: tag, requeue: true)), on: Self.consuming)
    }

    /// A method with an answer: what was acknowledged before it has been heard when that comes.
    private func question() {
        questions.append(acknowledged)
        acknowledged = []
        call(.basicQos(.init(prefetchCount: UInt16.random(in: 1...12, using: &world.random))), on: Self.consuming)
    }

    // MARK: Transactions

    private func transact() {
        guard !isDeciding, isGetting == nil else { return }
        switch Int.random(in: 0..<4, using: &world.random) {
        case 0, 1:
            let number = transaction ?? book.begin()
            transaction = number
            let message = book.publish(
                "\(link)/tx", to: Self.queues.randomElement(using: &world.random)!, size: size(), isPersistent: true, in: number)
            world.trace.note("publishes", message.number, "\(name) to \(message.queue) in transaction \(number)")
            content(message, on: Self.transacting)
        case 2 where got.count < 5:
            isGetting = Self.queues.randomElement(using: &world.random)!
            call(.basicGet(.init(queue: Array(isGetting!.utf8))), on: Self.transacting)
        default: stageOne()
        }
    }

    private func stageOne() {
        guard let tag = got.keys.sorted().randomElement(using: &world.random), let number = got.removeValue(forKey: tag) else { return }
        let open = transaction ?? book.begin()
        transaction = open
        staged[tag] = number
        book.stage(number, in: open)
        call(.basicAck(.init(deliveryTag: tag)), on: Self.transacting)
    }

    private func decide() {
        guard !isDeciding, isGetting == nil, let open = transaction else { return }
        if Int.random(in: 0..<4, using: &world.random) != 0 { return commit() }
        isDeciding = true
        world.trace.note("rolls back", open, name)
        call(.txRollback, on: Self.transacting)
    }

    private func commit() {
        guard let open = transaction else { return }
        isDeciding = true
        book.ends(open, .committing)
        world.trace.note("commits", open, name)
        call(.txCommit, on: Self.transacting)
    }

    private func decided(isCommitted: Bool) {
        isDeciding = false
        guard let open = transaction else { return }
        transaction = nil
        if isCommitted {
            book.ends(open, .committed)
        } else {
            var tags: [Int: (connection: Int, channel: UInt16, tag: UInt64)] = [:]
            for (tag, number) in staged { tags[number] = (link, Self.transacting, tag) }
            book.rolledBack(open, holding: tags)
            got.merge(staged) { first, _ in first }
        }
        staged = [:]
    }

    // MARK: What it hears

    override func hear(_ bytes: [UInt8]) {
        var used = 0, output = ByteBuffer(), heard: [AMQPEvent.Owned] = []
        do {
            let all = input.show(bytes.span)
            var reader = ByteReader(all)
            machine.heard(at: world.network.now)
            while let event = try machine.nextEvent(from: &reader, into: &output) { heard.append(event.owned(in: all)) }
            used = reader.offset
        } catch { world.trace.fail("\(name): violation \(error)") }
        input.keep(bytes.span, used: used)
        if !output.isEmpty { send(output.span.array) }
        let link = connection
        for event in heard where wire != nil && connection == link { handle(event) }
    }

    private func handle(_ event: AMQPEvent.Owned) {
        world.trace.note("event", 0, "\(name) \(event)")
        switch event {
        case .method(let channel, let method): handle(method, on: channel)
        case .content(_, .basicDeliver(let deliver), _, let body):
            let queue = queueOfTag[String(decoding: deliver.consumerTag, as: UTF8.self)] ?? "?"
            held[deliver.deliveryTag] = take(body, from: queue, Self.consuming, deliver.deliveryTag, deliver.redelivered)
        case .content(_, .basicGetOk(let get), _, let body):
            got[get.deliveryTag] = take(body, from: isGetting ?? "?", Self.transacting, get.deliveryTag, get.redelivered)
            isGetting = nil
        case .heartbeat, .discarded: break
        default: world.trace.fail("\(name) was told \(event)")
        }
    }

    private func take(_ body: [UInt8], from queue: String, _ channel: UInt16, _ tag: UInt64, _ isRedelivered: Bool) -> Int {
        if queue == Self.meetingQueue {
            world.mqttBook.received(by: Self.meetingNumber, body)
            return 0
        }
        return book.received(body, from: queue, by: name, connection: link, channel: channel, tag: tag, isRedelivered: isRedelivered) ?? 0
    }

    private func handle(_ method: Method, on channel: UInt16) {
        switch method {
        case .connectionStart:
            let sasl = AMQPSASL.plain(user: Array("guest".utf8), password: Array("guest".utf8))
            let capabilities: AMQPCapabilities = [.basicNack, .publisherConfirms, .consumerCancelNotify, .connectionBlocked]
            let properties: AMQPTable = ["capabilities": .table(capabilities.table)]
            call(
                .connectionStartOk(
                    .init(clientProperties: properties.encoded, mechanism: sasl.mechanism, response: sasl.response, locale: Array("en_US".utf8))), on: 0)
        case .connectionTune(let tune):
            call(machine.tuneOk(to: tune), on: 0)
            call(.connectionOpen(.init(virtualHost: Array("/".utf8))), on: 0)
        case .connectionOpenOk:
            awaited = 3
            for channel in Self.publishing...Self.consuming { call(.channelOpen(.init()), on: channel) }
        case .channelOpenOk:
            opened(channel)
            if awaited == 0 { phase = .open }
        case .queueDeclareOk(let declared) where declared.queue == Array(fleetingQueue.utf8): fleetingDeclared()
        case .basicCancelOk: fleetingLeft()
        case .connectionClose where world.isStopping: call(.connectionCloseOk, on: 0)
        case .confirmSelectOk, .queueDeclareOk, .txSelectOk: answered()
        case .queueBindOk:
            boundAt = lastTag
            answered()
        case .basicQosOk: if !questions.isEmpty { book.settled(questions.removeFirst(), on: link) }
        case .basicAck(let ack): confirmed(ack.deliveryTag, ack.multiple, isTaken: true)
        case .basicNack(let nack): confirmed(nack.deliveryTag, nack.multiple, isTaken: false)
        case .basicGetEmpty: isGetting = nil
        case .txCommitOk: decided(isCommitted: true)
        case .txRollbackOk: decided(isCommitted: false)
        case .basicConsumeOk(let consume): if consume.consumerTag == Array("\(fleetingQueue)-\(link)".utf8) { hasFleetingConsumer = true }
        case .queueDeleteOk, .basicCancel, .connectionBlocked, .connectionUnblocked: break
        case .connectionCloseOk: forgetConnection()
        case .channelClose(let close) where close.replyCode == 406 && channel == Self.transacting && world.wasFull:
            // There was no room for all of a transaction: RabbitMQ's words for what is decided in part.
            if let transaction { book.ends(transaction, .partial) }
            cut()
        default: world.trace.fail("\(name) was told \(method)")
        }
    }

    private func confirmed(_ tag: UInt64, _ isMultiple: Bool, isTaken: Bool) {
        for other in unconfirmed.keys.sorted() where other == tag || isMultiple && (tag == 0 || other < tag) {
            guard let number = unconfirmed.removeValue(forKey: other) else { continue }
            world.trace.note("confirmed", number, name)
            if isTaken { book.confirmed(number) }
            // A binding is on disk when what was published after it is.
            if let boundAt, other > boundAt, isTaken, book[number].isPersistent {
                world.mqttBook.subscribed(Self.meetingNumber, "t/#", qos: 1)
                self.boundAt = nil
            }
        }
    }
}
