import MartletMQTT
import MartletMQTTProtocol

/// How arrived messages are chosen and printed: what `mqtt sub` and `mqtt rr` share.
struct MQTTPrintOptions: Equatable, Sendable {
    var format: MQTTOutputFormat
    /// Not those that are older than the subscription.
    var skipsRetained: Bool
    /// Ends with failure after so much time; `nil`: never.
    var timeout: Duration?
    var showsSubscriptionIdentifier = false

    static let options: [Command.Option] = [
        .flag("-v", "--verbose", about: "print the topic before each message"),
        .one("-F", value: "FORMAT", about: "print each message so: %t topic, %p payload, %j JSON, see below"),
        .flag("-N", about: "no line ends behind the messages"),
        .flag("--pretty", about: "%j and %J in lines"),
        .flag("-R", about: "not the messages that the server had kept (retained)"),
        .one("-W", value: "SECONDS", about: "leave after SECONDS, with exit code 1 when it had not come to its end"),
    ]

    static let footnote = """
        formats: %t topic  %p payload  %x %X payload in hexadecimal  %l its length  %q QoS  %r retained  %m packet identifier
        MQTT 5's: %A topic alias  %C content type  %D correlation data  %E message expiry  %F payload format  %P user properties
        %R response topic  %S subscription identifier     JSON: %j payload as text  %J payload is JSON
        time: %I ISO 8601  %U Unix  @X strftime's %X  @N nanoseconds     escapes: %% @@ \\\\ \\0 \\a \\e \\n \\r \\t \\v
        between % and the letter may stand - (to the left), 0 (zeros) and a width, with a maximum behind a point: %-10.10t

        """

    init(_ arguments: Arguments) throws(CommandFailure) {
        if let text = arguments.text("-F") {
            format = try MQTTOutputFormat(text)
        } else {
            format = arguments.has("-v") ? .topicAndPayload : .payload
        }
        format.endsLines = !arguments.has("-N")
        format.isPretty = arguments.has("--pretty")
        skipsRetained = arguments.has("-R")
        timeout = try arguments.integer("-W", in: 1...Int(Int32.max)).map { .seconds($0) }
    }
}

/// `martlet mqtt sub` as typed. Invariant: at least one topic filter, none empty.
struct MQTTSubscribeOptions: Equatable, Sendable {
    var connection: MQTTConnectionOptions
    var topicFilters: [String]
    var qos: MQTTQoS
    var print: MQTTPrintOptions
    /// Ends with success after so many messages; `nil`: never.
    var messageCountMax: Int?
    /// Messages to these are not printed.
    var without: [String]
    /// Unsubscribed from at the start.
    var unsubscribes: [String]
    var isRetainedOnly: Bool
    var removesRetained: Bool
    /// Ends once the server has agreed.
    var endsWhenSubscribed: Bool

    static let options: [Command.Option] =
        [
            .many("-t", "--topic", value: "FILTER", about: "what to subscribe to; + is one level, # the rest"),
            .one("-q", "--qos", value: "0|1|2", about: "the highest quality of service wanted (default: 0)"),
            .one("-C", value: "COUNT", about: "leave after COUNT messages"),
            .flag("-E", about: "leave once the server has agreed to the subscriptions"),
            .many("-T", "--filter-out", value: "FILTER", about: "leave out the messages to these topics"),
            .many("-U", "--unsubscribe", value: "FILTER", about: "unsubscribe from it: a kept session's"),
            .flag("--retained-only", about: "only what the server had kept; leave at the first message that it had not"),
            .flag("--remove-retained", about: "have the server forget what it had kept, unless -T leaves it out"),
        ] + MQTTPrintOptions.options + MQTTConnectionOptions.options

    init(_ arguments: Arguments) throws(CommandFailure) {
        let (connection, topicOfURL) = try MQTTConnectionOptions.parse(arguments)
        self.connection = connection
        topicFilters = (topicOfURL.map { [$0] } ?? []) + arguments.texts("-t")
        unsubscribes = arguments.texts("-U")
        guard !topicFilters.isEmpty || !unsubscribes.isEmpty, !(topicFilters + unsubscribes).contains("") else {
            throw .usage("mqtt sub: a topic filter is missing: add -t FILTER")
        }
        qos = try arguments.qos("-q")
        print = try MQTTPrintOptions(arguments)
        print.showsSubscriptionIdentifier = connection.properties.showsSubscriptionIdentifier
        messageCountMax = try arguments.integer("-C", in: 1...Int(Int32.max))
        without = arguments.texts("-T")
        isRetainedOnly = arguments.has("--retained-only")
        removesRetained = arguments.has("--remove-retained")
        endsWhenSubscribed = arguments.has("-E")
        if isRetainedOnly, print.skipsRetained { throw .usage("mqtt sub: --retained-only and -R leave nothing: leave one out") }
    }
}

/// `martlet mqtt rr` as typed: one request, one answer.
struct MQTTRequestOptions: Equatable, Sendable {
    var connection: MQTTConnectionOptions
    var topic: String
    var responseTopic: String
    var source: MessageSource
    var qos: MQTTQoS
    var print: MQTTPrintOptions

    static let options: [Command.Option] =
        [
            .one("-t", "--topic", value: "TOPIC", about: "where the request goes"),
            .one("-e", value: "TOPIC", about: "where the answer comes"),
            .one("-m", "--message", value: "TEXT", about: "the request"),
            .one("-f", "--file", value: "FILE", about: "a file as the request"),
            .flag("-s", "--stdin-file", about: "all of stdin as the request"),
            .flag("-n", "--null-message", about: "a request of no bytes"),
            .one("-q", "--qos", value: "0|1|2", about: "quality of service of both (default: 0)"),
        ] + MQTTPrintOptions.options + MQTTConnectionOptions.options

    init(_ arguments: Arguments) throws(CommandFailure) {
        let (connection, topicOfURL) = try MQTTConnectionOptions.parse(arguments, version: .v5)
        self.connection = connection
        if topicOfURL != nil, arguments.has("-t") { throw .usage("mqtt rr: the topic stands in -L and in -t: leave one out") }
        guard let topic = topicOfURL ?? arguments.text("-t"), !topic.isEmpty else { throw .usage("mqtt rr: a topic is missing: add -t TOPIC") }
        guard let responseTopic = arguments.text("-e"), !responseTopic.isEmpty else { throw .usage("mqtt rr: say where the answer comes: add -e TOPIC") }
        for name in [topic, responseTopic] where name.contains(where: { $0 == "+" || $0 == "#" }) {
            throw .usage("mqtt rr: \"\(name)\" has a wildcard; a request and its answer have topic names")
        }
        (self.topic, self.responseTopic) = (topic, responseTopic)
        source = try MessageSource(arguments, "mqtt rr")
        qos = try arguments.qos("-q")
        print = try MQTTPrintOptions(arguments)
    }
}
