import MartletAMQPProtocol
import Testing

@testable import MartletAMQP

/// URLs, and the words of errors and properties: no connection.
@Suite struct AMQPAddressTests {
    @Test func `a URL names host, port, user and virtual host, percent-decoded`() throws {
        let url = try AMQPServerURL("amqp://us%40er:p%3Aw@example.org:5000/a%2Fb?heartbeat=7&connection_timeout=1500&channel_max=3&frame_max=8192")
        #expect(url.host == "example.org" && url.port == 5_000 && !url.isSecure)
        #expect(url.userName == "us@er" && url.password == "p:w" && url.virtualHost == "a/b")
        var options = AMQPConnectionOptions()
        url.apply(to: &options)
        #expect(options.login == .plain(user: "us@er", password: "p:w") && options.virtualHost == "a/b" && options.tls == nil)
        #expect(options.heartbeat == .seconds(7) && options.connectTimeout == .milliseconds(1_500))
        #expect(options.channelMax == 3 && options.frameMax == 8_192)
    }

    @Test(arguments: ["amqp://h", "amqp://h/", "amqp://h/%2F", "amqp://h/%2f"])
    func `no path, an empty one and %2F are the virtual host /`(url: String) throws {
        let place = try AMQPServerURL(url)
        #expect(place.virtualHost == "/" && place.port == 5_672 && place.userName == nil)
    }

    @Test func `what a URL does not name is the options'`() throws {
        var options = AMQPConnectionOptions()
        options.virtualHost = "mine"
        options.login = .external
        try AMQPServerURL("amqps://[::1]").apply(to: &options)
        #expect(options.virtualHost == "mine" && options.login == .external && options.tls != nil)
        #expect(try AMQPServerURL("amqps://[::1]").host == "::1" && AMQPServerURL("amqps://h").port == 5_671)
    }

    @Test(arguments: [
        "localhost", "mqtt://h", "amqp://", "amqp://h:0", "amqp://h/a/b", "amqp://h/%zz", "amqp://h?heartbeat=x", "amqp://h?heartbeat=70000",
        "amqp://h?verify=1",
    ])
    func `a URL that cannot be used says why, without its password`(url: String) {
        #expect(throws: AMQPError.self) { try AMQPServerURL(url) }
        do { _ = try AMQPServerURL(url.replacing("//h", with: "//user:secret@h")) } catch { #expect(!"\(error)".contains("secret")) }
    }

    @Test func `heartbeats are whole seconds, rounded up`() {
        var options = AMQPConnectionOptions()
        #expect(options.machineLimits.heartbeat == 60)
        options.heartbeat = .milliseconds(200)
        #expect(options.machineLimits.heartbeat == 1)
        options.heartbeat = .zero
        #expect(options.machineLimits.heartbeat == 0)
    }

    @Test func `methods are written as the specification writes them`() {
        #expect(AMQPMethodID.queueDeclare.dotted == "queue.declare")
        #expect(AMQPMethodID.connectionUpdateSecretOk.dotted == "connection.update-secret-ok")
        let known = AMQPException(code: 404, text: "NOT_FOUND - no queue 'x' in vhost '/'", classID: 50, methodID: 10)
        #expect("\(known)" == "404 NOT_FOUND - no queue 'x' in vhost '/' (queue.declare)")
        let plain = AMQPException(code: 320, text: "shutdown")
        #expect("\(plain)" == "320 CONNECTION_FORCED - shutdown" && plain.method == nil)
    }

    @Test func `waits double from the least to the most, and chance takes at most its part`() {
        var reconnect = AMQPReconnect()
        (reconnect.delayMin, reconnect.delayMax, reconnect.jitter) = (.seconds(1), .seconds(10), 0.5)
        #expect((1...6).map { reconnect.delay(before: $0, chance: 0) } == [1, 2, 4, 8, 10, 10].map { .seconds($0) })
        #expect(reconnect.delay(before: 3, chance: 1) == .seconds(2))
    }

    @Test func `commonest properties cost nothing to encode`() throws {
        var properties = AMQPMessageProperties()
        #expect(try properties.encoded() == [])
        properties.isPersistent = true
        #expect(try properties.encoded() == [0x10, 0, 2])
        properties.contentType = String(repeating: "x", count: 256)
        #expect(throws: AMQPError.self) { try properties.encoded() }
    }
}
