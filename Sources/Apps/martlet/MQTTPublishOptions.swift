import MartletMQTT

/// `martlet mqtt pub` as typed. Invariant: a topic without wildcards and exactly one source of messages.
struct MQTTPublishOptions: Equatable, Sendable {
    var connection: MQTTConnectionOptions
    var topic: String
    var source: MessageSource
    var qos: MQTTQoS
    var retain: Bool

    static let options: [Command.Option] =
        [
            .one("-t", "--topic", value: "TOPIC", about: "where to publish"),
            .one("-m", "--message", value: "TEXT", about: "the message"),
            .one("-f", "--file", value: "FILE", about: "a file as one message"),
            .flag("-l", "--stdin-line", about: "every line of stdin as a message"),
            .flag("-s", "--stdin-file", about: "all of stdin as one message"),
            .flag("-n", "--null-message", about: "a message of no bytes"),
            .one("-q", "--qos", value: "0|1|2", about: "quality of service (default: 0)"),
            .flag("-r", "--retain", about: "the server keeps the message; with -n it forgets the one it has"),
        ] + MQTTConnectionOptions.options

    init(_ arguments: Arguments) throws(CommandFailure) {
        let (connection, topicOfURL) = try MQTTConnectionOptions.parse(arguments)
        if topicOfURL != nil, arguments.has("-t") { throw .usage("mqtt pub: the topic stands in -L and in -t: leave one out") }
        guard let topic = topicOfURL ?? arguments.text("-t"), !topic.isEmpty else { throw .usage("mqtt pub: a topic is missing: add -t TOPIC") }
        if topic.contains(where: { $0 == "+" || $0 == "#" }) {
            throw .usage("mqtt pub: \"\(topic)\" has a wildcard; only subscriptions may [MQTT-3.3.2-2]")
        }
        self.connection = connection
        self.topic = topic
        source = try MessageSource(arguments, "mqtt pub")
        qos = try arguments.qos("-q")
        retain = arguments.has("-r")
    }
}

extension Arguments {
    func qos(_ name: String) throws(CommandFailure) -> MQTTQoS { MQTTQoS(rawValue: UInt8(try integer(name, in: 0...2) ?? 0)) ?? .atMostOnce }
}
