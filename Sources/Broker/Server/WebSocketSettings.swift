import MartletSettings

/// WebSocket on the HTTP listeners. Section `websocket:` of the configuration.
public struct WebSocketSettings: Sendable, Equatable {
    /// Whose pages may connect, beside those of this machine and of the server itself: origins as browsers write them, `*` for all.
    /// Mosquitto and EMQX ask nobody.
    public var origins = Self.originsKey.initial

    public init() {}
}

extension WebSocketSettings {
    static let originsKey = SettingKey(
        "websocket.origins", .list(of: .text), default: [], "whose pages may connect too: https://example.org, or * for all")

    static var declarations: [SettingDeclaration] { [originsKey.declaration] }

    init(_ settings: Settings) throws(SettingsMisuse) {
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
