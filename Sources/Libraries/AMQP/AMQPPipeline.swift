/// Publishing without waiting for each confirm. Made by `AMQPChannel.pipelined`, which returns when all are confirmed.
///
/// `publish` suspends when `AMQPClientLimits.pipelineCountMax` messages are under way. The first failure (a nack, a mandatory message that came
/// back, the channel's end) is thrown by the next call, or at the end of the scope. Any number of tasks may publish; the order is that of the calls.
public struct AMQPPipeline: Sendable {
    let window: AMQPWindow
    let channel: AMQPChannel

    /// Returns when the message has been taken over, not when it is confirmed.
    public func publish(
        _ text: String, to exchange: String = "", routingKey: String, persistent: Bool = false, mandatory: Bool = false,
        properties: AMQPMessageProperties = AMQPMessageProperties()
    ) async throws(AMQPError) {
        try await publish(Array(text.utf8), to: exchange, routingKey: routingKey, persistent: persistent, mandatory: mandatory, properties: properties)
    }

    /// The same with any bytes.
    public func publish(
        _ body: [UInt8], to exchange: String = "", routingKey: String, persistent: Bool = false, mandatory: Bool = false,
        properties: AMQPMessageProperties = AMQPMessageProperties()
    ) async throws(AMQPError) {
        let publication = try channel.publication(
            body, exchange, routingKey, persistent, mandatory, properties, .window(window), awaitsConfirm: true)
        try await window.enter(publication.size)
        channel.hand(publication)
    }
}
