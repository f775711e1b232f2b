import Testing

@testable import MartletMQTT

/// URLs and topic filters.
@Suite struct MQTTAddressTests {
    @Test func `a URL names host, port and user`() throws {
        let plain = try MQTTServerURL("mqtt://localhost")
        #expect((plain.host, plain.port, plain.userName) == ("localhost", 1883, nil))
        let full = try MQTTServerURL("mqtt://me%40home:a%3Ab:c@[::1]:21883/")
        #expect((full.host, full.port, full.userName, full.password) == ("::1", 21883, "me@home", "a:b:c"))
    }

    @Test(arguments: ["localhost", "http://a", "mqtt://", "mqtt://a:0", "mqtt://a:b", "mqtt://%4@a", "mqtt://[::1]x", "ws://a/b c", "ws://a/b#c"])
    func `a URL that cannot be used says why`(_ url: String) {
        #expect(throws: MQTTClientError.self) { try MQTTServerURL(url) }
    }

    @Test func `a URL may name a topic, in which a percent sign stands for itself`() throws {
        let place = try MQTTServerURL("mqtt://me@a:7/b/c%2F@d")
        #expect((place.host, place.port, place.userName, place.topic) == ("a", 7, "me", "b/c%2F@d"))
        #expect(try MQTTServerURL("mqtt://a/").topic == nil)
    }

    @Test func `over WebSocket a URL names a path`() throws {
        let plain = try MQTTServerURL("ws://me:x@a"), secure = try MQTTServerURL("wss://a:7/b/c?d=e")
        #expect((plain.port, plain.isSecure, plain.webSocketPath, plain.topic, plain.userName) == (80, false, "/mqtt", nil, "me"))
        #expect((secure.port, secure.isSecure, secure.webSocketPath, secure.topic) == (7, true, "/b/c?d=e", nil))
        #expect(try MQTTServerURL("wss://a/").webSocketPath == "/")
        #expect(try MQTTServerURL("wss://a/").port == 443)
        #expect(try MQTTServerURL("mqtt://a/mqtt").webSocketPath == nil)
    }

    @Test func `an error about a URL does not show its password`() {
        do throws(MQTTClientError) {
            _ = try MQTTServerURL("mqtt://me:secret@a:b")
            Issue.record("accepted")
        } catch {
            #expect(!"\(error)".contains("secret"))
        }
    }

    @Test(arguments: [
        ("a/b", "a/b", true), ("a/b", "a/c", false), ("a/+", "a/b", true), ("a/+", "a", false), ("a/+", "a/b/c", false), ("a/#", "a", true),
        ("a/#", "a/b/c", true), ("#", "a/b", true), ("#", "$SYS/x", false), ("+/x", "$SYS/x", false), ("$SYS/#", "$SYS/x", true),
        ("$share/group/a/+", "a/b", true), ("+", "", true), ("/+", "/a", true), ("+/+", "/a", true),
    ])
    func `a filter matches as section 4-7 says`(_ filter: String, _ topic: String, _ matches: Bool) {
        #expect(MQTTFilter(filter).matches(MQTTFilter.levels(of: topic)) == matches)
    }
}
