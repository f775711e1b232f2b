/// Where `martlet mqtt …` connects and as whom: the flags that its commands share, named as mosquitto's.
struct MQTTConnectionOptions: Equatable, Sendable {
    enum Version: Equatable, Sendable { case v311, v5 }

    var host = "localhost"
    var port: UInt16 = 1883
    /// `nil`: one of our own making.
    var clientID: String?
    var username: String?
    var password: String?
    var keepAliveSeconds = 60
    /// MQTT 5's clean start.
    var cleanSession = true
    var version = Version.v311
    /// Says on stderr which packets come and go.
    var isDebug = false
    /// Only errors that end the command are said.
    var isQuiet = false

    static let options: [Command.Option] = [
        .one("-h", "--host", value: "HOST", about: "the server (default: localhost)"),
        .one("-p", "--port", value: "PORT", about: "its port (default: 1883)"),
        .one("-L", "--url", value: "URL", about: "all at once: mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC"),
        .one("-i", "--id", value: "ID", about: "client identifier (default: a random one)"),
        .one("-u", "--username", value: "NAME", about: "user name"),
        .one("-P", "--pw", value: "PASSWORD", about: "password"),
        .one("-k", "--keepalive", value: "SECONDS", about: "keep-alive, 0 for none (default: 60)"),
        .flag("-c", "--disable-clean-session", about: "keep the session after leaving; needs -i"),
        .one("-V", "--protocol-version", value: "311|5", about: "MQTT 3.1.1 or 5, also mqttv311, mqttv5 (default: 311)"),
        .flag("-d", "--debug", about: "show packets on stderr"),
        .flag("--quiet", about: "say nothing but the error that ends the command"),
    ]

    /// The options, and the topic in `-L`.
    static func parse(_ arguments: Arguments) throws(CommandFailure) -> (options: Self, topic: String?) {
        var options = Self()
        var topic: String?
        if let url = arguments.text("-L") {
            if arguments.has("-h") || arguments.has("-p") { throw .usage("-L says host and port: leave out -h and -p") }
            topic = try options.take(url: url)
        }
        if let host = arguments.text("-h") {
            if host.isEmpty { throw .usage("-h: the host is empty") }
            options.host = host
        }
        if let port = try arguments.integer("-p", in: 1...65_535) { options.port = UInt16(port) }
        if let seconds = try arguments.integer("-k", in: 0...65_535) { options.keepAliveSeconds = seconds }
        options.clientID = arguments.text("-i")
        options.username = arguments.text("-u") ?? options.username
        options.password = arguments.text("-P") ?? options.password
        options.cleanSession = !arguments.has("-c")
        options.isDebug = arguments.has("-d")
        options.isQuiet = arguments.has("--quiet")
        if let text = arguments.text("-V") { options.version = try version(text) }
        if !options.cleanSession, options.clientID?.isEmpty ?? true { throw .usage("-c keeps a session, which needs a client identifier: add -i ID") }
        if options.version == .v311, options.password != nil, options.username == nil {
            throw .usage("-P without -u: MQTT 3.1.1 has no password without a user name [MQTT-3.1.2-22]")
        }
        return (options, topic)
    }

    private static func version(_ text: String) throws(CommandFailure) -> Version {
        switch text {
        case "311", "mqttv311": return .v311
        case "5", "mqttv5": return .v5
        default: throw .usage("-V \(text): the versions are 311 and 5")
        }
    }

    /// `mqtt://[USER[:PASSWORD]@]HOST[:PORT]/TOPIC`. Percent signs are decoded in the credentials alone: a topic may hold them.
    private mutating func take(url: String) throws(CommandFailure) -> String? {
        guard url.hasPrefix("mqtt://") else { throw .usage("-L \(url): expected mqtt://HOST[:PORT]/TOPIC") }
        let rest = url.dropFirst("mqtt://".count)
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        var place = rest[..<slash]
        let topic = slash == rest.endIndex ? "" : String(rest[rest.index(after: slash)...])
        if let at = place.lastIndex(of: "@") {
            let credentials = place[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let decoded = credentials.compactMap { Self.percentDecoded($0) }
            guard decoded.count == credentials.count else { throw .usage("-L: a % in user or password is not followed by two hexadecimal digits of UTF-8") }
            username = decoded[0]
            password = decoded.count > 1 ? decoded[1] : nil
            place = place[place.index(after: at)...]
        }
        var portText: Substring?
        if place.hasPrefix("["), let close = place.firstIndex(of: "]") {
            host = String(place[place.index(after: place.startIndex)..<close])
            let after = place[place.index(after: close)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw .usage("-L: \"\(after)\" after the address is no port") }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else {
            let colon = place.firstIndex(of: ":")
            host = String(place[..<(colon ?? place.endIndex)])
            portText = colon.map { place[place.index(after: $0)...] }
        }
        guard !host.isEmpty else { throw .usage("-L: the URL names no host") }
        if let portText {
            guard let number = UInt16(portText), number > 0 else { throw .usage("-L: \"\(portText)\" is not a port") }
            port = number
        }
        return topic.isEmpty ? nil : topic
    }

    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard rest.count >= 2, let decoded = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), rest.first != UInt8(ascii: "+") else {
                return nil
            }
            bytes.append(decoded)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
