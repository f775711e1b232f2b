/// What MQTT clients have sent, what of it was acknowledged, who must or may get it, and who did: the judge of a run.
///
/// Topics: `t/…` have plain subscribers, `s/…` a shared subscription alone, `r/…` retained messages, `w/…` wills.
final class MQTTBook {
    struct Message {
        let number: Int
        /// Client and session: order is promised within one.
        let publisher: String
        let topic: String
        let qos: UInt8
        let body: [UInt8]
        var isRetained = false
        var isWill = false
        /// How long it may wait, in milliseconds; and, once it was acknowledged, by the wall clock until when: not to be delivered on
        /// connections that are opened later.
        var lifetime = Int64.max
        var expiry = Int64.max
        var isAcknowledged = false
        /// The publisher's session is gone: whether it was taken is never known.
        var isAbandoned = false
        /// How often it was sent.
        var sends = 1
        /// Subscribers (by actor) that are owed it once it is acknowledged; and those that may have it.
        var owed: Set<Int> = []
        var allowed: Set<Int> = []
        var isOwedToGroup = false
        /// A member of the group came or went meanwhile.
        var isBlurred = false
        /// By actor: how often its application was told, at which QoS.
        var received: [Int: Receipts] = [:]
    }
    struct Receipts {
        var count = 0
        var exactlyOnce = 0
        var onConnection = 0
        var connection = 0
    }
    enum Wish { case asked(UInt8), active(UInt8), leaving }

    static let group = "$share/g/s/#"
    private let trace: Trace
    private(set) var messages: [Message] = []
    /// By actor: its filters.
    private(set) var wishes: [Int: [String: Wish]] = [:]
    private var last: [String: Int] = [:]

    init(_ trace: Trace) { self.trace = trace }

    static func matches(_ filter: String, _ topic: String) -> Bool {
        let filter = filter == group ? "s/#" : filter
        return filter == topic || (filter.hasSuffix("/#") || filter.hasSuffix("/+")) && topic.hasPrefix(filter.dropLast(1))
    }

    /// A body that says which message it is, and that nothing in it was changed.
    static func body(_ number: Int, size: Int) -> [UInt8] {
        var body = Array("\(number) ".utf8)
        while body.count < size { body.append(UInt8(truncatingIfNeeded: 33 + (number &* 7 &+ body.count) % 90)) }
        return body
    }

    static func number(_ body: [UInt8]) -> Int? { Int(String(decoding: body.prefix { $0 != 32 }, as: UTF8.self)) }

    // MARK: What publishers do

    /// A message that will be sent now; the answer is its number.
    func publish(_ publisher: String, _ topic: String, qos: UInt8, size: Int, lifetime: Int64 = .max, isRetained: Bool = false, isWill: Bool = false) -> Message
    {
        var message = Message(
            number: messages.count, publisher: publisher, topic: topic, qos: qos, body: Self.body(messages.count, size: size), isRetained: isRetained,
            isWill: isWill, lifetime: lifetime)
        for (actor, filters) in wishes {
            for (filter, wish) in filters where Self.matches(filter, topic) {
                message.allowed.insert(actor)
                guard case .active(let granted) = wish else { continue }
                if filter == Self.group { message.isOwedToGroup = true } else if granted > 0 { message.owed.insert(actor) }
            }
        }
        if isWill || lifetime < .max {
            message.owed = []
            message.isOwedToGroup = false
        }
        messages.append(message)
        return message
    }

    func sentAgain(_ number: Int) { messages[number].sends += 1 }

    /// PUBACK or PUBREC. `finds`: it says that somebody takes it.
    func acknowledged(_ number: Int, finds: Bool, at wallTime: Int64) {
        trace.note("acknowledged", number, finds ? "" : "but nobody takes it")
        messages[number].isAcknowledged = true
        if messages[number].lifetime < .max { messages[number].expiry = wallTime + messages[number].lifetime }
        if !finds, messages[number].sends == 1 {
            trace.expectUndamaged(
                messages[number].owed.isEmpty && !messages[number].isOwedToGroup, "\(number) was not routed, but \(messages[number].owed) wait for it")
        }
    }

    func abandon(_ number: Int) { messages[number].isAbandoned = true }

    /// Refused: nobody is owed it.
    func refused(_ number: Int) {
        messages[number].owed = []
        messages[number].isOwedToGroup = false
        messages[number].isAbandoned = true
    }

    // MARK: What subscribers do

    func subscribes(_ actor: Int, _ filter: String, qos: UInt8) {
        if filter == Self.group, wishes[actor]?[filter] == nil { blurGroup() }
        // Whichever of the two holds until the answer comes.
        if case .active(let granted) = wishes[actor]?[filter] {
            wishes[actor, default: [:]][filter] = .active(min(granted, qos))
        } else {
            wishes[actor, default: [:]][filter] = .asked(qos)
        }
        // What waits in a group is for whoever joins it.
        for index in messages.indices where (!messages[index].isAcknowledged || filter == Self.group) && Self.matches(filter, messages[index].topic) {
            messages[index].allowed.insert(actor)
            if qos == 0 { messages[index].owed.remove(actor) }
        }
    }

    func subscribed(_ actor: Int, _ filter: String, qos: UInt8) {
        trace.note("is subscribed", actor, "to \(filter) at \(qos)")
        wishes[actor, default: [:]][filter] = .active(qos)
    }

    func unsubscribes(_ actor: Int, _ filter: String) {
        wishes[actor, default: [:]][filter] = .leaving
        if filter == Self.group { return leaveGroup() }
        for index in messages.indices where Self.matches(filter, messages[index].topic) { messages[index].owed.remove(actor) }
    }

    func unsubscribed(_ actor: Int, _ filter: String) { wishes[actor]?[filter] = nil }

    /// The actor's session may be over: nothing is owed any more.
    func sessionMayEnd(_ actor: Int) {
        let wasMember = wishes[actor]?[Self.group] != nil
        for (filter, wish) in wishes[actor] ?? [:] { if case .active(let qos) = wish { wishes[actor]?[filter] = .asked(qos) } }
        for index in messages.indices { messages[index].owed.remove(actor) }
        if wasMember { leaveGroup() }
    }

    /// It is over: nothing may come that was published before.
    func sessionEnded(_ actor: Int) {
        sessionMayEnd(actor)
        wishes[actor] = nil
        for index in messages.indices {
            messages[index].allowed.remove(actor)
            // Exactly once is promised within a session; what a crash made the broker forget, because it was never acknowledged, comes to the next.
            if !messages[index].isAcknowledged { messages[index].received[actor]?.exactlyOnce = 0 }
        }
    }

    private func leaveGroup() {
        blurGroup()
        let isLeft = wishes.values.contains { if case .active = $0[Self.group] { true } else { false } }
        // What was on its way to one that left at QoS 2 must go to nobody else [MQTT-4.8.2-5].
        for index in messages.indices where !isLeft || messages[index].qos == 2 { messages[index].isOwedToGroup = false }
    }

    private func blurGroup() { for index in messages.indices where messages[index].topic.hasPrefix("s/") { messages[index].isBlurred = true } }

    // MARK: What arrives

    /// The application of `actor` is told. `openedAt`: when its connection was opened, by the wall clock.
    func received(by actor: Int, _ name: String, _ topic: String, _ body: [UInt8], qos: UInt8, isReplay: Bool, isAgain: Bool, connection: Int, openedAt: Int64)
    {
        guard let number = Self.number(body), messages.indices.contains(number), messages[number].body == body, messages[number].topic == topic else {
            return trace.fail("\(name) got something on \(topic) that nobody sent: \(body.prefix(20))")
        }
        let message = messages[number], what = "\(name): \(number) of \(message.publisher) on \(topic) at QoS \(qos)"
        trace.note("gets", number, name)
        trace.expectUndamaged(qos <= message.qos, "\(what) was published at \(message.qos)")
        // What was begun before it expired may be sent again, in a group to another member.
        trace.expectUndamaged(isAgain || topic.hasPrefix("s/") || openedAt <= message.expiry, "\(what) has expired")
        if isReplay { return trace.expectUndamaged(message.isRetained, "\(what) is no retained message") }
        trace.expectUndamaged(message.allowed.contains(actor), "\(what) was not asked for")
        var receipts = message.received[actor] ?? Receipts()
        if receipts.connection != connection { (receipts.connection, receipts.onConnection) = (connection, 0) }
        receipts.count += 1
        receipts.onConnection += 1
        if qos == 2 { receipts.exactlyOnce += 1 }
        if message.qos == 2 {
            trace.expectUndamaged(receipts.exactlyOnce <= 1, "\(what) came \(receipts.exactlyOnce) times")
        } else if message.qos == 1 {
            trace.expectUndamaged(
                receipts.onConnection <= message.sends, "\(what) came \(receipts.onConnection) times on one connection, sent \(message.sends) times")
        } else {
            trace.expectUndamaged(receipts.count <= 1, "\(what) came \(receipts.count) times")
        }
        // Who was not there when it was first published may hear of its repetition alone.
        if receipts.count == 1, !message.isWill, !topic.hasPrefix("s/"), message.sends == 1 || message.owed.contains(actor) {
            checkOrder(message, actor, qos, what)
        }
        messages[number].received[actor] = receipts
    }

    /// [MQTT-4.6.0-5]: of one publisher's session on one topic at one QoS, in the order of publishing.
    private func checkOrder(_ message: Message, _ actor: Int, _ qos: UInt8, _ what: String) {
        let way = "\(message.publisher) \(message.topic) \(message.qos) to \(actor) \(qos)"
        if let before = last[way] { trace.expectUndamaged(before < message.number, "\(what) came after \(before)") }
        last[way] = message.number
    }

    /// It came to another protocol's queue, which stands for this actor.
    func received(by actor: Int, _ body: [UInt8]) {
        guard let number = Self.number(body), messages.indices.contains(number), messages[number].body == body else {
            return trace.fail("a queue got a message that nobody sent: \(body.prefix(20))")
        }
        trace.expectUndamaged(messages[number].allowed.contains(actor), "\(number) on \(messages[number].topic) was not asked for by a queue")
        messages[number].received[actor, default: Receipts()].count += 1
    }

    // MARK: The end

    /// Everything has come to rest: what was acknowledged must have come.
    func check() {
        for message in messages where message.qos > 0 && message.isAcknowledged {
            let what = "\(message.number) of \(message.publisher) on \(message.topic) at QoS \(message.qos)"
            for actor in message.owed.sorted() { trace.expectUndamaged((message.received[actor]?.count ?? 0) > 0, "actor \(actor) lacks \(what)") }
            let count = message.received.values.reduce(0) { $0 + $1.count }
            if message.isOwedToGroup { trace.expectUndamaged(count > 0, "the group lacks \(what)") }
            if message.topic.hasPrefix("s/"), message.qos == 2, !message.isBlurred { trace.expectUndamaged(count <= 1, "the group has \(count) of \(what)") }
        }
    }

    /// What a retained topic may hold: the last acknowledged message, or one that was sent after it and may have been taken.
    func retained(_ topic: String) -> [Int] {
        let all = messages.filter { $0.topic == topic && $0.isRetained }
        guard let last = all.last(where: \.isAcknowledged) else { return all.map(\.number) }
        return all.filter { $0.number >= last.number }.map(\.number)
    }
}
