/// What a queue delivers to one consumer. One task iterates it.
///
/// Not iterating is back-pressure: with a prefetch the server sends no more than that many unacknowledged messages; without one, or where
/// messages are taken as acknowledged, the client stops reading above `AMQPClientLimits.undeliveredMax` waiting deliveries and goes on below half
/// of it. It keeps reading while one of this client's calls waits for its answer or its confirm, which stands behind the deliveries.
///
/// The sequence goes on over a reconnect. It ends when the consumer is cancelled here, and throws, after what had arrived before, when the server
/// ends the consumer (`consumerCancelled`), closes the channel, or the client gives up.
public struct AMQPDeliveries: AsyncSequence, Sendable {
    public typealias Element = AMQPDelivery
    public typealias Failure = AMQPError
    let inbox: AMQPInbox
    let channel: AMQPChannel
    /// Its name on its channel, the same after a reconnect.
    public let consumerTag: String

    /// Ends the consumer (basic.cancel). What was delivered and not taken goes back to the queue; the sequence ends. Done at the end of the
    /// scope of `AMQPChannel.consume` that has one.
    public func cancel() { channel.cancel(consumerTag) }

    public func makeAsyncIterator() -> Iterator { Iterator(inbox: inbox) }

    public struct Iterator: AsyncIteratorProtocol {
        let inbox: AMQPInbox

        public mutating func next() async throws(AMQPError) -> AMQPDelivery? { try await inbox.take() }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(AMQPError) -> AMQPDelivery? { try await inbox.take() }

        /// All deliveries that are there, at least one, at most `count`; waits only if there is none.
        public mutating func nextBatch(atMost count: Int = .max) async throws(AMQPError) -> [AMQPDelivery]? { try await inbox.take(atMost: count) }
    }
}
