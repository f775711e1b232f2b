// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// basic.get, 60 70.
    public struct BasicGet: Equatable, Sendable {
        public var ticket: UInt16
        public var queue: Text
        public var noAck: Bool

        public init(ticket: UInt16 = 0, queue: Text = .empty, noAck: Bool = false) {
            self.ticket = ticket
            self.queue = queue
            self.noAck = noAck
        }
    }
}

extension AMQPMethod.BasicGet where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        queue = try reader.shortString()
        let bits = try reader.octet()
        noAck = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicGet {
        .init(ticket: ticket, queue: bytes.at(queue).array, noAck: noAck)
    }
}

extension AMQPMethod.BasicGet where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: queue)
        output.append((noAck ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.get-ok, 60 71.
    public struct BasicGetOk: Equatable, Sendable {
        public var deliveryTag: UInt64
        public var redelivered: Bool
        public var exchange: Text
        public var routingKey: Text
        public var messageCount: UInt32

        public init(deliveryTag: UInt64 = 0, redelivered: Bool = false, exchange: Text = .empty, routingKey: Text = .empty, messageCount: UInt32 = 0) {
            self.deliveryTag = deliveryTag
            self.redelivered = redelivered
            self.exchange = exchange
            self.routingKey = routingKey
            self.messageCount = messageCount
        }
    }
}

extension AMQPMethod.BasicGetOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        deliveryTag = try reader.longLong()
        let bits = try reader.octet()
        redelivered = bits & 1 != 0
        exchange = try reader.shortString()
        routingKey = try reader.shortString()
        messageCount = try reader.long()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicGetOk {
        .init(
            deliveryTag: deliveryTag, redelivered: redelivered, exchange: bytes.at(exchange).array, routingKey: bytes.at(routingKey).array,
            messageCount: messageCount)
    }
}

extension AMQPMethod.BasicGetOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(deliveryTag)
        output.append((redelivered ? 1 : 0) as UInt8)
        try output.append(shortString: exchange)
        try output.append(shortString: routingKey)
        output.append(messageCount)
    }
}

extension AMQPMethod {
    /// basic.get-empty, 60 72.
    public struct BasicGetEmpty: Equatable, Sendable {
        public var clusterID: Text

        public init(clusterID: Text = .empty) {
            self.clusterID = clusterID
        }
    }
}

extension AMQPMethod.BasicGetEmpty where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        clusterID = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicGetEmpty {
        .init(clusterID: bytes.at(clusterID).array)
    }
}

extension AMQPMethod.BasicGetEmpty where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: clusterID)
    }
}

extension AMQPMethod {
    /// basic.ack, 60 80.
    public struct BasicAck: Equatable, Sendable {
        public var deliveryTag: UInt64
        public var multiple: Bool

        public init(deliveryTag: UInt64 = 0, multiple: Bool = false) {
            self.deliveryTag = deliveryTag
            self.multiple = multiple
        }
    }
}

extension AMQPMethod.BasicAck where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        deliveryTag = try reader.longLong()
        let bits = try reader.octet()
        multiple = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicAck {
        .init(deliveryTag: deliveryTag, multiple: multiple)
    }
}

extension AMQPMethod.BasicAck where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(deliveryTag)
        output.append((multiple ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.reject, 60 90.
    public struct BasicReject: Equatable, Sendable {
        public var deliveryTag: UInt64
        public var requeue: Bool

        public init(deliveryTag: UInt64 = 0, requeue: Bool = true) {
            self.deliveryTag = deliveryTag
            self.requeue = requeue
        }
    }
}

extension AMQPMethod.BasicReject where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        deliveryTag = try reader.longLong()
        let bits = try reader.octet()
        requeue = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicReject {
        .init(deliveryTag: deliveryTag, requeue: requeue)
    }
}

extension AMQPMethod.BasicReject where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(deliveryTag)
        output.append((requeue ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.recover-async, 60 100.
    public struct BasicRecoverAsync: Equatable, Sendable {
        public var requeue: Bool

        public init(requeue: Bool = false) {
            self.requeue = requeue
        }
    }
}

extension AMQPMethod.BasicRecoverAsync where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        let bits = try reader.octet()
        requeue = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicRecoverAsync {
        .init(requeue: requeue)
    }
}

extension AMQPMethod.BasicRecoverAsync where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append((requeue ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.recover, 60 110.
    public struct BasicRecover: Equatable, Sendable {
        public var requeue: Bool

        public init(requeue: Bool = false) {
            self.requeue = requeue
        }
    }
}

extension AMQPMethod.BasicRecover where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        let bits = try reader.octet()
        requeue = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicRecover {
        .init(requeue: requeue)
    }
}

extension AMQPMethod.BasicRecover where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append((requeue ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// basic.nack, 60 120.
    public struct BasicNack: Equatable, Sendable {
        public var deliveryTag: UInt64
        public var multiple: Bool
        public var requeue: Bool

        public init(deliveryTag: UInt64 = 0, multiple: Bool = false, requeue: Bool = true) {
            self.deliveryTag = deliveryTag
            self.multiple = multiple
            self.requeue = requeue
        }
    }
}

extension AMQPMethod.BasicNack where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        deliveryTag = try reader.longLong()
        let bits = try reader.octet()
        multiple = bits & 1 != 0
        requeue = bits & 2 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.BasicNack {
        .init(deliveryTag: deliveryTag, multiple: multiple, requeue: requeue)
    }
}

extension AMQPMethod.BasicNack where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(deliveryTag)
        output.append((multiple ? 1 : 0) | (requeue ? 2 : 0) as UInt8)
    }
}
