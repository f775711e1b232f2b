public import MartletNet

/// A connection that its holder owns. Dropping it ends it as leaving a scope by an error does: what was written still leaves, nobody waits.
public struct TCPSocket: ~Copyable, Sendable {
    let core: StreamCore

    init(core: StreamCore) { self.core = core }

    deinit { core.leave() }

    /// For reading and writing; valid as long as this is.
    public var connection: TCPConnection { StreamConnection(core: core) }

    /// See `StreamConnection.close`.
    public consuming func close(timeout: Duration? = nil) async throws(NetError) { try await core.close(timeout: timeout ?? core.options.closeTimeout) }
}
