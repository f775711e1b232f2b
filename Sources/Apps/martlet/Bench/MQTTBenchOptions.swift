import MartletMQTT
import MartletMQTTProtocol

/// `martlet bench mqtt` as typed.
struct MQTTBenchOptions: Equatable, Sendable {
    var server: MQTTServerURL
    /// `nil`: without TLS.
    var tls: TLSClientOptions?
    var load: BenchLoad
    var topicCount: Int
    var qos: UInt8
    /// Unacknowledged messages of a publisher.
    var window: Int
    var version: MQTTVersion

    static let options: [Command.Option] =
        [
            .one("--publishers", value: "N", about: "connections that publish (default: 1)"),
            .one("--subscribers", value: "N", about: "connections that subscribe (default: 1; 0 measures acknowledgements)"),
            .one("--topics", value: "N", about: "topics, taken in turn (default: as many as there are of the fewer side)"),
            .one("-q", "--qos", value: "0|1|2", about: "quality of service of both (default: 0)"),
            .one("--window", value: "N", about: "unacknowledged messages of a publisher, QoS 1 and 2 (default: 100)"),
            .one("-V", "--protocol-version", value: "5|311", about: "version of MQTT (default: 5)"),
        ] + BenchLoad.options + TLSFlags.options + BenchLoad.output

    init(_ arguments: Arguments) throws(CommandFailure) {
        guard let url = arguments.words.first, arguments.words.count == 1 else {
            throw .usage("bench mqtt: say one server: mqtt[s]:// or ws[s]://[USER[:PASSWORD]@]HOST[:PORT]")
        }
        do throws(MQTTClientError) { server = try MQTTServerURL(url) } catch { throw .usage("bench mqtt: \(error)") }
        tls = try TLSFlags.parse(arguments, isAsked: server.isSecure)
        if tls != nil, !server.isSecure { throw .usage("bench mqtt: the URL is without TLS: write mqtts:// or wss://, or leave out the flags about TLS") }
        if server.topic != nil { throw .usage("bench mqtt: the URL names a topic; the topics are bench/…") }
        load = try BenchLoad(arguments, receivers: "--subscribers")
        let topics = load.receiverCount == 0 ? load.publisherCount : min(load.publisherCount, load.receiverCount)
        topicCount = try arguments.integer("--topics", in: 1...1_000_000) ?? topics
        qos = try arguments.qos("-q").rawValue
        window = try arguments.integer("--window", in: 1...60_000) ?? 100
        load.copies = load.receiverCount == 0 ? 0 : max(1, load.receiverCount / topicCount)
        load.isAnswered = qos > 0
        load.isHeldBack = qos == 0
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
        run: { arguments throws(CommandFailure) in MQTTBench.run(try MQTTBenchOptions(arguments)) })
}
