import MartletZMQ
import Testing

/// Mechanisms between two of our sockets: who is let in, and who is not.
@Suite struct ZMQSecurityTests {
    private func options(_ security: ZMTPSecurity, _ authenticator: ZMQAuthenticator? = nil) -> ZMQSocketOptions {
        var options = ZMQSocketOptions()
        options.security = security
        options.authenticator = authenticator
        options.reconnect.isEnabled = false
        return options
    }

    /// Whether a message comes through.
    private func talks(_ server: ZMQSocketOptions, _ client: ZMQSocketOptions) async throws -> Bool {
        let pull = ZMQSocket(.pull, options: server), push = ZMQSocket(.push, options: client)
        let events = push.events
        try push.connect("\(try await pull.bind("tcp://127.0.0.1:*"))")
        var isIn = false
        for await event in events {
            if case .handshakeSucceeded = event {
                isIn = true
                break
            }
            if case .handshakeFailed = event { break }
        }
        if isIn {
            let large = ZMQMessage(frames: [Array("secret".utf8), [UInt8](repeating: 9, count: 200_000), []])
            for _ in 0..<3 { try await push.send(large) }
            for _ in 0..<3 {
                let message = try await pull.receive()
                #expect(message == large)
            }
        }
        await push.close()
        await pull.close()
        return isIn
    }

    @Test func `PLAIN lets in whom the authenticator knows, and without one nobody`() async throws {
        let server = options(.plainServer) { $0.proof == .plain(user: "anna", password: "secret") }
        let good = try await talks(server, options(.plainClient(user: Array("anna".utf8), password: Array("secret".utf8))))
        let bad = try await talks(server, options(.plainClient(user: Array("anna".utf8), password: Array("guess".utf8))))
        let none = try await talks(options(.plainServer), options(.plainClient(user: [], password: [])))
        #expect(good && !bad && !none)
    }

    @Test func `CURVE lets in whose key the authenticator knows, and only to the server that was meant`() async throws {
        let serverKeys = CurveKeyPair.generate(), clientKeys = CurveKeyPair.generate(), otherKeys = CurveKeyPair.generate()
        let known = clientKeys.publicKey.bytes
        let server = options(.curveServer(serverKeys)) { $0.proof == .curve(publicKey: known) }
        let good = try await talks(server, options(.curveClient(clientKeys, server: serverKeys.publicKey)))
        let unknown = try await talks(server, options(.curveClient(otherKeys, server: serverKeys.publicKey)))
        let mistaken = try await talks(server, options(.curveClient(clientKeys, server: otherKeys.publicKey)))
        #expect(good && !unknown && !mistaken)
    }

    @Test func `NULL asks the authenticator about the address`() async throws {
        let good = try await talks(options(.null) { $0.address.hasPrefix("127.0.0.1:") && $0.proof == .none }, options(.null))
        let bad = try await talks(options(.null) { _ in false }, options(.null))
        #expect(good && !bad)
    }

    @Test func `mechanisms that differ do not talk`() async throws {
        let plain = options(.plainClient(user: [1], password: [2]))
        let one = try await talks(options(.null), plain), other = try await talks(options(.curveServer(CurveKeyPair.generate())) { _ in true }, plain)
        #expect(!one && !other)
    }
}
