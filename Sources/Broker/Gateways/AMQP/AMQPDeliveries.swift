import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletShard

/// What is sent to clients: basic.deliver, straight into their outputs.
extension AMQPGateway {
    @inline(__always) func deliverMessages(_ range: Range<Int>, of message: borrowing Message) {
        withOrigin(of: message) { origin, properties in
            for index in range {
                let delivery = shard.effects.value.deliveries[index], consumer = delivery.token
                let channel = consumers.value[consumer].channel, slot = consumers.value[consumer].slot
                let entry = delivery.settles ? AMQPUnacknowledged(queue: consumers.value[consumer].queue, position: delivery.position) : nil
                let tag = nextTag(on: channel, entry)
                shard.loop.willWrite(slot)
                let number = consumers.value[consumer].number, frameMax = consumers.value[consumer].frameMax
                consumers.value[consumer].withTag { consumerTag in
                    AMQPServerEncoder.deliver(
                        channel: number, consumerTag: consumerTag, deliveryTag: tag, redelivered: delivery.isRedelivered, from: origin,
                        properties: properties, body: message.body, frameMax: frameMax, into: &outputs[slot])
                }
                if outputs[slot].count > Self.outputMax { checkRoom(at: slot) }
            }
            seen.value.delivered &+= UInt64(range.count)
            seen.value.deliveredBytes &+= UInt64(range.count) &* UInt64(message.body.count)
        }
    }

    // MARK: Too much at once

    /// Of output that one connection may have before the tick ends: no more is made then. What was written cannot be taken back, so the last
    /// message may go beyond.
    static var outputMax: Int { 1 << 20 }

    @inline(never) private func checkRoom(at slot: UInt32) {
        if let connection = shard.loop.channel(at: slot) as? AMQPServerConnection { _ = hasRoom(connection) }
    }

    /// Its output is large: what the socket takes leaves; if it is still large, its consumers take nothing more, and nothing more that it
    /// asks for is answered.
    func hasRoom(_ connection: AMQPServerConnection) -> Bool {
        if connection.isOverfull { return false }
        let slot = connection.slot
        if slot == 0 || shard.loop.flushEarly(slot, limit: Self.outputMax) { return true }
        connection.isOverfull = true
        overfull.append(connection)
        pauseConsumers(of: connection)
        return false
    }

    /// From here on the loop tells when there is room.
    func blockOverfull() {
        let connections = overfull
        overfull.removeAll()
        for connection in connections where connection.slot != 0 { shard.loop.blockOutput(connection.slot) }
    }

    /// The exchange that a message was published to, its routing key as AMQP spells it, and its properties.
    @inline(__always) func withOrigin(of message: borrowing Message, _ body: (AMQPOrigin, Span<UInt8>) -> Void) {
        exchangeNames.value.withName(of: message.hub) { exchange in
            if message.hub != shard.router.meetingPoint {
                body(AMQPOrigin(exchange: exchange, routingKey: message.address), message.properties(of: id))
            } else {
                // A short string has 255 bytes at most, an MQTT topic up to 65,535.
                let key = Address.convert(message.address, to: .dots), origin = AMQPOrigin(exchange: exchange, routingKey: key.span.extracting(first: 255))
                if message.header.origin == id { body(origin, message.properties) } else { withForeignProperties(message.header) { body(origin, $0) } }
            }
        }
    }

    /// Of another protocol's message: how persistent it is.
    private func withForeignProperties(_ header: MessageHeader, _ body: (Span<UInt8>) -> Void) {
        let properties: [UInt8] = [0x10, 0, header.flags.contains(.persistent) ? 2 : 1]
        body(properties.span)
    }
}
