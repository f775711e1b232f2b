internal import MartletAMQPProtocol
internal import MartletClient

/// A method that waits for its answer, and who wants that.
final class AMQPRequest: Sendable {
    enum Purpose: Sendable {
        /// A task's.
        case task(AMQPReply<AMQPAnswer>)
        /// Making a channel anew, or into its mode: nobody waits for it.
        case channel
        /// Making anew the exchange, queue or binding that was made by the same method.
        case recovery
    }
    let method: AMQPMethod<[UInt8]>
    let purpose: Purpose
    /// Of basic.consume.
    let consumer: AMQPConsumer.Terms?

    init(_ method: AMQPMethod<[UInt8]>, _ purpose: Purpose, consumer: AMQPConsumer.Terms? = nil) {
        self.method = method
        self.purpose = purpose
        self.consumer = consumer
    }

    var isAbandoned: Bool { if case .task(let reply) = purpose { reply.isAbandoned } else { false } }

    func resolve(_ result: Result<AMQPAnswer, AMQPError>) { if case .task(let reply) = purpose { reply.resolve(result) } }
}

/// What came back.
enum AMQPAnswer: Sendable {
    case method(AMQPMethod<[UInt8]>)
    /// basic.get-ok with its message.
    case message((delivery: AMQPDelivery, messageCount: Int))
    /// queue.declare-ok.
    case queue(AMQPQueue)
}

/// What a task asks of its channel.
enum AMQPCommand: Sendable {
    case publish(AMQPPublication)
    case request(AMQPRequest)
    /// Where the order counts, in transactions.
    case settle(AMQPSettlement)
}
