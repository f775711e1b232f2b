import Glibc
import MartletBytes
import MartletEventLoop
import MartletPipe
import MartletTLS
import Testing

/// TLS over a pipe, both roles: who is let through and who is not, and what either side is told.
@Suite struct TLSTests {
    static let certificates = TestCertificates.shared

    static func server(_ identity: String = "server", _ change: (inout TLSServerOptions) -> Void = { _ in }) throws -> TLSContext {
        var options = TLSServerOptions(identity: certificates.identity(identity))
        change(&options)
        return try TLSContext(server: options)
    }

    static func client(_ change: (inout TLSClientOptions) -> Void = { _ in }) throws -> TLSContext {
        var options = TLSClientOptions()
        options.trust = .file(certificates.path("ca.pem"))
        change(&options)
        return try TLSContext(client: options)
    }

    /// A loop's thread may be in the middle of a connection when the program ends.
    @Test func `TLS can be used until the process has gone`() async {
        await #expect(processExitsWith: .success) {
            // What is registered before OpenSSL is used is called after what OpenSSL registers.
            atexit { _exit((try? TLSContext(client: TLSClientOptions())) == nil ? 1 : 0) }
            _ = try TLSContext(client: TLSClientOptions())
            exit(2)
        }
    }

    @Test("Both versions: bytes go both ways, and both sides know what was agreed on", arguments: [TLSVersion.tls12, .tls13])
    func opens(version: TLSVersion) throws {
        let pair = TLSPair(try Self.client { $0.maximumVersion = version }, try Self.server()).shakeHands()
        #expect(pair.isOpen)
        #expect(pair.client.happened == ["secured"])
        let session = try #require(pair.clientSession)
        #expect(session.version == (version == .tls12 ? "TLSv1.2" : "TLSv1.3"))
        #expect(session.cipher.contains("GCM") || session.cipher.contains("CHACHA20"))
        #expect(session.serverName == "localhost")
        #expect(session.applicationProtocol == nil)
        #expect(session.peerCertificate?.subject == "CN=server")
        #expect(session.peerCertificate?.issuer == "CN=ca")
        #expect(session.peerCertificate.map { $0.notAfter - $0.notBefore } == Int64(30 * 86_400))
        #expect(pair.serverSession?.serverName == "localhost")
        #expect(pair.serverSession?.peerCertificate == nil)
        #expect(pair.serverSession?.cipher == session.cipher)
    }

    @Test("A server that speaks 1.3 alone refuses a client that ends at 1.2, and both are told why")
    func versions() throws {
        let pair = TLSPair(try Self.client { $0.maximumVersion = .tls12 }, try Self.server { $0.minimumVersion = .tls13 }).shakeHands()
        #expect(pair.ends.0 == LayerFailure(.handshakeFailed, "the peer ended TLS: no common version of TLS"))
        #expect(pair.ends.1 == LayerFailure(.handshakeFailed, "the peer speaks other versions of TLS alone (unsupported protocol)"))
    }

    @Test("A certificate that is expired, for another host, or from nobody known ends it; the server is told too")
    func certificates() throws {
        let expected: [(String, String, LayerFailure.Kind, String)] = [
            ("expired", "localhost", .certificateExpired, "the peer's certificate has expired"),
            ("elsewhere", "localhost", .certificateWrongHost, "the peer's certificate is not for localhost"),
            ("elsewhere", "127.0.0.1", .certificateWrongHost, "the peer's certificate is not for 127.0.0.1"),
            ("stranger", "localhost", .certificateUntrusted, "the peer's certificate is not trusted: unable to get local issuer certificate"),
        ]
        for (identity, name, kind, text) in expected {
            let pair = TLSPair(try Self.client(), try Self.server(identity), name: name).shakeHands()
            #expect(pair.ends.0 == LayerFailure(kind, text))
            #expect(pair.client.happened.first?.hasPrefix("closed") == true, "it never opened")
            #expect(!pair.isOpen)
            #expect(pair.server.failure != nil)
        }
        let pair = TLSPair(try Self.client(), try Self.server("stranger")).shakeHands()
        #expect(pair.ends.1 == LayerFailure(.certificateUntrusted, "the peer refused our certificate: it does not know who issued it (unknown CA)"))
    }

    @Test("A name, an address, a wildcard and a name of the options' own are checked as what they are")
    func names() throws {
        let plain = try Self.client(), server = try Self.server(), wildcard = try Self.server("wildcard")
        #expect(TLSPair(plain, server, name: "localhost").shakeHands().isOpen)
        #expect(TLSPair(plain, server, name: "localhost.").shakeHands().isOpen)
        #expect(TLSPair(plain, server, name: "127.0.0.1").shakeHands().isOpen)
        #expect(TLSPair(plain, server, name: "127.0.0.1").shakeHands().serverSession?.serverName == nil)
        #expect(TLSPair(plain, server, name: "127.0.0.2").shakeHands().ends.0?.kind == .certificateWrongHost)
        #expect(TLSPair(plain, server, name: "::1").shakeHands().ends.0?.kind == .certificateWrongHost)
        #expect(TLSPair(plain, wildcard, name: "a.example.org").shakeHands().isOpen)
        #expect(TLSPair(plain, wildcard, name: "a.b.example.org").shakeHands().ends.0?.kind == .certificateWrongHost)
        #expect(TLSPair(plain, server, name: nil).shakeHands().ends.0?.kind == .certificateWrongHost)
        let named = TLSPair(try Self.client { $0.serverName = "localhost" }, server, name: "10.0.0.1").shakeHands()
        #expect(named.isOpen)
        #expect(named.serverSession?.serverName == "localhost")
    }

    @Test("Without the check of the name any trusted certificate does; without trust, any at all; the system trusts none of the test's")
    func trust() throws {
        let elsewhere = try Self.server("elsewhere"), stranger = try Self.server("stranger")
        let anyName = try Self.client { $0.checksServerName = false }
        #expect(TLSPair(anyName, elsewhere).shakeHands().isOpen)
        #expect(TLSPair(anyName, elsewhere, name: "127.0.0.1").shakeHands().isOpen)
        #expect(TLSPair(anyName, stranger).shakeHands().ends.0?.kind == .certificateUntrusted)
        #expect(TLSPair(try Self.client { $0.trust = .none }, try Self.server("expired"), name: nil).shakeHands().isOpen)
        #expect(TLSPair(try Self.client { $0.trust = .system }, try Self.server()).shakeHands().ends.0?.kind == .certificateUntrusted)
    }

    @Test("ALPN: the server takes its dearest of the client's; none in common ends it; who does not speak of it gets in")
    func applicationProtocols() throws {
        let server = try Self.server { $0.applicationProtocols = ["mqtt", "http/1.1"] }
        let both = TLSPair(try Self.client { $0.applicationProtocols = ["http/1.1", "mqtt"] }, server).shakeHands()
        #expect(both.clientSession?.applicationProtocol == "mqtt")
        #expect(both.serverSession?.applicationProtocol == "mqtt")
        let silent = TLSPair(try Self.client(), server).shakeHands()
        #expect(silent.isOpen)
        #expect(silent.clientSession?.applicationProtocol == nil)
        let other = TLSPair(try Self.client { $0.applicationProtocols = ["h2"] }, server).shakeHands()
        #expect(other.ends.0 == LayerFailure(.handshakeFailed, "the peer ended TLS: no common application protocol (ALPN)"))
        #expect(other.ends.1 == LayerFailure(.handshakeFailed, "the peer asks for other application protocols (ALPN) alone"))
        #expect(throws: TLSError.self) { try Self.client { $0.applicationProtocols = [""] } }
        #expect(throws: TLSError.self) { try Self.client { $0.applicationProtocols = [String(repeating: "x", count: 256)] } }
    }

    @Test("Mutual TLS: a good certificate is known by its name; a bad or missing one is refused, in both versions", arguments: [TLSVersion.tls12, .tls13])
    func mutual(version: TLSVersion) throws {
        func pair(_ identity: String?, required: Bool = true) throws -> TLSPair {
            let server = try Self.server {
                $0.clientTrust = Self.certificates.path("ca.pem"); $0.requiresClientCertificate = required; $0.maximumVersion = version
            }
            return TLSPair(try Self.client { $0.identity = identity.map { Self.certificates.identity($0) } }, server).shakeHands()
        }
        let known = try pair("client")
        #expect(known.isOpen)
        #expect(known.serverSession?.peerCertificate?.subject == "CN=client")
        let missing = try pair(nil)
        #expect(missing.ends.1 == LayerFailure(.certificateRequired, "the peer showed no certificate"))
        #expect(missing.ends.0?.kind == (version == .tls13 ? .certificateRequired : .handshakeFailed))
        #expect(try pair("client-expired").ends.1?.kind == .certificateExpired)
        #expect(try pair("client-expired").ends.0 == LayerFailure(.certificateExpired, "the peer refused our certificate: certificate expired"))
        #expect(try pair("client-stranger").ends.1?.kind == .certificateUntrusted)
        #expect(try pair(nil, required: false).isOpen)
        #expect(try !pair("client-stranger", required: false).isOpen)
    }

    @Test(
        "Sessions are resumed, by name and in both versions, also after a cut; not with another context or after a reload",
        arguments: [TLSVersion.tls12, .tls13])
    func resumption(version: TLSVersion) throws {
        let server = try Self.server(), client = try Self.client { $0.maximumVersion = version }
        let first = TLSPair(client, server).shakeHands()
        #expect(first.clientSession?.wasResumed == false)
        first.network.end(first.descriptors.0)
        first.network.end(first.descriptors.1)
        first.tick(3)
        #expect(first.client.failure?.kind == .truncated)
        for _ in 0..<3 {
            let again = TLSPair(client, server).shakeHands()
            #expect(again.isOpen)
            #expect(again.clientSession?.wasResumed == true)
            #expect(again.serverSession?.wasResumed == true)
            #expect(again.clientSession?.peerCertificate?.subject == "CN=server", "who it was is still known")
            again.loops[0].finish(again.client, .finished)
            again.tick(4)
        }
        #expect(TLSPair(client, server, name: "127.0.0.1").shakeHands().clientSession?.wasResumed == false)
        #expect(TLSPair(try Self.client(), server).shakeHands().clientSession?.wasResumed == false)
        try server.reload()
        #expect(TLSPair(client, server).shakeHands().clientSession?.wasResumed == false)
        try client.reload()
        #expect(TLSPair(client, server).shakeHands().clientSession?.wasResumed == false)
    }

    @Test("A resumed session of mutual TLS knows the client's certificate")
    func resumedMutual() throws {
        let server = try Self.server { $0.clientTrust = Self.certificates.path("ca.pem") }
        let client = try Self.client { $0.identity = Self.certificates.identity("client") }
        _ = TLSPair(client, server).shakeHands()
        let again = TLSPair(client, server).shakeHands()
        #expect(again.serverSession?.wasResumed == true)
        #expect(again.serverSession?.peerCertificate?.subject == "CN=client")
    }

    @Test("reload: who is connected stays, who comes gets the renewed certificate; a bad one changes nothing")
    func reload() throws {
        let certificates = Self.certificates
        certificates.copy("server", to: "live")
        let server = try Self.server("live"), client = try Self.client()
        let old = TLSPair(client, server).shakeHands()
        certificates.copy("renewed", to: "live")
        try server.reload()
        let fresh = TLSPair(try Self.client(), server).shakeHands()
        #expect(fresh.clientSession?.peerCertificate?.subject == "CN=renewed")
        old.client.say([1, 2, 3], on: old.loops[0])
        old.tick(3)
        #expect(old.server.heard.suffix(3) == [1, 2, 3])
        #expect(old.clientSession?.peerCertificate?.subject == "CN=server")
        certificates.write("no certificate", to: "live.pem")
        #expect(throws: TLSError.self) { try server.reload() }
        #expect(TLSPair(try Self.client(), server).shakeHands().clientSession?.peerCertificate?.subject == "CN=renewed")
    }

    @Test("What is wrong with a file is said with its path")
    func badFiles() throws {
        let certificates = Self.certificates
        certificates.write("nonsense", to: "nonsense.pem")
        func message(_ certificate: String, _ key: String, ca: String? = nil) -> String {
            var options = TLSServerOptions(identity: TLSIdentity(certificate: certificates.path(certificate), key: certificates.path(key)))
            options.clientTrust = ca.map { certificates.path($0) }
            do {
                _ = try TLSContext(server: options)
                return "accepted"
            } catch { return error.description.replacing(certificates.folder + "/", with: "") }
        }
        #expect(message("server.pem", "server.key") == "accepted")
        #expect(message("missing.pem", "server.key") == "cannot read the certificate missing.pem: no such file or directory")
        #expect(message("server.pem", "missing.key") == "cannot read the key missing.key: no such file or directory")
        #expect(message("nonsense.pem", "server.key").hasPrefix("nonsense.pem is no certificate in PEM that can be used: "))
        #expect(message("server.pem", "nonsense.pem").hasPrefix("nonsense.pem is no private key in PEM: "))
        #expect(message("server.pem", "server.pem").hasPrefix("server.pem is no private key in PEM: "))
        #expect(message("server.pem", "client.key") == "the key client.key does not belong to the certificate server.pem")
        #expect(message("server.pem", "encrypted.key").hasPrefix("the key encrypted.key is encrypted: decrypt it"))
        #expect(message("server.pem", "server.key", ca: "missing.pem") == "cannot read the trusted certificates missing.pem: no such file or directory")
        #expect(message("server.pem", "server.key", ca: "nonsense.pem").hasPrefix("nonsense.pem holds no trusted certificates in PEM: "))
        #expect(message("server.pem", "server.key", ca: "server.key").hasPrefix("server.key holds no trusted certificates in PEM: "))
    }
}
