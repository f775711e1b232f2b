public import MartletNet

/// The bytes that a connection receives, piece by piece, as they come. See `StreamConnection.inbound`.
public struct StreamInbound: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = NetError
    let core: StreamCore
    let timeout: Duration?

    /// The same, but each piece must come within `timeout` after it was asked for; else `timedOut` is thrown, and iterating may go on.
    public func each(within timeout: Duration) -> StreamInbound { StreamInbound(core: core, timeout: timeout) }

    public func makeAsyncIterator() -> Iterator { Iterator(core: core, timeout: timeout) }

    public struct Iterator: AsyncIteratorProtocol {
        let core: StreamCore
        let timeout: Duration?

        public mutating func next() async throws(NetError) -> [UInt8]? { try await core.read(timeout: timeout) }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(NetError) -> [UInt8]? { try await core.read(timeout: timeout) }
    }
}
