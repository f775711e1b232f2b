import MartletSettings

/// WebSocket on the HTTP listeners. Section `websocket:` of the configuration.
public struct WebSocketSettings: Sendable, Equatable {
    /// Whose pages may connect, beside those of this machine and of the server itself: origins as browsers write them, `*` for all.
    /// Mosquitto and EMQX ask nobody.
    public var origins = Self.originsKey.initial
    /// The longest message taken from a page at `/ws`, as JSON. (python websockets 1 MiB, uWebSockets 16 KiB, ws 100 MiB.)
    public var messageSizeMax = Self.messageSizeMaxKey.initial
    /// Bytes written for a page and not yet taken by its socket: above it messages are dropped for it. As MQTT's QoS 0.
    public var outputBytesMax = Self.outputBytesMaxKey.initial
    /// How often a page is told that the server is there, and its browser has to answer; zero: never. (python websockets 20 s, uWebSockets 120 s.)
    public var pingInterval = Self.pingIntervalKey.initial
    /// How long a page's request waits for an answer, at most.
    public var requestTimeout = Self.requestTimeoutKey.initial

    public init() {}
}

extension WebSocketSettings {
    static let originsKey = SettingKey(
        "websocket.origins", .list(of: .text), default: [], "whose pages may connect too: https://example.org, or * for all")

    static let messageSizeMaxKey = SettingKey(
        "websocket.messageSizeMax", .byteSize(1024...1 << 30), default: 1 << 20, "the longest message taken from a page")
    static let outputBytesMaxKey = SettingKey(
        "websocket.outputBytesMax", .byteSize(4096...1 << 32), default: 1 << 20, "bytes held for a page that does not read")
    static let pingIntervalKey = SettingKey(
        "websocket.pingInterval", .duration(.zero ... .seconds(86_400)), default: .seconds(20), "how often pages are told that the server is there; 0s: never")
    static let requestTimeoutKey = SettingKey(
        "websocket.requestTimeout", .duration(.milliseconds(1) ... .seconds(86_400)), default: .seconds(30), "how long a page's request waits for its answer")

    static var declarations: [SettingDeclaration] {
        [originsKey.declaration, messageSizeMaxKey.declaration, outputBytesMaxKey.declaration, pingIntervalKey.declaration, requestTimeoutKey.declaration]
    }

    init(_ settings: Settings) throws(SettingsMisuse) {
        messageSizeMax = try settings.value(of: Self.messageSizeMaxKey)
        outputBytesMax = try settings.value(of: Self.outputBytesMaxKey)
        pingInterval = try settings.value(of: Self.pingIntervalKey)
        requestTimeout = try settings.value(of: Self.requestTimeoutKey)
        origins = try settings.value(of: Self.originsKey)
        for origin in origins where origin != "*" && !Self.isOrigin(origin) {
            throw SettingsMisuse(
                "\(settings.place(of: "websocket.origins")): \"\(origin)\" is not an origin such as https://example.org or http://localhost:3000")
        }
    }

    /// Scheme, host and port alone.
    private static func isOrigin(_ text: String) -> Bool {
        guard text != "null" else { return true }
        guard let scheme = text.firstRange(of: "://"), !text[..<scheme.lowerBound].isEmpty else { return false }
        let place = text[scheme.upperBound...]
        return !place.isEmpty && !place.contains { $0 == "/" || $0 == "?" || $0 == "#" || $0 == "*" || $0 == " " }
    }
}
