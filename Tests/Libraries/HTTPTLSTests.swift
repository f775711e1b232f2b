import Foundation
import MartletEventLoop
import MartletHTTP
import MartletSockets
import Testing

/// This client and this server over TLS.
@Suite(.timeLimit(.minutes(10))) final class HTTPTLSTests: Sendable {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-https-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private static let handler: HTTPHandler = { request in
        if request.path == "/chat" {
            return .upgrade(to: "echo") { tunnel in
                #expect(tunnel.tls != nil)
                for try await piece in tunnel.inbound { try await tunnel.write(piece) }
            }
        }
        return HTTPResponse(body: .stream { writer in for try await piece in request.body { try await writer.write(piece) } })
    }

    private func serve(
        _ change: (inout TLSServerOptions) -> Void = { _ in }, _ body: @escaping @Sendable (String, TLSIdentity) async throws -> Void
    ) async throws {
        let identity = try HTTPCurlTests.identity(in: folder)
        var options = HTTPServerOptions(), tls = TLSServerOptions(identity: identity)
        change(&tls)
        options.tls = tls
        try await withHTTPServer(options: options, on: "https://127.0.0.1:0", Self.handler) { place in try await body(place, identity) }
    }

    private static func options(_ change: (inout TLSClientOptions) -> Void) -> HTTPClientOptions { clientOptions { change(&$0.tls) } }

    @Test(arguments: [TLSVersion.tls12, .tls13]) func `content both ways, and a tunnel`(version: TLSVersion) async throws {
        try await serve({ $0.maximumVersion = version }) { place, identity in
            try await HTTPClient.withClient(options: Self.options { $0.trust = .file(identity.certificate) }) { client in
                let content = [UInt8]((0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
                let response = try await client.post("https://\(place)/", .bytes(content))
                #expect(try await response.collect() == content)
                #expect(response.timings.tls?.version == (version == .tls12 ? "TLSv1.2" : "TLSv1.3"))
                var ask = try HTTPClientRequest("GET", "https://\(place)/chat")
                try ask.fields.set("Upgrade", to: "echo")
                let tunnel = try #require(try await client.send(ask).tunnel)
                try await tunnel.write("through TLS")
                try await tunnel.finishWriting()
                var text = ""
                while let piece = try await tunnel.read(timeout: .seconds(20)) { text += String(decoding: piece, as: UTF8.self) }
                #expect(text == "through TLS")
            }
        }
    }

    @Test func `what stands right behind the request goes through the layer, and the end behind that`() async throws {
        try await serve { place, identity in
            var tls = TLSClientOptions()
            tls.trust = .file(identity.certificate)
            let text = try await TCP.withConnection(to: place, tls: tls) { connection in
                try await connection.write("GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
                try await connection.finishWriting()
                return try await everything(of: connection)
            }
            #expect(text.statusLine == "HTTP/1.1 101 Switching Protocols" && text.content == "early")
        }
    }

    @Test func `a certificate that is nobody's, or another's, is refused before a request is sent`() async throws {
        try await serve { place, identity in
            for (options, kind) in [
                (clientOptions(), NetError.Kind.certificateUntrusted),
                (
                    Self.options {
                        $0.trust = .file(identity.certificate)
                        $0.serverName = "other.example"
                    }, .certificateWrongHost
                ),
            ] {
                await HTTPClient.withClient(options: options) { client in
                    let error = await failure { () async throws(HTTPClientError) in try await client.get("https://\(place)/") }
                    #expect(error?.kind == .unreachable && error?.network?.kind == kind)
                }
            }
        }
    }

    @Test func `a server that wants a certificate serves who has one`() async throws {
        let clients = folder + "/cert.pem"
        try await serve({ $0.clientTrust = clients }) { place, identity in
            let shown = Self.options {
                $0.trust = .file(identity.certificate)
                $0.identity = identity
            }
            try await HTTPClient.withClient(options: shown) { client in
                let text = try await client.post("https://\(place)/", .text("known")).text()
                #expect(text == "known")
            }
            await HTTPClient.withClient(options: Self.options { $0.trust = .file(identity.certificate) }) { client in
                let error = await failure { () async throws(HTTPClientError) in try await client.get("https://\(place)/") }
                #expect(error?.network?.kind == .certificateRequired, "\(String(describing: error))")
            }
        }
    }
}
