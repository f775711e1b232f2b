package import MartletBytes
package import MartletEventLoop
package import MartletNet
package import MartletTLS
internal import Synchronization

/// For libraries that keep connections of their own.
extension TCPSocket {
    /// Connects to a place: `timeout` for its name and address, `handshakeTimeout` for TLS afterwards.
    package static func connect(
        to place: Place, tls: TLSClientOptions?, options: StreamOptions, timeout: Duration, handshakeTimeout: Duration
    ) async throws(NetError) -> TCPSocket {
        TCPSocket(
            core: try await StreamClient.connect(to: place, tls: tls, options, timeout: timeout, handshakeTimeout: handshakeTimeout, owner: nil))
    }
}

extension StreamConnection {
    /// It is open in both directions, and nothing has come that nobody read: a server that has gone, or speaks unasked, is seen here.
    package var isQuiet: Bool { core.shared.withLock { $0.closed == nil && !$0.hasEnded && $0.received.isEmpty } }

    /// Its loop's clock.
    package var now: Instant { core.loop.currentTime() }
}

/// Connections that begin or end in another protocol.
extension StreamConnection {
    /// On the loop: takes over a transport for the task of `owner`, whose reads end with `cancelOwner`. Nil, and its descriptor closed, when the loop
    /// is full.
    package static func take(
        _ transport: Transport, peer: SocketAddress, options: StreamOptions, owner: TaskMark?, on loop: EventLoop
    ) -> StreamConnection? {
        guard let core = StreamCore(transport, peer: peer, options: options, owner: owner, on: loop) else { return nil }
        if let session = loop.tlsSession(of: core.channel.slot) { core.shared.withLock { $0.session = [session] } }
        return StreamConnection(core: core)
    }

    /// Runs `body` and ends the connection with it, as `TCP.withConnection` does; by the task that owns it.
    package func run(_ body: (StreamConnection) async throws -> Void) async throws { try await StreamClient.scope(core, body) }

    /// Bytes that were read go back in front of those that nobody has read.
    package func putBack(_ bytes: [UInt8]) {
        if !bytes.isEmpty { core.shared.withLock { $0.received = bytes + $0.received } }
    }

    /// Takes the connection off its loop, with what it was to be sent and what nobody has read. `taker` is called on the loop and has to give the
    /// transport to a channel, there or elsewhere; if the connection has ended, `ended` is called instead. Every call of this side throws `closed` from then on.
    package func handOver(to taker: @escaping @Sendable (Transport, EventLoop) -> Void, ended: @escaping @Sendable () -> Void = {}) {
        core.onLoop { channel, loop in
            if let transport = channel.surrender(on: loop) { taker(transport, loop) } else { ended() }
        }
    }
}
