/// A connected stream on its way to a channel: from accept or connect to a loop, and from loop to loop.
///
/// Whoever has it last gives it to `EventLoop.add` or closes its descriptor (`EventLoop.discard`); it does not close it itself.
public struct Transport: @unchecked Sendable {  // the layer is one loop's at a time: who hands the transport over touches it no more
    /// A connected, non-blocking stream socket.
    public let descriptor: Int32
    /// What its bytes go through; `nil`: nothing.
    public var layer: StreamLayer?
    /// Plaintext that was received and that no channel has used.
    public var unread: [UInt8]
    /// Plaintext that was written and has not left: it goes before anything else.
    public var unsent: [UInt8]

    public init(descriptor: Int32, layer: StreamLayer? = nil, unread: [UInt8] = [], unsent: [UInt8] = []) {
        self.descriptor = descriptor
        self.layer = layer
        self.unread = unread
        self.unsent = unsent
    }
}
