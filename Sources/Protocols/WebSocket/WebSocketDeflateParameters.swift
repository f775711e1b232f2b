/// What both sides agreed on for permessage-deflate (RFC 7692 section 7.1).
public struct WebSocketDeflateParameters: Equatable, Sendable {
    /// The server deflates each message for itself.
    public var serverNoContextTakeover = false
    /// The client does.
    public var clientNoContextTakeover = false
    /// How far back the server's repetitions reach, the exponent of 2: 8 to 15.
    public var serverMaxWindowBits = 15
    /// How far back the client's do.
    public var clientMaxWindowBits = 15

    public init() {}
}

/// How this side wants to deflate and inflate, whichever it is.
public struct WebSocketDeflateOptions: Equatable, Sendable {
    /// What is sent may refer to messages before: better, at the memory of a compressor for each connection that has sent any (256 KiB with
    /// 15 bits and memory level 8, 32 KiB with 12 and 5). Without, connections share one on each loop.
    public var keepsContext: Bool
    /// What comes may refer to messages before: at up to 2^bits and 10 KiB for each connection that was sent any. Without, connections share.
    public var peerKeepsContext: Bool
    /// How far back repetitions in what is sent reach at most, the exponent of 2: 9 to 15.
    public var windowBits = 15
    /// How far back the peer's may, as far as it can be told: 9 to 15.
    public var peerWindowBits = 15
    /// zlib's: 1 fast to 9 small.
    public var level = 6
    /// zlib's: 1 to 9, for 1 KiB to 256 KiB of tables in each compressor.
    public var memoryLevel = 8
    /// Shorter messages are sent as they are: there is nothing to gain. Bytes.
    public var threshold = 64

    /// Without contexts: connections share, an idle one costs nothing.
    public static var server: WebSocketDeflateOptions { WebSocketDeflateOptions(keepsContext: false, peerKeepsContext: false) }

    /// With contexts: a client has few connections.
    public static var client: WebSocketDeflateOptions { WebSocketDeflateOptions(keepsContext: true, peerKeepsContext: true) }

    public init(keepsContext: Bool, peerKeepsContext: Bool) {
        self.keepsContext = keepsContext
        self.peerKeepsContext = peerKeepsContext
    }
}
