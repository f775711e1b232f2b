import MartletSockets
import Testing

/// TCP's `tls:` with real handshakes over loopback. One after the other: a client keeps one session for a server name, whatever the port.
@Suite(.serialized, .timeLimit(.minutes(10))) struct TLSTCPTests {
    private let certificates = TestCertificates.shared

    private func client() -> TLSClientOptions {
        var options = TLSClientOptions()
        options.trust = .file(certificates.path("ca.pem"))
        return options
    }

    /// Runs `body` beside an echo server with a certificate.
    private func withServer<Result: Sendable>(_ identity: String, clientTrust: String? = nil, _ body: (String) async throws -> Result) async throws -> Result {
        var tls = TLSServerOptions(identity: certificates.identity(identity))
        tls.clientTrust = clientTrust
        let (addresses, ready) = AsyncStream.makeStream(of: SocketAddress.self)
        return try await withThrowingTaskGroup(of: Void.self) { [tls] group in
            group.addTask {
                try await TCP.listen(on: "127.0.0.1:0", tls: tls, ready: { ready.yield($0) }) { connection in
                    for try await chunk in connection.inbound { try await connection.write(chunk) }
                }
            }
            let address = try #require(await addresses.first { _ in true })
            let result = try await body("localhost:\(address.port)")
            group.cancelAll()
            try await group.waitForAll()
            return result
        }
    }

    @Test func `1 MB there and back, half-close, and what was agreed on; the second connection resumes`() async throws {
        try await withServer("server") { address in
            for round in 0..<2 {
                let sent = [UInt8](repeating: UInt8(round + 1), count: 1 << 20)
                let (isRight, session, steps) = try await TCP.withConnection(to: address, tls: client()) { connection in
                    async let heard = {
                        var bytes: [UInt8] = []
                        for try await chunk in connection.inbound { bytes += chunk }
                        return bytes
                    }()
                    try await connection.write(sent)
                    try await connection.finishWriting()
                    return (try await heard == sent, connection.tls, connection.steps)
                }
                #expect(isRight)
                #expect(session?.version == "TLSv1.3")
                #expect(session?.wasResumed == (round == 1))
                #expect(steps.map { $0.securing > .zero } == true)
            }
        }
    }

    @Test(arguments: [("expired", NetError.Kind.certificateExpired), ("elsewhere", .certificateWrongHost), ("stranger", .certificateUntrusted)])
    func `a certificate that does not do is an error of the handshake`(identity: String, kind: NetError.Kind) async throws {
        try await withServer(identity) { address in
            let error = await #expect(throws: NetError.self) { try await TCP.withConnection(to: address, tls: client()) { _ in } }
            #expect(error?.kind == kind && error?.phase == .handshake)
            #expect(error.map { !$0.hint.isEmpty && $0.elapsed > .zero } == true)
        }
    }

    @Test func `a server that wants a certificate, and gets it`() async throws {
        try await withServer("server", clientTrust: certificates.path("ca.pem")) { address in
            let error = await #expect(throws: NetError.self) { try await TCP.withConnection(to: address, tls: client()) { _ = try await $0.read() } }
            #expect(error?.kind == .certificateRequired)
            var options = client()
            options.identity = certificates.identity("client")
            let answer = try await TCP.withConnection(to: address, tls: options) { connection in
                try await connection.write("it is me")
                return try await connection.read(timeout: .seconds(5))
            }
            #expect(answer == Array("it is me".utf8))
        }
    }

    @Test func `a peer that does not speak TLS, and one that says nothing`() async throws {
        let (addresses, ready) = AsyncStream.makeStream(of: SocketAddress.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await TCP.listen(on: "127.0.0.1:0", ready: { ready.yield($0) }) { connection in
                    for try await chunk in connection.inbound where chunk.count < 100 { try await connection.write(chunk) }
                }
            }
            let address = try #require(await addresses.first { _ in true })
            let silent = await #expect(throws: NetError.self) {
                try await TCP.withConnection(to: "\(address)", tls: client(), timeout: .milliseconds(200)) { _ in }
            }
            #expect(silent?.kind == .timedOut && silent?.phase == .handshake)
            group.cancelAll()
        }
        let missing = TLSServerOptions(identity: TLSIdentity(certificate: "/nowhere.pem", key: "/nowhere.key"))
        let error = await #expect(throws: NetError.self) { try await TCP.listen(on: "127.0.0.1:0", tls: missing) { _ in } }
        #expect(error?.kind == .tls && error?.detail.contains("/nowhere.pem") == true)
    }
}
