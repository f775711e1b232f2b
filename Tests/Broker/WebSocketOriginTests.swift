import Testing

@testable import MartletServer

@Suite struct WebSocketOriginTests {
    @Test(
        arguments: [
            // Programs that are no browsers.
            (nil, "broker.example", false, true), (nil, "127.0.0.1:8080", true, true),
            // Pages of this machine.
            ("http://localhost:3000", "127.0.0.1:8080", true, true), ("https://127.0.0.1", "x", false, true), ("http://[::1]:9", "x", true, true),
            ("http://app.localhost", "x", true, true), ("http://localhost.example", "x", true, false), ("http://127.0.0.1.example", "x", true, false),
            ("http://notlocalhost", "x", true, false),
            // Pages of the server's own, but not where a name cannot be believed.
            ("https://broker.example", "broker.example", false, true), ("https://broker.example", "broker.example:443", false, true),
            ("http://broker.example", "broker.example:80", false, true), ("https://broker.example:443", "broker.example", false, true),
            ("https://Broker.Example:8443", "broker.example:8443", false, true), ("https://broker.example", "broker.example:8443", false, false),
            ("https://broker.example", "broker.example", true, false), ("https://evil.example", "broker.example", false, false),
            // Others.
            ("null", "null", false, false), ("", "", false, false), ("file://", "", false, false), ("https://", "", false, false),
            ("ftp://broker.example", "broker.example", false, false), ("https://panel.example", "127.0.0.1:8080", true, true),
        ] as [(String?, String, Bool, Bool)])
    func `whose pages may connect`(origin: String?, host: String, isLocal: Bool, may: Bool) {
        #expect(WebSocketOriginRule(["https://panel.example"]).allows(origin, host: host, isLocal: isLocal) == may)
        #expect(WebSocketOriginRule(["*"]).allows(origin, host: host, isLocal: isLocal))
    }
}
