internal import MartletClient

/// `amqp://[USER[:PASSWORD]@]HOST[:PORT][/VHOST][?NAME=VALUE&...]`, or `amqps://` for TLS (RabbitMQ's URI specification). Percent signs are decoded in
/// user, password and virtual host: `/%2F` is the virtual host "/", and so is no path or an empty one.
/// Query parameters, as RabbitMQ's clients have them: `heartbeat` (seconds), `connection_timeout` (milliseconds), `channel_max`, `frame_max`.
public struct AMQPServerURL: Equatable, Sendable {
    public private(set) var host = ""
    /// 5672 if none is named, with TLS 5671.
    public private(set) var port: UInt16 = 5672
    /// `amqps`.
    public private(set) var isSecure = false
    public private(set) var userName: String?
    public private(set) var password: String?
    public private(set) var virtualHost = "/"
    private var namesVirtualHost = false
    /// Seconds.
    public private(set) var heartbeat: UInt16?
    /// Milliseconds.
    public private(set) var connectTimeout: UInt32?
    public private(set) var channelMax: UInt16?
    public private(set) var frameMax: UInt32?

    /// Throws `urlInvalid`.
    public init(_ url: String) throws(AMQPError) {
        let query = url.firstIndex(of: "?")
        let place: ServerAddress
        do throws(ServerAddress.Unreadable) {
            place = try ServerAddress(String(url[..<(query ?? url.endIndex)]))
        } catch { throw .urlInvalid(error.shown, reason: error.reason) }
        func fail(_ reason: String) -> AMQPError { .urlInvalid(place.shown, reason: reason) }
        switch place.scheme {
        case "amqp": break
        case "amqps": (isSecure, port) = (true, 5671)
        case let other: throw fail("\"\(other)\" is not a scheme of AMQP")
        }
        (host, userName, password) = (place.host, place.userName, place.password)
        if let named = place.port { port = named }
        guard !place.path.contains("/") else { throw fail("its virtual host has a slash; write it as %2F") }
        guard let decoded = ServerAddress.percentDecoded(place.path[...]) else {
            throw fail("a % is not followed by two hexadecimal digits of UTF-8")
        }
        if !decoded.isEmpty { (virtualHost, namesVirtualHost) = (decoded, true) }
        guard let query else { return }
        for parameter in url[url.index(after: query)...].split(separator: "&") {
            let parts = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard take(parts[0], parts.count > 1 ? parts[1] : "") else { throw fail("\"\(parameter)\" is no parameter of this build, or no number") }
        }
    }

    private mutating func take(_ name: Substring, _ value: Substring) -> Bool {
        switch name {
        case "heartbeat": heartbeat = UInt16(value)
        case "connection_timeout": connectTimeout = UInt32(value)
        case "channel_max": channelMax = UInt16(value)
        case "frame_max": frameMax = UInt32(value)
        default: return false
        }
        return UInt32(value) != nil && (name == "connection_timeout" || name == "frame_max" || UInt16(value) != nil)
    }

    /// Into the options: what the URL says counts.
    func apply(to options: inout AMQPConnectionOptions) {
        if let userName { options.login = .plain(user: userName, password: password ?? "") }
        if namesVirtualHost { options.virtualHost = virtualHost }
        if isSecure, options.tls == nil { options.tls = .init() }
        if let heartbeat { options.heartbeat = .seconds(Int(heartbeat)) }
        if let connectTimeout { options.connectTimeout = .milliseconds(Int(connectTimeout)) }
        if let channelMax { options.channelMax = channelMax }
        if let frameMax { options.frameMax = frameMax }
    }
}
