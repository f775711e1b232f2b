// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// basic.qos, 60 10.
    public struct BasicQos: Equatable, Sendable {
        public var prefetchSize: UInt32
        public var prefetchCount: UInt16
        public var global: Bool

        public init(prefetchSize: UInt32 = 0, prefetchCount: UInt16 = 0, global: Bool = false) {
            self.prefetchSize = prefetchSize
            self.prefetchCount = prefetchCount
            self.global = global
        }
    }
}

extension AMQPMethod.BasicQos where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        prefetchSize = try reader.long()
        prefetchCount = try reader.short()
        let bits = try reader.octet()
        global = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicQos {
        .init(prefetchSize: prefetchSize, prefetchCount: prefetchCount, global: global)
    }
}

extension AMQPMethod.BasicQos where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(prefetchSize)
        output.append(prefetchCount)
        output.append((global ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.consume, 60 20.
    public struct BasicConsume: Equatable, Sendable {
        public var ticket: UInt16
        public var queue: Text
        public var consumerTag: Text
        public var noLocal: Bool
        public var noAck: Bool
        public var exclusive: Bool
        public var noWait: Bool
        public var arguments: Text

        public init(
            ticket: UInt16 = 0, queue: Text = .empty, consumerTag: Text = .empty, noLocal: Bool = false, noAck: Bool = false, exclusive: Bool = false,
            noWait: Bool = false, arguments: Text = .empty
        ) {
            self.ticket = ticket
            self.queue = queue
            self.consumerTag = consumerTag
            self.noLocal = noLocal
            self.noAck = noAck
            self.exclusive = exclusive
            self.noWait = noWait
            self.arguments = arguments
        }
    }
}

extension AMQPMethod.BasicConsume where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        queue = try reader.shortString()
        consumerTag = try reader.shortString()
        let bits = try reader.octet()
        noLocal = bits & 1 != 0
        noAck = bits & 2 != 0
        exclusive = bits & 4 != 0
        noWait = bits & 8 != 0
        arguments = try reader.table(depthMax: depthMax)
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicConsume {
        .init(
            ticket: ticket, queue: bytes.at(queue).array, consumerTag: bytes.at(consumerTag).array, noLocal: noLocal, noAck: noAck, exclusive: exclusive,
            noWait: noWait, arguments: bytes.at(arguments).array)
    }
}

extension AMQPMethod.BasicConsume where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: queue)
        try output.append(shortString: consumerTag)
        output.append((noLocal ? 1 : 0) | (noAck ? 2 : 0) | (exclusive ? 4 : 0) | (noWait ? 8 : 0) as UInt8)
        output.append(longString: arguments)
    }
}

extension AMQPMethod {
    /// basic.consume-ok, 60 21.
    public struct BasicConsumeOk: Equatable, Sendable {
        public var consumerTag: Text

        public init(consumerTag: Text = .empty) {
            self.consumerTag = consumerTag
        }
    }
}

extension AMQPMethod.BasicConsumeOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        consumerTag = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicConsumeOk {
        .init(consumerTag: bytes.at(consumerTag).array)
    }
}

extension AMQPMethod.BasicConsumeOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: consumerTag)
    }
}

extension AMQPMethod {
    /// basic.cancel, 60 30.
    public struct BasicCancel: Equatable, Sendable {
        public var consumerTag: Text
        public var noWait: Bool

        public init(consumerTag: Text = .empty, noWait: Bool = false) {
            self.consumerTag = consumerTag
            self.noWait = noWait
        }
    }
}

extension AMQPMethod.BasicCancel where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        consumerTag = try reader.shortString()
        let bits = try reader.octet()
        noWait = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicCancel {
        .init(consumerTag: bytes.at(consumerTag).array, noWait: noWait)
    }
}

extension AMQPMethod.BasicCancel where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: consumerTag)
        output.append((noWait ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.cancel-ok, 60 31.
    public struct BasicCancelOk: Equatable, Sendable {
        public var consumerTag: Text

        public init(consumerTag: Text = .empty) {
            self.consumerTag = consumerTag
        }
    }
}

extension AMQPMethod.BasicCancelOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        consumerTag = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicCancelOk {
        .init(consumerTag: bytes.at(consumerTag).array)
    }
}

extension AMQPMethod.BasicCancelOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: consumerTag)
    }
}

extension AMQPMethod {
    /// basic.publish, 60 40.
    public struct BasicPublish: Equatable, Sendable {
        public var ticket: UInt16
        public var exchange: Text
        public var routingKey: Text
        public var mandatory: Bool
        public var immediate: Bool

        public init(ticket: UInt16 = 0, exchange: Text = .empty, routingKey: Text = .empty, mandatory: Bool = false, immediate: Bool = false) {
            self.ticket = ticket
            self.exchange = exchange
            self.routingKey = routingKey
            self.mandatory = mandatory
            self.immediate = immediate
        }
    }
}

extension AMQPMethod.BasicPublish where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        exchange = try reader.shortString()
        routingKey = try reader.shortString()
        let bits = try reader.octet()
        mandatory = bits & 1 != 0
        immediate = bits & 2 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicPublish {
        .init(ticket: ticket, exchange: bytes.at(exchange).array, routingKey: bytes.at(routingKey).array, mandatory: mandatory, immediate: immediate)
    }
}

extension AMQPMethod.BasicPublish where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: exchange)
        try output.append(shortString: routingKey)
        output.append((mandatory ? 1 : 0) | (immediate ? 2 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.return, 60 50.
    public struct BasicReturn: Equatable, Sendable {
        public var replyCode: UInt16
        public var replyText: Text
        public var exchange: Text
        public var routingKey: Text

        public init(replyCode: UInt16 = 0, replyText: Text = .empty, exchange: Text = .empty, routingKey: Text = .empty) {
            self.replyCode = replyCode
            self.replyText = replyText
            self.exchange = exchange
            self.routingKey = routingKey
        }
    }
}

extension AMQPMethod.BasicReturn where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        replyCode = try reader.short()
        replyText = try reader.shortString()
        exchange = try reader.shortString()
        routingKey = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicReturn {
        .init(replyCode: replyCode, replyText: bytes.at(replyText).array, exchange: bytes.at(exchange).array, routingKey: bytes.at(routingKey).array)
    }
}

extension AMQPMethod.BasicReturn where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(replyCode)
        try output.append(shortString: replyText)
        try output.append(shortString: exchange)
        try output.append(shortString: routingKey)
    }
}

extension AMQPMethod {
    /// basic.deliver, 60 60.
    public struct BasicDeliver: Equatable, Sendable {
        public var consumerTag: Text
        public var deliveryTag: UInt64
        public var redelivered: Bool
        public var exchange: Text
        public var routingKey: Text

        public init(consumerTag: Text = .empty, deliveryTag: UInt64 = 0, redelivered: Bool = false, exchange: Text = .empty, routingKey: Text = .empty) {
            self.consumerTag = consumerTag
            self.deliveryTag = deliveryTag
            self.redelivered = redelivered
            self.exchange = exchange
            self.routingKey = routingKey
        }
    }
}

extension AMQPMethod.BasicDeliver where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        consumerTag = try reader.shortString()
        deliveryTag = try reader.longLong()
        let bits = try reader.octet()
        redelivered = bits & 1 != 0
        exchange = try reader.shortString()
        routingKey = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicDeliver {
        .init(
            consumerTag: bytes.at(consumerTag).array, deliveryTag: deliveryTag, redelivered: redelivered, exchange: bytes.at(exchange).array,
            routingKey: bytes.at(routingKey).array)
    }
}

extension AMQPMethod.BasicDeliver where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: consumerTag)
        output.append(deliveryTag)
        output.append((redelivered ? 1 : 0) as UInt8)
        try output.append(shortString: exchange)
        try output.append(shortString: routingKey)
    }
}
