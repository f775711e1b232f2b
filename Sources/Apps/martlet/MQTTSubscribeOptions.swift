/// `martlet mqtt sub` as typed. Invariant: at least one topic filter, none empty.
struct MQTTSubscribeOptions: Equatable, Sendable {
    var connection: MQTTConnectionOptions
    var topicFilters: [String]
    var qos: Int
    /// Each line starts with the topic.
    var isVerbose: Bool
    /// Ends with success after so many messages; `nil`: never.
    var messageCountMax: Int?
    /// Ends with failure after so much time; `nil`: never.
    var timeout: Duration?

    static let options: [Command.Option] =
        [
            .many("-t", "--topic", value: "FILTER", about: "what to subscribe to; + is one level, # the rest"),
            .one("-q", "--qos", value: "0|1|2", about: "the highest quality of service wanted (default: 0)"),
            .flag("-v", "--verbose", about: "print the topic before each message"),
            .one("-C", value: "COUNT", about: "leave after COUNT messages"),
            .one("-W", value: "SECONDS", about: "leave after SECONDS, with exit code 1 when -C was not reached"),
        ] + MQTTConnectionOptions.options

    init(_ arguments: Arguments) throws(CommandFailure) {
        let (connection, topicOfURL) = try MQTTConnectionOptions.parse(arguments)
        self.connection = connection
        topicFilters = (topicOfURL.map { [$0] } ?? []) + arguments.texts("-t")
        guard !topicFilters.isEmpty, !topicFilters.contains("") else { throw .usage("mqtt sub: a topic filter is missing: add -t FILTER") }
        qos = try arguments.integer("-q", in: 0...2) ?? 0
        isVerbose = arguments.has("-v")
        messageCountMax = try arguments.integer("-C", in: 1...Int(Int32.max))
        timeout = try arguments.integer("-W", in: 1...Int(Int32.max)).map { .seconds($0) }
    }
}
