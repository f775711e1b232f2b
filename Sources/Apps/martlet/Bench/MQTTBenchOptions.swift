import MartletMQTT
import MartletMQTTProtocol

/// `martlet bench mqtt` as typed.
struct MQTTBenchOptions: Equatable, Sendable {
    var server: MQTTServerURL
    /// `nil`: without TLS.
    var tls: TLSClientOptions?
    var publisherCount: Int
    var subscriberCount: Int
    var topicCount: Int
    var qos: UInt8
    var payloadSize: Int
    /// Messages of all publishers; `nil`: by time.
    var messageCount: Int?
    var seconds: Double
    var warmUpSeconds: Double
    /// Unacknowledged messages of a publisher.
    var window: Int
    /// Messages a second of all publishers; `nil`: as many as go.
    var rate: Double?
    var version: MQTTVersion
    var loopCount: Int
    var isJSON: Bool
    var isQuiet: Bool

    static let options: [Command.Option] =
        [
            .one("--publishers", value: "N", about: "connections that publish (default: 1)"),
            .one("--subscribers", value: "N", about: "connections that subscribe (default: 1; 0 measures acknowledgements)"),
            .one("--topics", value: "N", about: "topics, taken in turn (default: as many as there are of the fewer side)"),
            .one("-q", "--qos", value: "0|1|2", about: "quality of service of both (default: 0)"),
            .one("--size", value: "BYTES", about: "payload, 16 or more (default: 64)"),
            .one("--duration", value: "SECONDS", about: "how long is measured (default: 5)"),
            .one("--count", value: "N", about: "so many messages instead, without a warm-up"),
            .one("--warm-up", value: "SECONDS", about: "before the measuring (default: 1)"),
            .one("--window", value: "N", about: "unacknowledged messages of a publisher, QoS 1 and 2 (default: 100)"),
            .one("--rate", value: "N", about: "messages a second of all publishers; latency counts from when each was due"),
            .one("-V", "--protocol-version", value: "5|311", about: "version of MQTT (default: 5)"),
            .one("--loops", value: "N", about: "event loops of the generator, one thread each (default: 1)"),
        ] + MQTTTLSOptions.options + [
            .flag("--json", about: "one JSON object instead of the table"),
            .flag("--quiet", about: "no progress"),
        ]

    init(_ arguments: Arguments) throws(CommandFailure) {
        guard let url = arguments.words.first, arguments.words.count == 1 else {
            throw .usage("bench mqtt: say one server: mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]")
        }
        do throws(MQTTClientError) { server = try MQTTServerURL(url) } catch { throw .usage("bench mqtt: \(error)") }
        tls = try MQTTTLSOptions.parse(arguments, isAsked: server.isSecure)
        if tls != nil, !server.isSecure { throw .usage("bench mqtt: the URL is without TLS: write mqtts://, or leave out the flags about TLS") }
        if server.topic != nil { throw .usage("bench mqtt: the URL names a topic; the topics are bench/…") }
        publisherCount = try arguments.integer("--publishers", in: 1...10_000) ?? 1
        subscriberCount = try arguments.integer("--subscribers", in: 0...10_000) ?? 1
        let topics = subscriberCount == 0 ? publisherCount : min(publisherCount, subscriberCount)
        topicCount = try arguments.integer("--topics", in: 1...1_000_000) ?? topics
        qos = try arguments.qos("-q").rawValue
        payloadSize = try arguments.integer("--size", in: 16...(1 << 24)) ?? 64
        messageCount = try arguments.integer("--count", in: 1...(1 << 40))
        seconds = try arguments.seconds("--duration") ?? 5
        warmUpSeconds = messageCount == nil ? try arguments.seconds("--warm-up") ?? 1 : 0
        window = try arguments.integer("--window", in: 1...60_000) ?? 100
        rate = try arguments.integer("--rate", in: 1...100_000_000).map(Double.init)
        loopCount = try arguments.integer("--loops", in: 1...64) ?? 1
        isJSON = arguments.has("--json")
        isQuiet = arguments.has("--quiet")
        switch arguments.text("-V") {
        case nil, "5", "mqttv5": version = .v5
        case "311", "mqttv311": version = .v3_1_1
        case let text?: throw .usage("-V \(text): the versions are 5 and 311")
        }
    }

    static let command = Command(
        path: ["bench", "mqtt"],
        summary: "load an MQTT server and measure it",
        words: "URL",
        options: options,
        examples: [
            ("martlet bench mqtt mqtt://localhost:1883", "one publisher, one subscriber, as fast as it goes"),
            ("martlet bench mqtt mqtt://localhost -q 1 --publishers 10 --subscribers 10", "ten pairs, acknowledged"),
            ("martlet bench mqtt mqtt://localhost --subscribers 100 --rate 1000", "fan-out at a fixed rate, with honest latencies"),
            ("martlet bench mqtt mqtt://localhost -q 1 --count 100000 --json", "for a script"),
        ],
        footnote: {
            "A message's latency is from when it was due (--rate) or sent until a subscriber has it,\n"
                + "or without subscribers until it is acknowledged. What a window or a full socket holds up counts as late with --rate.\n"
        },
        run: { arguments throws(CommandFailure) in runMQTTBench(try MQTTBenchOptions(arguments)) })
}
