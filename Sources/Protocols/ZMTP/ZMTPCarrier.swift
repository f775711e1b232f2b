internal import MartletBytes
public import MartletWebSocketProtocol

/// How a connection over WebSocket begins (RFC 45, Handshake).
public enum ZMTPWebSocket: Sendable {
    /// `host` is what stands in Host, with the port where it is not the scheme's; `target` begins with a slash. `secret`: from the system's generator,
    /// another one for each connection; the handshake's key and the masks are made of it.
    case client(host: String, target: String, secret: SIMD4<UInt64>)
    /// `path`: the only one that is served, percent-encoded and with its slash; nil: every one. `origins`: whose pages may come; programs without an
    /// origin always may.
    case server(path: String?, origins: WebSocketOrigins)
}

/// What lies below the frames of a connection over WebSocket (RFC 45, ZWS 2.0): an upgrade of HTTP's, then a binary message for each frame.
/// ```
/// Sec-WebSocket-Protocol  ZWS2.0/NULL, /PLAIN, /CURVE: the mechanism's commands, no greeting; ZWS2.0: an identity each, then messages
/// message                 flags (1 MORE, 2 COMMAND) | body
/// ```
/// The machine goes on to write frames as ZMTP has them; `carry` makes messages of them. Heartbeats are WebSocket's own pings, outside of the mechanism.
/// Not here: what a frame means (`ZMTPMachine`).
final class ZMTPCarrier {
    private enum Upgrade {
        case client(WebSocketClientUpgrade)
        case server(WebSocketServerUpgrade)
        case done
    }
    static var bare: String { "ZWS2.0" }

    private var upgrade: Upgrade
    var webSocket: WebSocketMachine
    private var spoken = ByteBuffer()
    /// A message has come that the machine is not done with.
    var holdsFrame = false
    /// What no violation says: the other side's answer to the handshake, the rule of WebSocket's that was broken.
    var failure: String?

    init(_ way: ZMTPWebSocket, _ configuration: ZMTPConfiguration, now: Instant) {
        let limits = Self.limits(configuration), names = Self.subprotocols(configuration)
        switch way {
        case .client(let host, let target, let secret):
            let handshake = WebSocketClientHandshake(nonce: (secret.x, secret.y), subprotocols: names)
            upgrade = .client(WebSocketClientUpgrade(host: host, target: target, handshake))
            webSocket = WebSocketMachine(client: limits, secret: (secret.z, secret.w), now: now)
        case .server(let path, let origins):
            var handshake = WebSocketServerHandshake(subprotocols: names, origins: origins)
            handshake.needsSubprotocol = true
            upgrade = .server(WebSocketServerUpgrade(handshake, path: path, now: now))
            webSocket = WebSocketMachine(server: limits, now: now)
        }
    }

    private static func limits(_ configuration: ZMTPConfiguration) -> WebSocketLimits {
        var limits = WebSocketLimits()
        limits.messageMax = max(configuration.limits.messageBytesMax, configuration.limits.metadataBytesMax + 1_024) + ZMTPCurve.messageOverhead + 1
        limits.pingInterval = configuration.heartbeat.interval
        limits.pongTimeout = configuration.heartbeat.timeout
        return limits
    }

    /// Without a mechanism nothing can be proven, nor a type be told.
    private static func subprotocols(_ configuration: ZMTPConfiguration) -> [String] {
        let name = "ZWS2.0/\(configuration.security.mechanism)"
        let mayBeBare = configuration.security == .null && configuration.takesOldPeers && !configuration.asksForNull && configuration.socketType != nil
        return mayBeBare ? [name, bare] : [name]
    }

    var isOpen: Bool { if case .done = upgrade { true } else { false } }
    var deadline: Instant { isOpen ? webSocket.deadline : .never }
    /// Between two frames.
    var isWhole: Bool { isOpen && !holdsFrame && webSocket.messageKind == nil }

    /// The client's request.
    func begin(into output: inout ByteBuffer) {
        guard case .client(let client) = upgrade else { return }
        do throws(WebSocketUpgradeFailure) { try client.begin(into: &output) } catch { failure = "\(error)" }
    }

    /// The subprotocol that both agreed on; nil: more bytes are needed.
    func open(from input: inout ByteReader, into output: inout ByteBuffer) throws(ZMTPViolation) -> String? {
        do throws(WebSocketUpgradeFailure) {
            let agreement: WebSocketAgreement? =
                switch upgrade {
                case .client(let client): try client.next(from: &input, into: &output)
                case .server(let server): try server.next(from: &input, into: &output)
                case .done: nil
                }
            guard let agreement else { return nil }
            upgrade = .done
            return agreement.subprotocol
        } catch {
            failure = "\(error)"
            throw .upgradeFailed
        }
    }

    func next(from input: inout ByteReader, into output: inout ByteBuffer) throws(ZMTPViolation) -> WebSocketEvent? {
        do throws(WebSocketViolation) { return try webSocket.nextEvent(from: &input, into: &output) } catch { throw note(error) }
    }

    func wake(at now: Instant, into output: inout ByteBuffer) throws(ZMTPViolation) {
        do throws(WebSocketViolation) { try webSocket.wake(at: now, into: &output) } catch { throw note(error) }
    }

    private func note(_ violation: WebSocketViolation) -> ZMTPViolation {
        failure = "\(violation)"
        return switch violation {
        case .messageTooLong, .frameTooLong: .messageTooLong
        case .silent: .heartbeatMissed
        default: .webSocketBroken
        }
    }

    /// The frames behind `start` leave as messages.
    func carry(_ output: inout ByteBuffer, since start: Int) {
        guard output.count > start else { return }
        spoken.append(output.span.extracting(start...))
        output.retract(output.count - start)
        carry(spoken.span, into: &output)
        if spoken.capacity > 1 << 16 { spoken.release() } else { spoken.removeAll() }
    }

    private func carry(_ frames: Span<UInt8>, into output: inout ByteBuffer) {
        var at = 0
        while let frame = try? ZMTPFrame.read(frames, at: at, known: 7), frame.isWhole(in: frames.count) {
            let flags: UInt8 = (frame.hasMore ? ZMTPWire.more : 0) | (frame.isCommand ? ZMTPWire.carriedCommand : 0)
            // After a Close there is nobody to say it to.
            try? webSocket.sendBinary(flags, frames.at(frame.range), into: &output)
            at = frame.end
        }
    }

    /// Takes leave, if that was not done.
    func close(_ code: WebSocketCloseCode, _ reason: String, into output: inout ByteBuffer) {
        guard isOpen else { return }
        let reason = Array(reason.utf8.prefix(120))
        do throws(WebSocketMisuse) { try webSocket.close(code, reason: reason.span, into: &output) } catch {}
    }
}
