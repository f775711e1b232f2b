import MartletMQTT
import MartletMQTTProtocol

/// Where `martlet mqtt …` connects and as whom: the flags that its commands share, named as mosquitto's.
struct MQTTConnectionOptions: Equatable, Sendable {
    var host = "localhost"
    var port: UInt16 = 1883
    /// `nil`: without TLS.
    var tls: TLSClientOptions?
    /// `nil`: without WebSocket.
    var webSocketPath: String?
    /// `nil`: one of our own making.
    var clientID: String?
    var username: String?
    var password: String?
    var keepAliveSeconds = 60
    /// MQTT 5's clean start.
    var cleanSession = true
    /// How long a v5 server keeps the session; `nil`: for ever with `-c`, else not at all.
    var sessionExpiry: Duration?
    var version = MQTTVersion.v3_1_1
    var will: MQTTWillMessage?
    var properties = MQTTPropertyArguments()
    /// Says on stderr which packets come and go.
    var isDebug = false
    /// Only errors that end the command are said.
    var isQuiet = false

    static let options: [Command.Option] =
        [
            .one("-h", "--host", value: "HOST", about: "the server (default: localhost)"),
            .one("-p", "--port", value: "PORT", about: "its port (default: 1883, with TLS 8883; with --ws 8080, 8443)"),
            .one("-L", "--url", value: "URL", about: "all at once: mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC, ws[s]://…/PATH"),
            .one("-i", "--id", value: "ID", about: "client identifier (default: a random one)"),
            .one("-u", "--username", value: "NAME", about: "user name"),
            .one("-P", "--pw", value: "PASSWORD", about: "password"),
            .one("-k", "--keepalive", value: "SECONDS", about: "keep-alive, 0 for none (default: 60)"),
            .flag("-c", "--disable-clean-session", about: "keep the session after leaving; needs -i"),
            .one("-x", "--session-expiry-interval", value: "SECONDS", about: "how long a v5 server keeps it; -1: for ever (default with -c)"),
            .one("-V", "--protocol-version", value: "5|311|31", about: "version of MQTT, also mqttv5, mqttv311, mqttv31 (default: 311; rr: 5)"),
            .group("-D", "--property", value: "COMMAND NAME VALUE", about: "an MQTT 5 property, mosquitto's syntax (sets -V 5), see below") {
                $0.count > 1 && $0[1].lowercased() == "user-property" ? 4 : 3
            },
            .one("--will-topic", value: "TOPIC", about: "a will: published when this client is lost"),
            .one("--will-payload", value: "TEXT", about: "the will's message (default: none)"),
            .one("--will-qos", value: "0|1|2", about: "the will's quality of service (default: 0)"),
            .flag("--will-retain", about: "the server keeps the will"),
            .flag("-d", "--debug", about: "show packets on stderr"),
            .flag("--quiet", about: "say nothing but the error that ends the command"),
        ] + TLSFlags.options + [
            .flag("--ws", about: "over WebSocket, at /mqtt of the server; -L ws[s]://… names another path")
        ]

    static let footnote = """
        properties, -D COMMAND NAME VALUE:
          connect       receive-maximum, maximum-packet-size, topic-alias-maximum, session-expiry-interval, user-property
          publish       payload-format-indicator, message-expiry-interval, content-type, response-topic, correlation-data,
                        user-property (takes a name and a value: -D publish user-property room kitchen)
          will          the same, and will-delay-interval
          subscribe     subscription-identifier
          disconnect    session-expiry-interval

        """

    /// The options, and the topic in `-L`.
    static func parse(_ arguments: Arguments, version: MQTTVersion = .v3_1_1) throws(CommandFailure) -> (options: Self, topic: String?) {
        var options = Self()
        if arguments.has("--ws") { options.webSocketPath = "/mqtt" }
        options.version = version
        var topic: String?
        var isSecure = false
        if let url = arguments.text("-L") {
            if arguments.has("-h") || arguments.has("-p") { throw .usage("-L says host and port: leave out -h and -p") }
            do throws(MQTTClientError) {
                let place = try MQTTServerURL(url)
                (options.host, options.port, options.username, options.password) = (place.host, place.port, place.userName, place.password)
                (topic, isSecure) = (place.topic, place.isSecure)
                options.webSocketPath = place.webSocketPath
            } catch { throw .usage("-L: \(error)") }
            if arguments.has("--ws"), options.webSocketPath == nil { throw .usage("-L \(url) is without WebSocket: write ws:// or wss://") }
        }
        if let host = arguments.text("-h") {
            if host.isEmpty { throw .usage("-h: the host is empty") }
            options.host = host
        }
        let port = try arguments.integer("-p", in: 1...65_535).map { UInt16($0) }
        // As mosquitto's: 8883 is MQTT over TLS, whatever else is said.
        options.tls = try TLSFlags.parse(arguments, isAsked: isSecure || port == 8883)
        if let port {
            options.port = port
        } else if arguments.text("-L") == nil {
            // Over WebSocket as `martlet serve` listens to HTTP.
            let (plain, secure): (UInt16, UInt16) = options.webSocketPath == nil ? (1883, 8883) : (8080, 8443)
            options.port = options.tls == nil ? plain : secure
        }
        if let seconds = try arguments.integer("-k", in: 0...65_535) { options.keepAliveSeconds = seconds }
        options.clientID = arguments.text("-i")
        options.username = arguments.text("-u") ?? options.username
        options.password = arguments.text("-P") ?? options.password
        options.cleanSession = !arguments.has("-c")
        options.isDebug = arguments.has("-d")
        options.isQuiet = arguments.has("--quiet")
        options.properties = try MQTTPropertyArguments(arguments.groups("-D"))
        if arguments.has("-D") { options.version = .v5 }
        if let text = arguments.text("-V") {
            options.version = try Self.version(text)
            if arguments.has("-D"), options.version != .v5 { throw .usage("-D is MQTT 5's: leave out -V \(text)") }
        }
        options.sessionExpiry = try sessionExpiry(arguments)
        options.will = try will(arguments, options.properties)
        if !options.cleanSession, options.clientID?.isEmpty ?? true { throw .usage("-c keeps a session, which needs a client identifier: add -i ID") }
        if options.version != .v5, options.password != nil, options.username == nil {
            throw .usage("-P without -u: MQTT 3.1.1 has no password without a user name [MQTT-3.1.2-22]")
        }
        return (options, topic)
    }

    private static func sessionExpiry(_ arguments: Arguments) throws(CommandFailure) -> Duration? {
        guard let text = arguments.text("-x") else { return nil }
        if text == "-1" || text == "∞" { return .seconds(Int64(UInt32.max)) }
        guard let seconds = UInt32(text) else { throw .usage("-x \(text): seconds from 0 to 4294967295, or -1 for ever") }
        return .seconds(Int64(seconds))
    }

    private static func will(_ arguments: Arguments, _ properties: MQTTPropertyArguments) throws(CommandFailure) -> MQTTWillMessage? {
        let qos = try arguments.integer("--will-qos", in: 0...2) ?? 0
        guard let topic = arguments.text("--will-topic") else {
            for flag in ["--will-payload", "--will-qos", "--will-retain"] where arguments.has(flag) {
                throw .usage("\(flag) without a will: add --will-topic TOPIC")
            }
            if properties.will != MQTTProperties() || properties.willDelay > .zero { throw .usage("-D will without a will: add --will-topic TOPIC") }
            return nil
        }
        if topic.isEmpty || topic.contains(where: { $0 == "+" || $0 == "#" }) { throw .usage("--will-topic \(topic): a topic name, without wildcards") }
        return MQTTWillMessage(
            topic: topic, payload: Array((arguments.text("--will-payload") ?? "").utf8), qos: MQTTQoS(rawValue: UInt8(qos)) ?? .atMostOnce,
            retain: arguments.has("--will-retain"), delay: properties.willDelay, properties: properties.will)
    }

    private static func version(_ text: String) throws(CommandFailure) -> MQTTVersion {
        switch text {
        case "5", "mqttv5": return .v5
        case "311", "mqttv311": return .v3_1_1
        case "31", "mqttv31": return .v3_1
        default: throw .usage("-V \(text): the versions are 5, 311 and 31")
        }
    }
}
