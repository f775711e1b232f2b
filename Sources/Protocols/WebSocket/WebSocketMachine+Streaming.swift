import MartletBytes

/// Messages as they come, for whom their ends mean nothing: a stream of bytes over WebSocket.
extension WebSocketMachine {
    /// What the message under way is; nil between messages.
    public var messageKind: WebSocketMessageKind? { !flags.contains(.isInMessage) ? nil : flags.contains(.isText) ? .text : .binary }

    /// From `.part`: what came of a binary message so far has been taken out of `content`, which then holds the rest alone. Its bytes no longer count
    /// against `messageMax`, which is then the longest frame. Not with permessage-deflate, whose messages are inflated whole.
    public mutating func takePart() {
        guard deflation == nil, !flags.contains(.isText) else { return }
        received.removeAll()
    }
}
