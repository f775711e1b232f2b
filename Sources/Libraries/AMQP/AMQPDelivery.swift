/// A message as it came from a queue, and the way to say what became of it.
///
/// Unless its consumer takes messages as acknowledged, each is owed one of `ack`, `nack` and `reject`, on the connection it came by: after a
/// reconnect these do nothing, as the server delivers the message again, with `isRedelivered`. A second word about the same delivery is a
/// channel exception (406).
public struct AMQPDelivery: Sendable {
    let content: AMQPContent
    /// Where it was published; empty: the default exchange.
    public let exchange: String
    public let routingKey: String
    /// Its number on its channel.
    public let deliveryTag: UInt64
    let channel: AMQPChannel
    let epoch: UInt32
    /// It is owed an acknowledgement.
    public let needsAck: Bool
    /// It may have been delivered before, to this consumer or another.
    public let isRedelivered: Bool

    public var body: [UInt8] { content.body }

    /// The body as UTF-8, repaired where it is not.
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// Read at each call: keep what is used often.
    public var properties: AMQPMessageProperties { content.properties }

    /// The message is done; with `multiple` it and all before it on this channel. Returns without waiting for the server. Throws when the channel is closed.
    public func ack(multiple: Bool = false) async throws(AMQPError) { try settle(.ack, multiple) }

    /// The message is not done: the server delivers it again, or with `requeue` false drops it or sends it to a dead-letter exchange.
    public func nack(requeue: Bool = true, multiple: Bool = false) async throws(AMQPError) { try settle(requeue ? .nackRequeue : .nack, multiple) }

    /// As `nack`, of this one, in the protocol's own older method.
    public func reject(requeue: Bool = true) async throws(AMQPError) { try settle(requeue ? .rejectRequeue : .reject, false) }

    private func settle(_ verdict: AMQPSettlement.Verdict, _ multiple: Bool) throws(AMQPError) {
        guard needsAck else { return }
        try channel.settle(AMQPSettlement(deliveryTag: deliveryTag, epoch: epoch, verdict: verdict, multiple: multiple))
    }
}

/// What became of a delivery.
struct AMQPSettlement: Sendable {
    enum Verdict: UInt8, Sendable { case ack, nack, nackRequeue, reject, rejectRequeue }
    var deliveryTag: UInt64
    var epoch: UInt32
    var verdict: Verdict
    var multiple: Bool
}

/// A message that came back: it was mandatory and routed to no queue (basic.return).
public struct AMQPReturn: Sendable {
    /// 312: no queue.
    public let code: UInt16
    /// "NO_ROUTE".
    public let text: String
    public let exchange: String
    public let routingKey: String
    public let properties: AMQPMessageProperties
    public let body: [UInt8]
}
