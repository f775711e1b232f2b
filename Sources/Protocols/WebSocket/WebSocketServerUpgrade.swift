public import MartletBytes
internal import MartletHTTPProtocol

/// A server's way into WebSocket: one request of HTTP/1.1 that asks for it (RFC 6455 section 4.2), for whoever has bytes and no HTTP server.
///
/// Not here: how long the client may take, and pages beside it.
public final class WebSocketServerUpgrade {
    private var http: HTTPServerMachine
    private let handshake: WebSocketServerHandshake
    private let path: String?
    private var fields: [(name: String, value: String)] = []
    private var agreement = WebSocketAgreement()

    /// `path`: the only one that is served, percent-encoded and with its slash; nil: every one.
    public init(_ handshake: WebSocketServerHandshake, path: String? = nil, now: Instant) {
        self.handshake = handshake
        self.path = path
        http = HTTPServerMachine(limits: HTTPLimits(), now: now)
    }

    /// What was agreed on, once the request has come and been answered with 101; WebSocket begins where `input` then stands. Nil: more bytes are needed.
    /// Throws when the request was answered with anything else: write the output and close.
    public func next(from input: inout ByteReader, into output: inout ByteBuffer) throws(WebSocketUpgradeFailure) -> WebSocketAgreement? {
        let bytes = input.bytes
        var refusal: Refusal?, isWhole = false
        do throws(HTTPViolation) {
            while refusal == nil, !isWhole, let event = try http.nextEvent(from: &input, into: &output) {
                switch event {
                case .request(let head): refusal = answer(head, bytes)
                case .end: isWhole = true
                case .body, .tunnel: break
                }
            }
        } catch { throw WebSocketUpgradeFailure(description: "what the client asked is not HTTP: \(error)") }
        if let refusal { throw refuse(refusal, into: &output) }
        guard isWhole else { return nil }
        accept(into: &output)
        return agreement
    }

    private struct Refusal {
        let status: UInt16
        let reason: String
        var fields: [(name: String, value: String)] = []
    }

    /// Nil: it may be upgraded.
    private func answer(_ head: HTTPRequestHead, _ bytes: Span<UInt8>) -> Refusal? {
        func value(_ name: StaticString) -> String? { HTTPFieldCursor.joined(name, of: head.fields, in: bytes) }
        if let path, path != (head.path.isEmpty ? "/" : bytes.at(head.path).text) { return Refusal(status: 404, reason: "there is nothing at this path") }
        let protocols = (value("Upgrade") ?? "").split(separator: ",").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
        guard head.wantsUpgrade, protocols.contains("websocket") else {
            let fields = [(name: "Upgrade", value: "websocket"), (name: "Sec-WebSocket-Version", value: "13")]
            return Refusal(status: 426, reason: "this is a WebSocket: ask with Connection: Upgrade and Upgrade: websocket", fields: fields)
        }
        guard head.method == .get, !head.hasBody else { return Refusal(status: 405, reason: "a WebSocket begins with GET (RFC 6455, 4.1)") }
        let request = WebSocketRequest(
            version: value("Sec-WebSocket-Version"), key: value("Sec-WebSocket-Key"), subprotocols: value("Sec-WebSocket-Protocol"),
            extensions: value("Sec-WebSocket-Extensions"), origin: value("Origin"), host: bytes.at(head.host).text)
        do throws(WebSocketRefusal) {
            (fields, agreement) = try handshake.answer(request)
            return nil
        } catch { return Refusal(status: error.status, reason: error.rawValue, fields: error.fields) }
    }

    private static func lines(_ fields: [(name: String, value: String)]) -> [UInt8] { fields.flatMap { Array("\($0.name): \($0.value)\r\n".utf8) } }

    private func accept(into output: inout ByteBuffer) {
        let lines = Self.lines([("Upgrade", "websocket")] + fields)
        do throws(HTTPMisuse) { try http.accept(101, fields: lines.span, into: &output) } catch {
            preconditionFailure("a request that can be upgraded: \(error)")
        }
    }

    private func refuse(_ refusal: Refusal, into output: inout ByteBuffer) -> WebSocketUpgradeFailure {
        let text = Array("\(refusal.reason)\n".utf8), lines = Self.lines([("Content-Type", "text/plain; charset=utf-8")] + refusal.fields)
        http.takeNoMore()
        do throws(HTTPMisuse) {
            try http.begin(refusal.status, fields: lines.span, content: .exactly(UInt64(text.count)), into: &output)
            try http.append(text.span, into: &output)
            try http.end(into: &output)
        } catch { preconditionFailure("a request that waits for its answer: \(error)") }
        return WebSocketUpgradeFailure(description: "the client was answered \(refusal.status): \(refusal.reason)")
    }
}
