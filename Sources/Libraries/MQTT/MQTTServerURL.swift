internal import MartletClient

/// `mqtt://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]`, or `mqtts://` for TLS. Percent signs are decoded in user and password alone: a topic may hold them.
/// Not here: WebSocket and Unix sockets.
public struct MQTTServerURL: Equatable, Sendable {
    public private(set) var host = ""
    /// 1883 if none is named, with TLS 8883.
    public private(set) var port: UInt16 = 1883
    /// `mqtts`.
    public private(set) var isSecure = false
    public private(set) var userName: String?
    public private(set) var password: String?
    /// What stands behind the slash; `nil` if nothing does.
    public private(set) var topic: String?
    /// Without user and password: errors end up in logs.
    let shown: String

    /// Throws `urlInvalid`.
    public init(_ url: String) throws(MQTTClientError) {
        let place: ServerAddress
        do throws(ServerAddress.Unreadable) { place = try ServerAddress(url) } catch { throw .urlInvalid(error.shown, reason: error.reason) }
        shown = place.shown
        switch place.scheme {
        case "mqtt": break
        case "mqtts": (isSecure, port) = (true, 8883)
        case let other: throw .urlInvalid(shown, reason: "\"\(other)\" is not a scheme of this build")
        }
        topic = place.path.isEmpty ? nil : place.path
        (userName, password) = (place.userName, place.password)
        host = place.host
        if let named = place.port { port = named }
    }
}
