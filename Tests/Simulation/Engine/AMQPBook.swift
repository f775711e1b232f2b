/// What AMQP clients have sent, what of it was confirmed, where each message is, and where it must not be.
final class AMQPBook {
    /// Where a message is, as far as clients can know.
    enum Place: Equatable {
        case queued
        case held(connection: Int, channel: UInt16, tag: UInt64)
        /// Given back, or its holder has gone: it must come again.
        case returning
        /// Acknowledged on a connection that goes on.
        case acknowledging(connection: Int)
        /// Acknowledged, and whether that was heard is not known.
        case doubtful
        /// The broker of this life has taken the acknowledgement.
        case settled(life: Int)
        /// Acknowledged in a transaction; decided with it.
        case staged(transaction: Int)
        /// A transaction that has been committed ended it.
        case gone
    }
    struct Message {
        let number: Int
        let queue: String
        let publisher: String
        let body: [UInt8]
        let isPersistent: Bool
        let transaction: Int?
        /// Its queue may go, and it with that.
        let isFleeting: Bool
        /// The broker's, when it was sent.
        let life: Int
        var isConfirmed = false
        var place = Place.queued
        var receiptCount = 0
        var lastLife = -1
    }
    struct Transaction {
        enum State { case open, committing, committed, rolledBack, unknown, partial }
        var state = State.open
        var messages: [Int] = []
        var acknowledged: [Int] = []
    }

    /// AMQP's numbers begin here: those below are MQTT's.
    static let firstNumber = 1_000_000
    private let trace: Trace
    private(set) var messages: [Message] = []
    private(set) var transactions: [Transaction] = []
    private var last: [String: Int] = [:]
    /// How often the broker has been started.
    var life = 0
    /// It says goodbye to one after the other: what one held goes to the next, before the one has heard.
    var isStopping = false
    /// A transaction that finds no room closes its channel: what that held goes to others before its client has heard.
    var wasFull = false

    init(_ trace: Trace) { self.trace = trace }

    subscript(_ number: Int) -> Message { messages[number - Self.firstNumber] }

    // MARK: What publishers do

    func publish(_ publisher: String, to queue: String, size: Int, isPersistent: Bool, in transaction: Int? = nil, isFleeting: Bool = false) -> Message {
        let number = Self.firstNumber + messages.count
        let message = Message(
            number: number, queue: queue, publisher: publisher, body: MQTTBook.body(number, size: size), isPersistent: isPersistent,
            transaction: transaction, isFleeting: isFleeting, life: life)
        messages.append(message)
        if let transaction { transactions[transaction].messages.append(number) }
        return message
    }

    func confirmed(_ number: Int) { messages[number - Self.firstNumber].isConfirmed = true }

    func begin() -> Int {
        transactions.append(Transaction())
        return transactions.count - 1
    }

    func ends(_ transaction: Int, _ state: Transaction.State) {
        transactions[transaction].state = state
        for number in transactions[transaction].messages where state == .committed { confirmed(number) }
        for number in transactions[transaction].acknowledged where self[number].place == .staged(transaction: transaction) {
            if state == .committed { place(number, .gone) }
        }
    }

    /// A transaction that was not committed: what was acknowledged in it is held as before.
    func rolledBack(_ transaction: Int, holding tags: [Int: (connection: Int, channel: UInt16, tag: UInt64)]) {
        ends(transaction, .rolledBack)
        for (number, tag) in tags { place(number, .held(connection: tag.connection, channel: tag.channel, tag: tag.tag)) }
    }

    // MARK: What consumers do

    func place(_ number: Int, _ place: Place) { messages[number - Self.firstNumber].place = place }

    func stage(_ number: Int, in transaction: Int) {
        place(number, .staged(transaction: transaction))
        transactions[transaction].acknowledged.append(number)
    }

    /// The broker has answered what was sent after the acknowledgements of these.
    func settled(_ numbers: [Int], on connection: Int) {
        for number in numbers where self[number].place == .acknowledging(connection: connection) { place(number, .settled(life: life)) }
    }

    /// A connection is over: what it held must come again.
    func connectionEnded(_ connection: Int, transaction: Int?) {
        for index in messages.indices {
            switch messages[index].place {
            case .held(connection, _, _): messages[index].place = .returning
            case .acknowledging(connection): messages[index].place = .doubtful
            default: break
            }
        }
        guard let transaction, [.open, .committing].contains(transactions[transaction].state) else { return }
        let wasCommitting = transactions[transaction].state == .committing
        transactions[transaction].state = wasCommitting ? .unknown : .rolledBack
        if wasCommitting { return }
        for number in transactions[transaction].acknowledged where self[number].place == .staged(transaction: transaction) { place(number, .returning) }
    }

    /// The answer: whether it is a message of this book.
    func received(_ body: [UInt8], from queue: String, by name: String, connection: Int, channel: UInt16, tag: UInt64, isRedelivered: Bool) -> Int? {
        guard let number = MQTTBook.number(body), messages.indices.contains(number - Self.firstNumber), self[number].body == body, self[number].queue == queue
        else {
            trace.fail("\(name) got something from \(queue) that nobody sent: \(body.prefix(20))")
            return nil
        }
        let message = self[number], what = "\(name): \(number) of \(message.publisher) from \(queue)"
        trace.note("takes", number, name)
        switch message.place {
        case .held(let other, _, let tag): trace.expectUndamaged(isStopping || wasFull, "\(what) is held by connection \(other) as \(tag), too")
        case .gone: trace.expectUndamaged(false, "\(what) was acknowledged in transaction that is committed")
        case .settled(life): trace.expectUndamaged(false, "\(what) was acknowledged")
        case .acknowledging: trace.expectUndamaged(isStopping, "\(what) has just been acknowledged")
        default: break
        }
        if let transaction = message.transaction {
            trace.expectUndamaged(transactions[transaction].state != .rolledBack && transactions[transaction].state != .open, "\(what) was not committed")
        }
        if message.lastLife == life { trace.expectUndamaged(isRedelivered || isStopping, "\(what) comes again as if it were new") }
        if message.receiptCount == 0, !isRedelivered {
            let way = "\(message.publisher) by \(queue) to \(connection) \(channel)"
            if let before = last[way] { trace.expectUndamaged(before < number, "\(what) came after \(before)") }
            last[way] = number
        }
        messages[number - Self.firstNumber].receiptCount += 1
        messages[number - Self.firstNumber].lastLife = life
        place(number, .held(connection: connection, channel: channel, tag: tag))
        return number
    }

    // MARK: The end

    /// Every queue is empty, and everything that was held has been acknowledged.
    func check() {
        for (index, transaction) in transactions.enumerated() where transaction.state == .unknown { check(transaction, index) }
        for message in messages where message.isConfirmed && !message.isFleeting && (message.isPersistent || message.life == life) {
            let what = "\(message.number) of \(message.publisher) to \(message.queue)"
            trace.expectUndamaged(message.receiptCount > 0, "\(what) is lost")
            switch message.place {
            case .returning, .held: trace.expectUndamaged(false, "\(what) has not come again: \(message.place)")
            default: break
            }
        }
    }

    private func check(_ transaction: Transaction, _ index: Int) {
        let came = transaction.messages.filter { self[$0].receiptCount > 0 }
        let stayed = transaction.acknowledged.filter { self[$0].place == .staged(transaction: index) && self[$0].isPersistent }
        let returned = transaction.acknowledged.filter { self[$0].place != .staged(transaction: index) && self[$0].isPersistent }
        trace.expectUndamaged(came.isEmpty || came.count == transaction.messages.count, "transaction \(index): of \(transaction.messages) only \(came) came")
        trace.expectUndamaged(stayed.isEmpty || returned.isEmpty, "transaction \(index): \(stayed) are acknowledged, \(returned) are not")
        trace.expectUndamaged(came.isEmpty || returned.isEmpty, "transaction \(index): \(came) came, but \(returned) are not acknowledged")
        if !transaction.messages.isEmpty {
            trace.expectUndamaged(!came.isEmpty || stayed.isEmpty, "transaction \(index): \(stayed) are acknowledged, but nothing came")
        }
    }
}
