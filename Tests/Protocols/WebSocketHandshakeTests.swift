import MartletWebSocketProtocol
import Testing

@Suite("WebSocket handshake")
struct WebSocketHandshakeTests {
    private static let key = "dGhlIHNhbXBsZSBub25jZQ=="

    private func request(
        version: String? = "13", key: String? = key, subprotocols: String? = nil, extensions: String? = nil, origin: String? = nil, host: String? = "a:80"
    ) -> WebSocketRequest {
        WebSocketRequest(version: version, key: key, subprotocols: subprotocols, extensions: extensions, origin: origin, host: host)
    }

    private func refusal(_ request: WebSocketRequest, _ handshake: WebSocketServerHandshake = WebSocketServerHandshake()) -> WebSocketRefusal? {
        do throws(WebSocketRefusal) { _ = try handshake.answer(request) } catch { return error }
        return nil
    }

    @Test("The key's answer is RFC 6455's, section 1.3")
    func accept() throws {
        let answer = try WebSocketServerHandshake().answer(request())
        #expect(answer.fields.map(\.name) == ["Sec-WebSocket-Accept"] && answer.fields[0].value == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(answer.agreement == WebSocketAgreement())
    }

    @Test("Another version is answered 426 with the one that is spoken", arguments: [nil, "", "8", "14", "013", "13, 8"])
    func versions(version: String?) {
        let refusal = refusal(request(version: version))
        #expect(refusal == .version && refusal?.status == 426)
        let fields = refusal?.fields ?? []
        #expect(fields.contains { $0 == ("Sec-WebSocket-Version", "13") } && fields.contains { $0 == ("Upgrade", "websocket") })
    }

    @Test(
        "A key that is not Base64 of sixteen bytes is refused",
        arguments: [
            nil, "", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25j!Q==", "dGhlIHNhbXBsZSBub25jZQAA",
        ])
    func keys(key: String?) {
        #expect(refusal(request(key: key)) == .key)
    }

    @Test("Origins: any, the host's own, or those that are named; who names none is no page")
    func origins() {
        func allows(_ origins: WebSocketOrigins, _ origin: String?, host: String? = "example.org") -> Bool {
            let refusal = refusal(request(origin: origin, host: host), WebSocketServerHandshake(origins: origins))
            #expect(refusal == nil || refusal == .origin && refusal?.status == 403)
            return refusal == nil
        }
        #expect(allows(.any, "https://evil.example") && allows(.any, "null") && allows(.sameHost, nil) && allows(.these([]), nil))
        #expect(allows(.sameHost, "https://example.org") && allows(.sameHost, "HTTP://Example.ORG") && !allows(.sameHost, "null"))
        #expect(allows(.sameHost, "http://localhost:8000", host: "localhost:8000") && !allows(.sameHost, "http://localhost:8001", host: "localhost:8000"))
        #expect(allows(.sameHost, "https://example.org", host: "example.org:443") && !allows(.sameHost, "https://example.org", host: "example.org:80"))
        #expect(!allows(.sameHost, "https://example.org.evil.example") && !allows(.sameHost, "https://a", host: nil))
        #expect(allows(.these(["https://a"]), "https://A") && !allows(.these(["https://a"]), "http://a") && !allows(.these(["https://a"]), "https://a:444"))
    }

    @Test("The client's order decides on the subprotocol")
    func subprotocols() throws {
        var handshake = WebSocketServerHandshake(subprotocols: ["mqtt", "chat"])
        func chosen(_ offered: String?) throws -> String? {
            let answer = try handshake.answer(request(subprotocols: offered))
            let said = answer.fields.first { $0.name == "Sec-WebSocket-Protocol" }?.value
            #expect(said == answer.agreement.subprotocol)
            return said
        }
        #expect(try chosen("chat, mqtt") == "chat")
        #expect(try chosen("other,mqtt") == "mqtt")
        #expect(try chosen("MQTT") == nil)
        #expect(try chosen(nil) == nil)
        for bad in ["a b", "a;b", "\"a\"", "a=b"] { #expect(refusal(request(subprotocols: bad), handshake) == .subprotocols) }
        handshake.needsSubprotocol = true
        #expect(refusal(request(), handshake) == .subprotocolMissing)
        #expect(refusal(request(subprotocols: "other"), handshake) == .subprotocolMissing)
    }

    @Test("An offer of permessage-deflate is answered within what it allows, or declined")
    func offers() throws {
        func answer(_ offer: String, _ options: WebSocketDeflateOptions?) throws -> String? {
            try WebSocketServerHandshake(deflate: options).answer(request(extensions: offer)).fields.first { $0.name == "Sec-WebSocket-Extensions" }?.value
        }
        var small = WebSocketDeflateOptions.client
        (small.windowBits, small.peerWindowBits) = (12, 10)
        let name = "permessage-deflate"
        let cases: [(String, WebSocketDeflateOptions?, String?)] = [
            (name, .client, name),
            (name, .server, "\(name); server_no_context_takeover; client_no_context_takeover"),
            ("\(name);server_no_context_takeover", .client, "\(name); server_no_context_takeover"),
            ("\(name) ; client_no_context_takeover", .client, "\(name); client_no_context_takeover"),
            ("\(name); server_max_window_bits=10", .client, "\(name); server_max_window_bits=10"),
            ("\(name); server_max_window_bits=\"10\"", .client, "\(name); server_max_window_bits=10"),
            ("\(name); server_max_window_bits=8", .client, "\(name); server_max_window_bits=8"),
            ("\(name); server_max_window_bits=15", small, "\(name); server_max_window_bits=12"),
            // Who does not say it can be asked for less cannot be.
            (name, small, "\(name); server_max_window_bits=12"),
            ("\(name); client_max_window_bits", small, "\(name); server_max_window_bits=12; client_max_window_bits=10"),
            ("\(name); client_max_window_bits=9", small, "\(name); server_max_window_bits=12; client_max_window_bits=9"),
            ("\(name); client_max_window_bits=15", .client, name),
            (name, nil, nil), ("x-webkit-deflate-frame", .client, nil), ("foo; bar=1, \(name)", .client, name),
            // Declined for its parameters (RFC 7692 section 7.1), then the next offer.
            ("\(name); other", .client, nil), ("\(name); server_max_window_bits", .client, nil), ("\(name); server_max_window_bits=7", .client, nil),
            ("\(name); server_max_window_bits=16", .client, nil), ("\(name); server_max_window_bits=010", .client, nil),
            ("\(name); client_max_window_bits=0", .client, nil), ("\(name); server_no_context_takeover=1", .client, nil),
            ("\(name); server_no_context_takeover; server_no_context_takeover", .client, nil),
            ("\(name); client_max_window_bits=x, \(name); server_max_window_bits=11", .client, "\(name); server_max_window_bits=11"),
            ("", .client, nil), (" ,, \(name) ,", .client, name),
        ]
        for (offer, options, expected) in cases { #expect(try answer(offer, options) == expected, "\(offer)") }
        for bad in ["permessage deflate", ";", "a;", "a;=1", "a=1", "a; b=", "a; b=\"", "a; b=\"c", "a; b=\"\"", "a b", "a/b", "a; b=\"c d\"", "a\"b\""] {
            #expect(refusal(request(extensions: bad)) == .extensions, "\(bad)")
        }
    }

    private func client(_ options: WebSocketDeflateOptions?, subprotocols: [String] = []) -> WebSocketClientHandshake {
        // The sixteen bytes of RFC 6455's example, "the sample nonce".
        WebSocketClientHandshake(nonce: (0x706D_6173_2065_6874, 0x6563_6E6F_6E20_656C), subprotocols: subprotocols, deflate: options)
    }

    @Test("A client's fields")
    func clientFields() {
        var options = WebSocketDeflateOptions.server
        let fields = client(.client, subprotocols: ["a", "b"]).fields.map { "\($0.name): \($0.value)" }
        #expect(
            fields == [
                "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: \(Self.key)", "Sec-WebSocket-Protocol: a, b",
                "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            ])
        #expect(client(nil).fields.count == 3)
        (options.windowBits, options.peerWindowBits) = (8, 10)
        #expect(
            options.offer
                == "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=9")
    }

    @Test("A client takes an answer to what it offered, and no other")
    func agreements() throws {
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", name = "permessage-deflate"
        func failure(_ handshake: WebSocketClientHandshake, accept: String? = accept, subprotocol: String? = nil, extensions: String? = nil)
            -> WebSocketHandshakeFailure?
        {
            do throws(WebSocketHandshakeFailure) { _ = try handshake.agree(accept: accept, subprotocol: subprotocol, extensions: extensions) } catch {
                return error
            }
            return nil
        }
        let plain = client(nil, subprotocols: ["a"])
        #expect(failure(plain) == nil && failure(plain, subprotocol: "a") == nil && failure(plain, extensions: "") == nil)
        #expect(failure(plain, accept: nil) == .accept && failure(plain, accept: "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == .accept)
        #expect(failure(plain, subprotocol: "b") == .subprotocol && failure(plain, subprotocol: "A") == .subprotocol)
        #expect(failure(plain, extensions: name) == .extensions)
        for bad in ["other", "\(name), \(name)", "\(name); other", "\(name); client_max_window_bits", "\(name); server_max_window_bits=7", "a b"] {
            #expect(failure(client(.client), extensions: bad) == .extensions, "\(bad)")
        }
        var options = WebSocketDeflateOptions.client
        options.peerWindowBits = 11
        #expect(failure(client(options), extensions: name) == .extensions)
        #expect(failure(client(options), extensions: "\(name); server_max_window_bits=11") == nil)
        #expect(failure(client(.server), extensions: "\(name); client_no_context_takeover") == .extensions)
    }

    @Test("Whatever either side wants, both mean the same by what they agreed on")
    func bothAgree() throws {
        var all: [WebSocketDeflateOptions] = []
        for (keeps, peerKeeps) in [(true, true), (true, false), (false, true), (false, false)] {
            for (bits, peerBits) in [(15, 15), (9, 15), (15, 10), (12, 11)] {
                var options = WebSocketDeflateOptions(keepsContext: keeps, peerKeepsContext: peerKeeps)
                (options.windowBits, options.peerWindowBits) = (bits, peerBits)
                all.append(options)
            }
        }
        for theirs in all {
            for ours in all {
                let answer = try WebSocketServerHandshake(deflate: ours).answer(request(extensions: theirs.offer))
                let said = answer.fields.first { $0.name == "Sec-WebSocket-Extensions" }?.value
                let server = try #require(answer.agreement.deflate)
                var client = try #require(try client(theirs).agree(accept: answer.fields[0].value, subprotocol: nil, extensions: said).deflate)
                // A client that keeps none may say so to itself alone.
                if !theirs.keepsContext { #expect(client.clientNoContextTakeover) }
                client.clientNoContextTakeover = server.clientNoContextTakeover
                #expect(client == server)
            }
        }
    }
}
