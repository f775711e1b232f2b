internal import MartletBytes
public import MartletEventLoop
internal import MartletWebSocketProtocol

/// A stream of bytes over WebSocket: what the peer's binary messages hold is the stream, wherever they begin and end, and what is written leaves in
/// binary messages. For protocols that are bytes, MQTT say, whose channels know nothing of it.
///
/// The server's side, behind the handshake; `WebSocketClientLayer` is the other one. Text is refused (1003). The peer's Close ends the stream, and is
/// answered when the channel has said what it has to say. Not here: pings of its own (the protocol above knows when a peer is gone), permessage-deflate.
public class WebSocketLayer: SpanLayer {
    private let machine: Pinned<WebSocketMachine>
    /// The beginning of a frame's header, or of a control frame.
    private let unread = Pinned(UnreadBytes())

    public override init() {
        machine = Pinned(WebSocketMachine(server: Self.limits, now: Instant(nanoseconds: 0)))
        super.init()
        machine.value.holdsFarewell = true
    }

    /// The client's side.
    init(secret: (UInt64, UInt64)) {
        machine = Pinned(WebSocketMachine(client: Self.limits, secret: secret, now: Instant(nanoseconds: 0)))
        super.init()
        machine.value.holdsFarewell = true
    }

    /// Nothing is kept of a message, so nothing but a frame's length has to end; control frames are what the stream's reader and `StreamLayer`'s limit
    /// of answers bound. The machine is told no time.
    private static let limits: WebSocketLimits = {
        var limits = WebSocketLimits()
        limits.messageMax = 1 << 30
        limits.fragmentsMax = .max
        limits.controlFramesPerSecondMax = .max
        limits.pingInterval = nil
        return limits
    }()

    public override func start() { isOpen = true }

    public override func unseal(_ bytes: Span<UInt8>, into plain: inout OutputSpan<UInt8>) {
        guard failure == nil, !hasEnded else { return }
        take(bytes, &unread.value, into: &plain)
    }

    @_lifetime(plain: copy plain)
    private func take(_ bytes: Span<UInt8>, _ unread: inout UnreadBytes, into plain: inout OutputSpan<UInt8>) {
        let used = take(unread.show(bytes), into: &plain)
        unread.keep(bytes, used: used)
    }

    /// Answers how many bytes are done with.
    @_lifetime(plain: copy plain)
    private func take(_ bytes: Span<UInt8>, into plain: inout OutputSpan<UInt8>) -> Int {
        var input = ByteReader(bytes)
        do throws(WebSocketViolation) {
            while let event = try machine.value.nextEvent(from: &input, into: &sealed.value) {
                switch event {
                case .binary(let range): Self.append(range, of: machine.value, to: &plain)
                case .part where machine.value.messageKind == .binary:
                    Self.append(ByteRange(0, machine.value.contentCount), of: machine.value, to: &plain)
                    machine.value.takePart()
                case .part, .text:
                    refuseText()
                    return bytes.count
                case .ping, .pong: break
                case .close: hasEnded = true
                }
            }
        } catch {
            machine.value.sayFarewell(into: &sealed.value)
            failure = LayerFailure(.protocolError, "WebSocket: \(error)", of: .webSocket)
        }
        return input.offset
    }

    @_lifetime(plain: copy plain)
    private static func append(_ range: ByteRange, of machine: borrowing WebSocketMachine, to plain: inout OutputSpan<UInt8>) {
        plain.append(machine.content.at(range))
    }

    private func refuseText() {
        let reason = Array("bytes are sent in binary messages".utf8)
        // It has not been closed before: text is told of no more then.
        try? machine.value.close(.unsupported, reason: reason.span, into: &sealed.value)
        failure = LayerFailure(.protocolError, "WebSocket: text, where binary messages are spoken (1003)", of: .webSocket)
    }

    public override func seal(_ plain: Span<UInt8>) {
        // Only after a Close of this side there is nobody to say it to.
        try? machine.value.send(.binary, plain, into: &sealed.value)
    }

    public override func sealEnd() {
        if machine.value.owesFarewell { return machine.value.sayFarewell(into: &sealed.value) }
        try? machine.value.close(into: &sealed.value)
    }

    public override func receiveEnd() {
        failure = LayerFailure(.truncated, "the peer cut the connection off without saying WebSocket's farewell (Close)", of: .webSocket)
    }
}
