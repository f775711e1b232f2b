import CLinux
import Glibc

/// How a stream's socket is set up. The defaults are what a program that talks in messages wants.
public struct StreamOptions: Sendable {
    /// Small writes leave at once (TCP_NODELAY). Default: true; a tick's writes leave together anyway.
    public var noDelay = true
    /// Finds out that a silent peer is gone. Default: off.
    public var keepAlive: KeepAlive?
    /// Several listeners may bind one address, and the kernel spreads connections over them (SO_REUSEPORT). Default: false.
    public var reusePort = false
    /// The kernel's buffers in bytes, of which it uses a part for itself. Default: the kernel grows them by itself.
    public var sendBuffer: Int?
    public var receiveBuffer: Int?
    /// Fails a connection whose bytes stay unconfirmed for so long (TCP_USER_TIMEOUT). Default: the system's, about 15 minutes.
    public var unconfirmedTimeout: Duration?
    /// The file of a Unix socket that listens is for its owner alone (mode 0600), from before the first can connect. Default: as the umask says.
    public var isOwnerOnly = false
    /// The address that a client connects from: "10.0.0.1", "10.0.0.1:4000", "[::1]:0". Default: the system's choice.
    public var bindAddress: String?
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    public var backlog: Int32 = 4096
    /// Bytes received and not read yet above which nothing more is read from the peer.
    public var receiveLimit = 1 << 18
    /// How long the end of a scope, and `close()` without a timeout, wait for the peer to take what was written.
    public var closeTimeout = Duration.seconds(10)

    /// How long a server's client may take for TLS's handshake.
    public var handshakeTimeout = Duration.seconds(10)

    /// Probes of a silent connection.
    public struct KeepAlive: Sendable, Equatable {
        /// Silence before the first probe; whole seconds, at least 1.
        public var idle: Duration
        /// Between two probes; whole seconds, at least 1.
        public var interval: Duration
        /// Unanswered probes after which the connection is lost (`NetError.Kind.timedOut`).
        public var count: Int
        public init(idle: Duration = .seconds(60), interval: Duration = .seconds(10), count: Int = 6) {
            self.idle = idle
            self.interval = interval
            self.count = count
        }
    }

    public init() {}

    /// Sets what a TCP socket takes. Before `connect` or `listen`: buffers count from the first window on, and accepted sockets inherit all of it.
    func apply(to descriptor: Int32) {
        let set = { (level: Int, name: Int32, value: Int) in _ = cl_set_option(descriptor, CInt(level), name, CInt(clamping: value)) }
        let tcp = Int(IPPROTO_TCP)
        if noDelay { set(tcp, TCP_NODELAY, 1) }
        applyBuffers(to: descriptor)
        if let keepAlive {
            set(Int(SOL_SOCKET), SO_KEEPALIVE, 1)
            set(tcp, TCP_KEEPIDLE, max(1, Int(keepAlive.idle / .seconds(1))))
            set(tcp, TCP_KEEPINTVL, max(1, Int(keepAlive.interval / .seconds(1))))
            set(tcp, TCP_KEEPCNT, keepAlive.count)
        }
        if let unconfirmedTimeout { set(tcp, TCP_USER_TIMEOUT, Int(unconfirmedTimeout / .milliseconds(1))) }
    }

    func applyBuffers(to descriptor: Int32) {
        if let sendBuffer { _ = cl_set_option(descriptor, SOL_SOCKET, SO_SNDBUF, CInt(clamping: sendBuffer)) }
        if let receiveBuffer { _ = cl_set_option(descriptor, SOL_SOCKET, SO_RCVBUF, CInt(clamping: receiveBuffer)) }
    }
}
