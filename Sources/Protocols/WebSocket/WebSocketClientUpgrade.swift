public import MartletBytes
internal import MartletHTTPProtocol

/// Why an upgrade to WebSocket did not come about: a sentence.
public struct WebSocketUpgradeFailure: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
}

/// A client's way into WebSocket: an upgrade from HTTP/1.1 (RFC 6455 section 4.1), for whoever has bytes and no HTTP client.
///
/// Not here: how long the server may take, redirects, and credentials of HTTP.
public final class WebSocketClientUpgrade {
    private var http = HTTPClientMachine(now: Instant(nanoseconds: 0))
    private let handshake: WebSocketClientHandshake
    private let host: String, target: String

    /// `host` is what stands in Host, with the port where it is not the scheme's; `target` begins with a slash.
    public init(host: String, target: String, _ handshake: WebSocketClientHandshake) {
        self.host = host
        self.target = target
        self.handshake = handshake
    }

    /// The request. Throws where host or target are none.
    public func begin(into output: inout ByteBuffer) throws(WebSocketUpgradeFailure) {
        let target = Array(target.utf8), host = Array(host.utf8)
        let fields = handshake.fields.flatMap { Array("\($0.name): \($0.value)\r\n".utf8) }
        do throws(HTTPMisuse) {
            try http.begin(.get, target: target.span, host: host.span, fields: fields.span, into: &output)
            try http.end(into: &output)
        } catch {
            throw WebSocketUpgradeFailure(description: "\(self.host) and \(self.target) are no host and no path that can be asked for")
        }
    }

    /// What was agreed on, once the server has answered with 101; WebSocket begins where `input` then stands. Nil: more bytes are needed.
    /// Throws for every other answer, and for one without any of the subprotocols that were offered.
    public func next(from input: inout ByteReader, into output: inout ByteBuffer) throws(WebSocketUpgradeFailure) -> WebSocketAgreement? {
        let bytes = input.bytes
        var answer: HTTPResponseHead?
        do throws(HTTPViolation) {
            while answer == nil, let event = try http.nextEvent(from: &input, into: &output) { if case .response(let head) = event { answer = head } }
        } catch {
            throw WebSocketUpgradeFailure(description: "what the server answered is not HTTP: \(error)")
        }
        guard let answer else { return nil }
        return try agree(answer, bytes)
    }

    private func agree(_ head: HTTPResponseHead, _ bytes: Span<UInt8>) throws(WebSocketUpgradeFailure) -> WebSocketAgreement {
        guard head.status == 101 else {
            throw WebSocketUpgradeFailure(description: "the server answers \(head.status) \(bytes.at(head.reason).text) to the WebSocket handshake")
        }
        let agreement: WebSocketAgreement
        do throws(WebSocketHandshakeFailure) {
            agreement = try handshake.agree(
                accept: HTTPFieldCursor.joined("Sec-WebSocket-Accept", of: head.fields, in: bytes),
                subprotocol: HTTPFieldCursor.joined("Sec-WebSocket-Protocol", of: head.fields, in: bytes),
                extensions: HTTPFieldCursor.joined("Sec-WebSocket-Extensions", of: head.fields, in: bytes))
        } catch { throw WebSocketUpgradeFailure(description: "the WebSocket handshake failed: \(error.rawValue)") }
        guard agreement.subprotocol != nil || handshake.subprotocols.isEmpty else {
            throw WebSocketUpgradeFailure(
                description: "the server does not speak the WebSocket subprotocol \(handshake.subprotocols.joined(separator: " or "))")
        }
        return agreement
    }
}

extension HTTPFieldCursor {
    /// The values of all fields of that name, joined by ", "; nil: there is none.
    static func joined(_ name: StaticString, of fields: ByteRange, in bytes: Span<UInt8>) -> String? {
        var cursor = HTTPFieldCursor(fields, in: bytes), values: [String] = []
        while let value = cursor.find(name) { values.append(bytes.at(value).text) }
        return values.isEmpty ? nil : values.joined(separator: ", ")
    }
}
