public import MartletNet
public import MartletTLS
internal import Synchronization

/// A connected stream: TCP, a Unix socket, or TLS over either. Belongs to the scope that gave it; afterwards every call throws `closed`.
///
/// Any task may use it; one at a time reads. On the loop that owns it (a server's handler is there) nothing is handed between threads;
/// elsewhere bytes cross in batches. Every wait ends when its task is cancelled (`NetError.Kind.cancelled`), and what has
/// arrived then is there for the next read.
public struct StreamConnection: Sendable {
    let core: StreamCore

    /// What arrives, in pieces as it comes; ends with the peer's stream. Not iterating is back-pressure: the peer is not read from
    /// while `StreamOptions.receiveLimit` bytes wait.
    public var inbound: StreamInbound { StreamInbound(core: core, timeout: nil) }

    /// What has arrived, at least one byte; waits for it. Nil after the peer has ended its stream.
    /// Throws `timedOut` after `timeout` without a byte, `reset`, `closed`, `cancelled`.
    public func read(timeout: Duration? = nil) async throws(NetError) -> [UInt8]? { try await core.read(timeout: timeout) }

    /// Writes in the order of the calls. Returns when the bytes are the connection's own; suspends while more than 256 KiB wait to leave.
    /// Throws `timedOut` when the peer has taken too little within `timeout`, `reset`, `closed`, `cancelled`; the bytes are then still on their way.
    public func write(_ bytes: [UInt8], timeout: Duration? = nil) async throws(NetError) { try await core.write(bytes, timeout: timeout) }

    /// The text in UTF-8.
    public func write(_ text: String, timeout: Duration? = nil) async throws(NetError) { try await core.write(Array(text.utf8), timeout: timeout) }

    /// Ends this direction after everything that was written; the peer's may go on. Does not wait for the peer.
    public func finishWriting() async throws(NetError) { try core.finishWriting() }

    /// Sends what was written and the end of the stream, and returns when the peer's machine has confirmed both.
    /// Throws `timedOut` after `timeout` (default: `StreamOptions.closeTimeout`), `reset` if the peer went away first.
    /// Leaving the scope does the same; a scope that is left by an error does not wait.
    public func close(timeout: Duration? = nil) async throws(NetError) { try await core.close(timeout: timeout ?? core.options.closeTimeout) }

    /// Throws away what has not left, and resets the connection.
    public func abort() { core.abort() }

    /// The other end. A Unix client has no name: "unix".
    public var peer: SocketAddress { core.peer }

    /// This end; nil once the connection is closed.
    public var local: SocketAddress? { core.shared.withLock { SocketAddress.local(of: $0.descriptor) } }

    /// What the kernel knows of it; nil for a Unix socket and once it is closed.
    public var info: TCPStatistics? { core.shared.withLock { TCPStatistics(descriptor: $0.descriptor) } }

    /// Who is at the other end of a Unix socket; nil for TCP.
    public var credentials: PeerCredentials? { core.shared.withLock { PeerCredentials(descriptor: $0.descriptor) } }

    /// What TLS agreed on; nil without TLS.
    public var tls: TLSSession? { core.shared.withLock { $0.session.first } }

    /// How a client's connection came about: addresses, times, attempts that failed. Nil on a server.
    public var steps: Dialer.Steps? {
        var steps = core.steps
        steps?.securing = core.shared.withLock { $0.securing }
        return steps
    }
}

public typealias TCPConnection = StreamConnection
public typealias UnixConnection = StreamConnection
