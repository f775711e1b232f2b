/// What a bench of messages sends, in the words that all protocols have: `martlet bench mqtt|amqp`. Not here: options of one protocol.
struct BenchLoad: Equatable, Sendable {
    let publisherCount: Int
    /// Connections that subscribe or consume.
    let receiverCount: Int
    /// Bytes of a payload.
    let payloadSize: Int
    /// Messages of all publishers; `nil`: by time.
    let messageCount: Int?
    let seconds: Double
    let warmUpSeconds: Double
    /// Messages a second of all publishers; `nil`: as many as go.
    let rate: Double?
    let loopCount: Int
    let isJSON: Bool
    let isQuiet: Bool
    /// Deliveries that a message leads to; 0 without receivers.
    var copies = 0
    /// The server answers each message.
    var isAnswered = false
    /// Publishers without a rate wait for receivers that are far behind.
    var isHeldBack = false

    static let options: [Command.Option] = [
        .one("--size", value: "BYTES", about: "payload, 16 or more (default: 64)"),
        .one("--duration", value: "SECONDS", about: "how long is measured (default: 5)"),
        .one("--count", value: "N", about: "so many messages instead, without a warm-up"),
        .one("--warm-up", value: "SECONDS", about: "before the measuring (default: 1)"),
        .one("--rate", value: "N", about: "messages a second of all publishers; latency counts from when each was due"),
        .one("--loops", value: "N", about: "event loops of the generator, one thread each (default: 1)"),
    ]
    static let output: [Command.Option] = [
        .flag("--json", about: "one JSON object instead of the table"),
        .flag("--quiet", about: "no progress"),
    ]

    /// For a bench with words of its own.
    init(
        publisherCount: Int, receiverCount: Int, payloadSize: Int, messageCount: Int?, seconds: Double, warmUpSeconds: Double, rate: Double?, loopCount: Int,
        isJSON: Bool, isQuiet: Bool, copies: Int
    ) {
        (self.publisherCount, self.receiverCount, self.payloadSize, self.messageCount) = (publisherCount, receiverCount, payloadSize, messageCount)
        (self.seconds, self.warmUpSeconds, self.rate, self.loopCount) = (seconds, warmUpSeconds, rate, loopCount)
        (self.isJSON, self.isQuiet, self.copies) = (isJSON, isQuiet, copies)
    }

    /// `receivers`: the option that counts them.
    init(_ arguments: Arguments, receivers: String) throws(CommandFailure) {
        publisherCount = try arguments.integer("--publishers", in: 1...10_000) ?? 1
        receiverCount = try arguments.integer(receivers, in: 0...10_000) ?? 1
        payloadSize = try arguments.integer("--size", in: 16...(1 << 24)) ?? 64
        messageCount = try arguments.integer("--count", in: 1...(1 << 40))
        seconds = try arguments.seconds("--duration") ?? 5
        warmUpSeconds = messageCount == nil ? try arguments.seconds("--warm-up") ?? 1 : 0
        rate = try arguments.integer("--rate", in: 1...100_000_000).map(Double.init)
        loopCount = try arguments.integer("--loops", in: 1...64) ?? 1
        isJSON = arguments.has("--json")
        isQuiet = arguments.has("--quiet")
    }

    /// What the connection `index` of `count` takes of `places`: one of them, or each `count`th.
    static func share<Place>(of places: [Place], index: Int, count: Int) -> [Place] {
        places.count <= count ? [places[index % places.count]] : stride(from: index, to: places.count, by: count).map { places[$0] }
    }
}

/// When the messages of one publisher are due, and how many are left.
struct BenchPace {
    /// Nanoseconds between two; 0: as many as go.
    private let interval: Double
    private var start = Int64.max
    private(set) var sequence = 0
    /// Messages left to send; `.max`: by time.
    private(set) var left: Int

    /// Of the publisher `index`.
    init(_ load: BenchLoad, index: Int) {
        interval = load.rate.map { 1e9 * Double(load.publisherCount) / $0 } ?? 0
        left = load.messageCount.map { $0 / load.publisherCount + (index < $0 % load.publisherCount ? 1 : 0) } ?? .max
    }

    /// The publishers of a rate do not all send at once.
    mutating func start(at now: Int64) { start = now + Int64(Double.random(in: 0..<1) * interval) }

    var isRated: Bool { interval > 0 }
    /// When the next is due; `.max`: none is.
    var nextDue: Int64 { left > 0 && start != .max ? start + Int64(Double(sequence) * interval) : .max }

    mutating func sent() {
        sequence += 1
        left -= 1
    }
}
