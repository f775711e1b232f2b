internal import MartletAMQPProtocol
internal import MartletBytes

/// A consumer of a channel, on the loop: what arrives for it between two hand-overs.
final class AMQPConsumer {
    /// What it was asked for with.
    struct Terms: Sendable {
        let consumerTag: String
        let queue: String
        let inbox: AMQPInbox
        let takesAsAcknowledged: Bool
        let isExclusive: Bool
        /// 0: no bound.
        let prefetch: UInt16
        let arguments: AMQPTable

        var method: AMQPMethod<[UInt8]> {
            .basicConsume(
                .init(
                    queue: Array(queue.utf8), consumerTag: Array(consumerTag.utf8), noAck: takesAsAcknowledged, exclusive: isExclusive,
                    arguments: arguments.encoded))
        }
    }
    let terms: Terms
    let tag: [UInt8]
    private var arrived: [AMQPDelivery] = []
    // Most deliveries come by the same exchange and key as the one before.
    private var exchange = ""
    private var routingKey = ""

    init(_ terms: Terms) {
        self.terms = terms
        tag = Array(terms.consumerTag.utf8)
    }

    func isNamed(_ bytes: Span<UInt8>) -> Bool {
        let tag = tag
        return tag.span.equals(bytes)
    }

    /// Answers whether it is the first since the last hand-over.
    func deliver(
        _ deliver: AMQPMethod<ByteRange>.BasicDeliver, _ header: AMQPContentHeader, _ body: ByteRange, in bytes: Span<UInt8>, of channel: AMQPChannel,
        epoch: UInt32
    ) -> Bool {
        exchange = Self.text(of: bytes.at(deliver.exchange), unless: exchange)
        routingKey = Self.text(of: bytes.at(deliver.routingKey), unless: routingKey)
        return add(
            AMQPDelivery(
                content: AMQPContent(header, body, in: bytes), exchange: exchange, routingKey: routingKey, deliveryTag: deliver.deliveryTag,
                channel: channel, epoch: epoch, needsAck: !terms.takesAsAcknowledged, isRedelivered: deliver.redelivered))
    }

    func add(_ delivery: AMQPDelivery) -> Bool {
        arrived.append(delivery)
        return arrived.count == 1
    }

    private static func text(of bytes: Span<UInt8>, unless known: String) -> String { bytes.equals(known.utf8.span) ? known : bytes.text }

    /// To its task. Answers whether that takes too slowly.
    func handOver() -> Bool {
        guard !arrived.isEmpty else { return false }
        defer { arrived.removeAll(keepingCapacity: arrived.count <= 1_024) }
        return terms.inbox.put(arrived)
    }

    /// No more comes, and nobody takes. Answers what nobody has taken.
    func close() -> [AMQPDelivery] {
        defer { arrived = [] }
        return terms.inbox.close() + arrived
    }

    /// What has come is stale: the server delivers it again.
    func dropUnacknowledged() {
        arrived.removeAll(where: \.needsAck)
        terms.inbox.dropUnacknowledged()
    }
}
