internal import MartletBytes
internal import MartletEventLoop
internal import MartletWebSocketProtocol

/// The client's side of a stream over WebSocket: opens with the handshake, an upgrade from HTTP/1.1 (RFC 6455 section 4.1).
///
/// Not here: how long the server may take (the channel's deadline), redirects, and credentials of HTTP.
public final class WebSocketClientLayer: WebSocketLayer {
    private let upgrade: WebSocketClientUpgrade
    private let unreadHead = Pinned(UnreadBytes())

    /// `host` is what stands in Host, with the port where it is not the scheme's; `target` begins with a slash.
    public init(host: String, target: String, subprotocol: String) {
        upgrade = WebSocketClientUpgrade(
            host: host, target: target, WebSocketClientHandshake(nonce: Self.random, subprotocols: [subprotocol]))
        super.init(secret: Self.random)
    }

    private static var random: (UInt64, UInt64) { (.random(in: 0 ... .max), .random(in: 0 ... .max)) }

    public override func start() {
        do throws(WebSocketUpgradeFailure) { try upgrade.begin(into: &sealed.value) } catch { failure = LayerFailure(.upgradeRefused, "\(error)", of: .webSocket) }
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
        do throws(WebSocketUpgradeFailure) {
            guard try upgrade.next(from: &input, into: &sealed.value) != nil else { return input.offset }
        } catch {
            failure = LayerFailure(.upgradeRefused, "\(error)", of: .webSocket)
            return bytes.count
        }
        isOpen = true
        super.unseal(bytes.extracting(input.offset...), into: &plain)
        return bytes.count
    }

    public override func receiveEnd() {
        if isOpen { return super.receiveEnd() }
        failure = LayerFailure(.upgradeRefused, "the server closed the connection in the WebSocket handshake", of: .webSocket)
    }
}
