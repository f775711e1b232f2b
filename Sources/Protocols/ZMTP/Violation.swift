/// How the peer broke the protocol: its sentence says what is wrong and where the rule stands. Thrown in a handshake, the output holds ERROR with it
/// where the mechanism lets this side say one (NULL; a server's PLAIN and CURVE); after that there is no farewell but the end of the connection.
public enum ZMTPViolation: String, Error, Equatable, Sendable, CaseIterable {
    // The greeting.
    case unversioned = "no greeting of ZMTP 2.0 or later: ZMTP 1.0, or another protocol (RFC 37, Detecting ZMTP 1.0 and 2.0 Peers)"
    case versionTooLow = "a version before 3.0 where a mechanism, an authenticator or a socket type needs a later one (RFC 37, Backwards Interoperability)"
    case mechanismDiffers = "another mechanism than ours (RFC 37, Authentication and Confidentiality)"
    case twoServers = "a server of the mechanism, as we are (RFC 37, Topology)"
    case oldIdentity = "an identity that is not one short last frame (RFC 15, Formal Grammar)"

    // Frames.
    case reservedFlags = "a flag that means nothing (RFC 37, Framing)"
    case commandWithMore = "a command with MORE (RFC 37, Framing)"
    case messageTooLong = "a message longer than the limit"
    case framesTooMany = "a message of more frames than the limit"
    case commandTooLong = "a command longer than the limit"
    case messageTooEarly = "a message before the handshake was over (RFC 37, Formal Grammar)"

    // Commands.
    case commandMalformed = "a command that is not what its name says (RFC 37, Formal Grammar)"
    case commandUnexpected = "a command that is not due here (RFC 37, Formal Grammar)"
    case subscriptionTooLong = "a subscription longer than the limit"
    case groupTooLong = "a group of over 255 bytes (RFC 48)"

    // Metadata.
    case metadataMalformed = "metadata that is not names and values (RFC 37, The NULL Security Mechanism)"
    case socketTypeMissing = "metadata without one Socket-Type that exists (RFC 37, The Socket-Type Property)"
    case socketTypeUnfit = "a Socket-Type that does not fit ours (RFC 37, The Socket-Type Property)"
    case identityInvalid = "an Identity of over 255 bytes, or one that begins with zero (RFC 37, The Identity Property)"
    case resourceInvalid = "a Resource that is not names with slashes between them (RFC 37, The Resource Property)"

    // CURVE.
    case boxClosed = "a box that does not open: another key, or forged (RFC 26)"
    case nonceNotHigher = "a nonce that is not above the one before (RFC 26, The HELLO Command)"
    case curveVersion = "a version of CURVE that is not 1.0 (RFC 26, The HELLO Command)"

    // Over WebSocket.
    case upgradeFailed = "no handshake of WebSocket's that agrees on ZWS 2.0 (RFC 45, Handshake)"
    case webSocketBroken = "what is against WebSocket's rules (RFC 6455)"
    case flagMissing = "a message of WebSocket's that is text, or has no flag (RFC 45, Framing)"

    // Time and ends.
    case handshakeTimedOut = "the handshake was not over in time"
    case heartbeatMissed = "nothing came for too long after a PING (RFC 37, Connection Heartbeating)"
    case timeToLiveOver = "nothing came for as long as the peer's own PING allowed (RFC 37, Connection Heartbeating)"
    case ended = "the connection ended in the handshake or in the middle of a message"
}

extension ZMTPViolation: CustomStringConvertible {
    public var description: String { rawValue }

    /// As ERROR has it: printable characters without a blank, 255 at most (RFC 37: `0*255VCHAR`).
    var reason: [UInt8] {
        let sentence = rawValue.utf8.prefix { $0 != UInt8(ascii: "(") }
        var words = sentence.prefix(255).map { $0 == UInt8(ascii: " ") ? UInt8(ascii: "-") : $0 }
        while words.last == UInt8(ascii: "-") { words.removeLast() }
        return words
    }
}
