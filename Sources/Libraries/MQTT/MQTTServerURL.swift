internal import MartletClient

/// `mqtt://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]`, or `mqtts://` for TLS; over WebSocket `ws://` or `wss://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`.
/// Percent signs are decoded in user and password alone: a topic may hold them. Not here: Unix sockets.
public struct MQTTServerURL: Equatable, Sendable {
    public private(set) var host = ""
    /// 1883 if none is named, with TLS 8883; over WebSocket HTTP's, 80 and 443.
    public private(set) var port: UInt16 = 1883
    /// `mqtts` or `wss`.
    public private(set) var isSecure = false
    public private(set) var userName: String?
    public private(set) var password: String?
    /// What stands behind the slash; `nil` if nothing does, and over WebSocket.
    public private(set) var topic: String?
    /// Over WebSocket: where on the server, `/mqtt` if the URL does not say. `nil`: not over WebSocket.
    public private(set) var webSocketPath: String?
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
        case "ws": (webSocketPath, port) = ("/mqtt", 80)
        case "wss": (webSocketPath, isSecure, port) = ("/mqtt", true, 443)
        case let other: throw .urlInvalid(shown, reason: "\"\(other)\" is not a scheme of this build")
        }
        if webSocketPath == nil {
            topic = place.path.isEmpty ? nil : place.path
        } else if place.hasPath {
            guard place.path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !place.path.contains("#") else {
                throw .urlInvalid(shown, reason: "its path is none")
            }
            webSocketPath = "/" + place.path
        }
        (userName, password) = (place.userName, place.password)
        host = place.host
        if let named = place.port { port = named }
    }
}
