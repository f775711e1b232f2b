import Foundation
import MartletSockets
import MartletZMQ
import Synchronization
import Testing

/// `ws://` and `wss://` between our own sockets (RFC 45, ZWS 2.0), and what a peer may not do there.
@Suite struct ZMQWebSocketTests {
    private func options(_ security: ZMTPSecurity = .null, _ authenticator: ZMQAuthenticator? = nil) -> ZMQSocketOptions {
        var options = ZMQSocketOptions()
        options.security = security
        options.authenticator = authenticator
        options.reconnect.delayMin = .milliseconds(1)
        options.reconnect.delayMax = .milliseconds(5)
        options.linger = .milliseconds(500)
        return options
    }

    /// Both options for each mechanism: the bound one's, and the connecting one's.
    private func pair(_ mechanism: String) -> (ZMQSocketOptions, ZMQSocketOptions) {
        switch mechanism {
        case "PLAIN":
            let client = ZMTPSecurity.plainClient(user: Array("anna".utf8), password: Array("secret".utf8))
            return (options(.plainServer) { $0.proof == .plain(user: "anna", password: "secret") }, options(client))
        case "CURVE":
            let serverKeys = CurveKeyPair.generate(), clientKeys = CurveKeyPair.generate(), known = clientKeys.publicKey.bytes
            return (
                options(.curveServer(serverKeys)) { $0.proof == .curve(publicKey: known) }, options(.curveClient(clientKeys, server: serverKeys.publicKey))
            )
        case "NULL with an authenticator": return (options(.null) { $0.address.hasPrefix("127.0.0.1:") }, options())
        default: return (options(), options())
        }
    }

    private static let messages: [ZMQMessage] = [
        ZMQMessage("short"), ZMQMessage(frames: [[], [UInt8](repeating: 7, count: 125), [UInt8](repeating: 8, count: 126), []]),
        ZMQMessage(frames: [[UInt8](repeating: 1, count: 65_535), [UInt8](repeating: 2, count: 65_536), Array("end".utf8)]),
        ZMQMessage([UInt8](repeating: 3, count: 3_000_000)),
    ]

    @Test(arguments: ["NULL", "NULL with an authenticator", "PLAIN", "CURVE"])
    func `messages of all sizes come through in both directions`(_ mechanism: String) async throws {
        let (server, client) = pair(mechanism)
        let bound = ZMQSocket(.pair, options: server), connected = ZMQSocket(.pair, options: client)
        let endpoint = try await bound.bind("ws://127.0.0.1:*/zeromq")
        #expect(endpoint.description.hasPrefix("ws://127.0.0.1:") && endpoint.description.hasSuffix("/zeromq"))
        try connected.connect("\(endpoint)")
        for message in Self.messages {
            try await connected.send(message)
            let there = try await bound.receive()
            #expect(there == message)
            try await bound.send(there)
            let back = try await connected.receive()
            #expect(back == message)
        }
        await connected.close()
        try await ZMQSocketTests.until { bound.peerCount == 0 }
        #expect(bound.counters.failures == 0)
        await bound.close()
    }

    @Test(arguments: ["NULL", "CURVE"])
    func `subscriptions go over WebSocket, and end there`(_ mechanism: String) async throws {
        let (server, client) = pair(mechanism)
        let publisher = ZMQSocket(.xpub, options: server), subscriber = ZMQSocket(.sub, options: client)
        try subscriber.connect("\(try await publisher.bind("ws://127.0.0.1:*"))")
        subscriber.subscribe(to: "news.")
        #expect(try await publisher.receive()[0] == [1] + Array("news.".utf8))
        try await publisher.send("weather")
        try await publisher.send("news.today")
        #expect(try await subscriber.receive().text == "news.today")
        subscriber.unsubscribe(from: "news.")
        #expect(try await publisher.receive()[0] == [0] + Array("news.".utf8))
        await subscriber.close()
        await publisher.close()
    }

    @Test func `a request and its reply over TLS, and no connection without trust`() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-wss-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            let identity = try HTTPCurlTests.identity(in: folder)
            var server = options(), client = options()
            server.serverTLS = TLSServerOptions(identity: identity)
            client.tls.trust = .file(identity.certificate)
            client.routingID = Array("me".utf8)
            let router = ZMQSocket(.router, options: server), request = ZMQSocket(.req, options: client)
            let endpoint = try await router.bind("wss://127.0.0.1:*/")
            #expect(endpoint.description.hasPrefix("wss://"))
            try request.connect("\(endpoint)")
            let replying = Task {
                let message = try await router.receive()
                try await router.send(ZMQMessage(frames: [message[0], message[1], Array("reply to ".utf8) + message[2]]))
                return message[0]
            }
            let reply = try await request.request("question")
            #expect(reply.text == "reply to question")
            #expect(try await replying.value == Array("me".utf8))
            await request.close()
            await router.close()

            // Without trust there is no connection, and the reason is told.
            let wary = ZMQSocket(.req, options: options()), second = ZMQSocket(.router, options: server)
            let events = wary.events
            try wary.connect("\(try await second.bind("wss://127.0.0.1:*/"))")
            for await case .handshakeFailed(_, let reason) in events {
                #expect(reason.contains("certificate"))
                break
            }
            await wary.close()
            await second.close()
        }
    }

    @Test func `wss cannot be bound without a certificate, nor anything with a path that is none`() async throws {
        let socket = ZMQSocket(.pull)
        await #expect(throws: ZMQError.endpointInvalid("wss://127.0.0.1:*", reason: "wss needs a certificate: ZMQSocketOptions.serverTLS")) {
            try await socket.bind("wss://127.0.0.1:*")
        }
        for text in ["ws://", "ws://:80/", "ws://a:b/", "ws://a:1/a b", "ws://a:1/#x", "ws://::1:80/"] {
            #expect(throws: ZMQError.self) { try ZMQEndpoint(text) }
        }
        #expect(throws: ZMQError.self) { try socket.connect("ws://*:80/") }
        await socket.close()
    }

    /// Why the connecting socket's first handshake failed.
    private func failure(_ server: ZMQSocketOptions, _ client: ZMQSocketOptions, at path: String = "") async throws -> String {
        let pull = ZMQSocket(.pull, options: server), push = ZMQSocket(.push, options: client)
        let events = push.events
        let endpoint = try await pull.bind("ws://127.0.0.1:*/here")
        try push.connect(endpoint.description.replacing("/here", with: path.isEmpty ? "/here" : path))
        var said = ""
        for await case .handshakeFailed(_, let reason) in events {
            said = reason
            break
        }
        try await ZMQSocketTests.until { pull.counters.failures > 0 }
        await push.close()
        await pull.close()
        return said
    }

    @Test func `another mechanism, another path and wrong credentials fail, and the reason is told`() async throws {
        let (plain, client) = pair("PLAIN")
        let other = try await failure(plain, options())
        #expect(other.contains("answers 400"))
        let elsewhere = try await failure(options(), options(), at: "/there")
        #expect(elsewhere.contains("answers 404"))
        let denied = try await failure(options(.plainServer) { _ in false }, client)
        #expect(denied.contains("refused us: 400"))
    }

    /// Connects to the socket, and shakes hands up to READY.
    private func withPeer(at endpoint: ZMQEndpoint, fields: [String] = [], _ body: @Sendable (RawWebSocket) async throws -> Void) async throws {
        try await TCP.withConnection(to: String(endpoint.description.dropFirst(5))) { connection in
            let peer = try await RawWebSocket(connection, fields: fields + ["Sec-WebSocket-Protocol: ZWS2.0/NULL"])
            #expect(peer.head.contains("Sec-WebSocket-Protocol: ZWS2.0/NULL\r\n"))
            let ready = try await peer.next()
            #expect(ready?.first == 0x82 && ready?.payload.prefix(7) == ArraySlice([2, 5] + Array("READY".utf8)))
            try await body(peer)
        }
    }

    private static let ready = RawWebSocket.frame(
        0x82, [2, 5] + Array("READY".utf8) + [11] + Array("Socket-Type".utf8) + [0, 0, 0, 4] + Array("PUSH".utf8))

    @Test func `a page of elsewhere is not let in, one of this machine is`() async throws {
        let pull = ZMQSocket(.pull)
        let endpoint = try await pull.bind("ws://127.0.0.1:*"), place = String(endpoint.description.dropFirst(5))
        try await TCP.withConnection(to: place) { connection in
            try await connection.write(RawWebSocket.request("/", ["Origin: http://evil.example", "Sec-WebSocket-Protocol: ZWS2.0/NULL"]))
            let answer = try #require(try await connection.read(timeout: .seconds(20)))
            #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 403"))
        }
        let pages = [[], ["Origin: http://x"], ["Origin: http://x", "Cookie: y"]]
        for fields in pages { try await withPeer(at: endpoint, fields: fields) { try await $0.send(Self.ready, RawWebSocket.frame(0x82, [0, 1])) } }
        for _ in pages { #expect(try await pull.receive()[0] == [1]) }
        await pull.close()
    }

    @Test func `who says too much is told so and ended`() async throws {
        var server = options()
        server.limits.messageBytesMax = 1_000
        let pull = ZMQSocket(.pull, options: server)
        try await withPeer(at: try await pull.bind("ws://127.0.0.1:*")) { peer in
            try await peer.send(Self.ready, RawWebSocket.frame(0x82, [0] + [UInt8](repeating: 1, count: 1_000)))
            #expect(try await pull.receive()[0].count == 1_000)
            try await peer.send(RawWebSocket.frame(0x82, [0] + [UInt8](repeating: 1, count: 1_001)))
            let last = try await peer.next()
            #expect(last?.first == 0x88 && last?.code == 1009)
            #expect(try await peer.next() == nil)
        }
        #expect(pull.counters.failures == 1)
        await pull.close()
    }

    @Test func `who says nothing, half of a handshake, or no WebSocket is ended`() async throws {
        var server = options()
        server.limits.handshakeTimeout = .seconds(2)
        let pull = ZMQSocket(.pull, options: server)
        let endpoint = try await pull.bind("ws://127.0.0.1:*"), place = String(endpoint.description.dropFirst(5))
        try await TCP.withConnection(to: place) { connection in
            let end = try await connection.read(timeout: .seconds(20))
            #expect(end.map { String(decoding: $0, as: UTF8.self) } == nil)
        }
        try await withPeer(at: endpoint) { peer in
            let error = try await peer.next(), close = try await peer.next()
            #expect(error?.payload.starts(with: [2, 5] + Array("ERROR".utf8)) == true && close?.code == 1002)
        }
        try await TCP.withConnection(to: place) { connection in
            try await connection.write("SSH-2.0-x\r\n\r\n")
            let answer = try #require(try await connection.read(timeout: .seconds(20)))
            #expect(String(decoding: answer, as: UTF8.self).hasPrefix("HTTP/1.1 400"))
        }
        try await ZMQSocketTests.until { pull.counters.failures == 3 }
        await pull.close()
    }

    @Test func `a peer that answers no ping is given up`() async throws {
        var server = options()
        server.heartbeat.interval = .milliseconds(20)
        server.heartbeat.timeout = .seconds(1)
        let pull = ZMQSocket(.pull, options: server)
        do {
            try await withPeer(at: try await pull.bind("ws://127.0.0.1:*")) { peer in
                try await peer.send(Self.ready)
                #expect(try await peer.next()?.first == 0x89)
                while try await peer.next() != nil {}
            }
        } catch let error as NetError {
            // Nobody waits for the end of one who was given up.
            #expect(error.kind == .reset)
        }
        #expect(pull.counters.failures == 1)
        await pull.close()
    }

    @Test func `connections that are cut are made again, and nothing comes twice`() async throws {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push, options: options())
        let endpoint = try await pull.bind("ws://127.0.0.1:*/")
        let proxy = try CuttingProxy(to: try #require(UInt16(endpoint.description.dropLast().split(separator: ":").last ?? "")))
        try push.connect("ws://127.0.0.1:\(proxy.port)/")
        let received = Atomic<Int>(0)
        let receiving = Task {
            var seen: Set<Int> = []
            for try await message in pull.messages {
                #expect(seen.insert(try #require(Int(message.text))).inserted)
                received.wrappingAdd(1, ordering: .relaxed)
            }
        }
        let sending = Task {
            for number in 0..<Int.max {
                if Task.isCancelled { return }
                try await push.send("\(number)")
                try await Task.sleep(for: .microseconds(100))
            }
        }
        // What comes may have left before the last cut: so a cut is not always of a new connection.
        while push.counters.handshakes <= 10 {
            let seen = received.load(ordering: .relaxed)
            try await ZMQSocketTests.until { received.load(ordering: .relaxed) > seen }
            proxy.cut()
        }
        sending.cancel()
        _ = await sending.result
        await push.close()
        await pull.close()
        try await receiving.value
        proxy.end()
    }
}
