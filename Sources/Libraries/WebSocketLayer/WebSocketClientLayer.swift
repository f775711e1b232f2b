internal import MartletBytes
internal import MartletEventLoop
internal import MartletHTTPProtocol
internal import MartletWebSocketProtocol

/// The client's side of a stream over WebSocket: opens with the handshake, an upgrade from HTTP/1.1 (RFC 6455 section 4.1).
///
/// Not here: how long the server may take (the channel's deadline), redirects, and credentials of HTTP.
public final class WebSocketClientLayer: WebSocketLayer {
    private let http = Pinned(HTTPClientMachine(now: Instant(nanoseconds: 0)))
    private let handshake: WebSocketClientHandshake
    private let host: String, target: String, subprotocol: String
    private let unreadHead = Pinned(UnreadBytes())

    /// `host` is what stands in Host, with the port where it is not the scheme's; `target` begins with a slash.
    public init(host: String, target: String, subprotocol: String) {
        self.host = host
        self.target = target
        self.subprotocol = subprotocol
        handshake = WebSocketClientHandshake(nonce: Self.random, subprotocols: [subprotocol])
        super.init(secret: Self.random)
    }

    private static var random: (UInt64, UInt64) { (.random(in: 0 ... .max), .random(in: 0 ... .max)) }

    public override func start() {
        let target = Array(target.utf8), host = Array(host.utf8)
        let fields = handshake.fields.flatMap { Array("\($0.name): \($0.value)\r\n".utf8) }
        do throws(HTTPMisuse) {
            try http.value.begin(.get, target: target.span, host: host.span, fields: fields.span, into: &sealed.value)
            try http.value.end(into: &sealed.value)
        } catch {
            failure = LayerFailure(.upgradeRefused, "\(self.host) and \(self.target) are no host and no path that can be asked for", of: .webSocket)
        }
    }

    public override func unseal(_ bytes: Span<UInt8>, into plain: inout OutputSpan<UInt8>) {
        if isOpen { return super.unseal(bytes, into: &plain) }
        guard failure == nil else { return }
        takeHead(bytes, &unreadHead.value, into: &plain)
    }

    @_lifetime(plain: copy plain)
    private func takeHead(_ bytes: Span<UInt8>, _ unread: inout UnreadBytes, into plain: inout OutputSpan<UInt8>) {
        let used = takeHead(unread.show(bytes), into: &plain)
        unread.keep(bytes, used: used)
    }

    @_lifetime(plain: copy plain)
    private func takeHead(_ bytes: Span<UInt8>, into plain: inout OutputSpan<UInt8>) -> Int {
        var input = ByteReader(bytes)
        guard let head = response(from: &input) else { return input.offset }
        failure = refusal(head, in: bytes)
        guard failure == nil else { return bytes.count }
        isOpen = true
        super.unseal(bytes.extracting(input.offset...), into: &plain)
        return bytes.count
    }

    @_lifetime(input: copy input)
    private func response(from input: inout ByteReader) -> HTTPResponseHead? {
        do throws(HTTPViolation) {
            while let event = try http.value.nextEvent(from: &input, into: &sealed.value) { if case .response(let head) = event { return head } }
        } catch {
            failure = LayerFailure(.upgradeRefused, "what the server answered is not HTTP: \(error)", of: .webSocket)
        }
        return nil
    }

    private func refusal(_ head: HTTPResponseHead, in bytes: Span<UInt8>) -> LayerFailure? {
        guard head.status == 101 else {
            return LayerFailure(.upgradeRefused, "the server answers \(head.status) \(bytes.at(head.reason).text) to the WebSocket handshake", of: .webSocket)
        }
        do throws(WebSocketHandshakeFailure) {
            let agreement = try handshake.agree(
                accept: Self.value("Sec-WebSocket-Accept", of: head, in: bytes), subprotocol: Self.value("Sec-WebSocket-Protocol", of: head, in: bytes),
                extensions: Self.value("Sec-WebSocket-Extensions", of: head, in: bytes))
            guard agreement.subprotocol == subprotocol else {
                return LayerFailure(.upgradeRefused, "the server does not speak the WebSocket subprotocol \(subprotocol)", of: .webSocket)
            }
            return nil
        } catch { return LayerFailure(.upgradeRefused, "the WebSocket handshake failed: \(error.rawValue)", of: .webSocket) }
    }

    /// The values of all fields of that name.
    private static func value(_ name: String, of head: HTTPResponseHead, in bytes: Span<UInt8>) -> String? {
        let name = Array(name.utf8)
        var cursor = HTTPFieldCursor(head.fields, in: bytes), values: [String] = []
        while let value = cursor.find(name.span) { values.append(bytes.at(value).text) }
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }

    public override func receiveEnd() {
        if isOpen { return super.receiveEnd() }
        failure = LayerFailure(.upgradeRefused, "the server closed the connection in the WebSocket handshake", of: .webSocket)
    }
}
