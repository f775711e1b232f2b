public import MartletEventLoop
public import MartletNet

/// How a `Service` waits for its clients.
public enum ServerModel: String, CaseIterable, Sendable {
    /// One client after another.
    case blocking
    /// All clients asked in turn, without waiting for any.
    case polling
    /// A thread each.
    case threads
    /// One event loop, or a few.
    case loop
}

/// What the models have in common, and what one of them needs.
public struct ServeOptions: Sendable {
    /// A client that takes nothing for so long while something is to be written is cut off; so is one whose `layer` does not open in that time.
    /// 30 s: a phone changes its network in ten. (nginx `send_timeout` 60 s.)
    public var stallTimeout = Duration.seconds(30)
    /// How long a client that we end may take to end too, so that the last words are not destroyed by a reset. As `EventLoopLimits.linger`.
    public var linger = Duration.seconds(2)
    /// `threads`: bytes of each client's stack. 128 KiB of address space; an echo client costs 13 KiB of memory with its buffer.
    /// (glibc 8 MiB.)
    public var stackSize = 128 << 10
    /// `loop`: how many event loops share the clients, a thread each.
    public var loopCount = 1
    /// `loop`: makes what a client's bytes go through, TLS for one. `nil`: nothing.
    public var layer: (@Sendable () -> StreamLayer)?
    /// Called with each client that comes (`nil`) and goes (why), from the thread that serves it.
    /// Every end is told before the call that serves returns.
    public var clientChanged: (@Sendable (SocketAddress, CloseReason?) -> Void)?

    public init() {}
}

/// One read's worth of bytes. As the event loop's, so that the models differ in how they wait and in nothing else.
let readSize = 65536
/// Output above which a client that does not take it is not read from. As `EventLoopLimits.outputHighWater`.
let outputHighWater = 1 << 20
