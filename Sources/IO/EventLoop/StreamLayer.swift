public import MartletBytes

/// Transforms a stream's bytes between socket and channel: what the socket reads is unsealed before the channel sees it, what
/// the channel writes is sealed before it leaves. TLS is one; the loop knows no other thing of it.
///
/// Confined to its connection's loop, whose row keeps it; it goes along when the connection moves (`Transport`). It never calls
/// the loop or the channel, and never waits: what it has to say lies in `sealed`. Sealing begins once it `isOpen`; until then
/// the channel's output waits. How long that may take is the channel's matter (`Channel.deadline`).
open class StreamLayer {
    /// What is to be written to the socket, in its final form.
    public final let sealed = Pinned(ByteBuffer())
    /// The handshake is done: `seal` may be called. Stays true.
    public final var isOpen = false
    /// The peer has said its farewell: no plaintext comes any more.
    public final var hasEnded = false
    /// Nothing goes through any more. `sealed` may hold what is to be said about it.
    public final var failure: LayerFailure?
    final var hasStarted = false, hasSealedEnd = false

    /// What a cut record may hold back: `unseal` gives at most as many bytes as it got, and this many.
    public static let heldMax = 32768

    public init() {}

    /// Called once, on the loop, before anything else: the side that speaks first does.
    open func start() {}

    /// Takes all of `bytes`; answers how many bytes of plaintext it wrote to `plain`. May append to `sealed`, and change any of the
    /// three states above; plaintext from before an end or a failure is still answered.
    open func unseal(_ bytes: UnsafeRawPointer, count: Int, into plain: UnsafeMutableRawPointer) -> Int { 0 }

    /// Takes all of `plain` and appends it to `sealed`.
    open func seal(_ plain: UnsafeRawPointer, count: Int) {}

    /// Appends the farewell to `sealed`. Called at most once, while it `isOpen`; nothing is sealed after it.
    open func sealEnd() {}

    /// The socket's stream ended before the peer's farewell: sets `failure`.
    open func receiveEnd() {
        failure = LayerFailure(isOpen ? .truncated : .handshakeFailed, isOpen ? "the stream was cut off" : "the peer closed the connection in the handshake")
    }
}
