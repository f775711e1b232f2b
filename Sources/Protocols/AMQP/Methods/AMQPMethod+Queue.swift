// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// queue.declare, 50 10.
    public struct QueueDeclare: Equatable, Sendable {
        public var ticket: UInt16
        public var queue: Text
        public var passive: Bool
        public var durable: Bool
        public var exclusive: Bool
        public var autoDelete: Bool
        public var noWait: Bool
        public var arguments: Text

        public init(
            ticket: UInt16 = 0, queue: Text = .empty, passive: Bool = false, durable: Bool = false, exclusive: Bool = false, autoDelete: Bool = false,
            noWait: Bool = false, arguments: Text = .empty
        ) {
            self.ticket = ticket
            self.queue = queue
            self.passive = passive
            self.durable = durable
            self.exclusive = exclusive
            self.autoDelete = autoDelete
            self.noWait = noWait
            self.arguments = arguments
        }
    }
}

extension AMQPMethod.QueueDeclare where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        queue = try reader.shortString()
        let bits = try reader.octet()
        passive = bits & 1 != 0
        durable = bits & 2 != 0
        exclusive = bits & 4 != 0
        autoDelete = bits & 8 != 0
        noWait = bits & 16 != 0
        arguments = try reader.table(depthMax: depthMax)
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueueDeclare {
        .init(
            ticket: ticket, queue: bytes.at(queue).array, passive: passive, durable: durable, exclusive: exclusive, autoDelete: autoDelete, noWait: noWait,
            arguments: bytes.at(arguments).array)
    }
}

extension AMQPMethod.QueueDeclare where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: queue)
        output.append((passive ? 1 : 0) | (durable ? 2 : 0) | (exclusive ? 4 : 0) | (autoDelete ? 8 : 0) | (noWait ? 16 : 0) as UInt8)
        output.append(longString: arguments)
    }
}

extension AMQPMethod {
    /// queue.declare-ok, 50 11.
    public struct QueueDeclareOk: Equatable, Sendable {
        public var queue: Text
        public var messageCount: UInt32
        public var consumerCount: UInt32

        public init(queue: Text = .empty, messageCount: UInt32 = 0, consumerCount: UInt32 = 0) {
            self.queue = queue
            self.messageCount = messageCount
            self.consumerCount = consumerCount
        }
    }
}

extension AMQPMethod.QueueDeclareOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        queue = try reader.shortString()
        messageCount = try reader.long()
        consumerCount = try reader.long()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueueDeclareOk {
        .init(queue: bytes.at(queue).array, messageCount: messageCount, consumerCount: consumerCount)
    }
}

extension AMQPMethod.QueueDeclareOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: queue)
        output.append(messageCount)
        output.append(consumerCount)
    }
}

extension AMQPMethod {
    /// queue.bind, 50 20.
    public struct QueueBind: Equatable, Sendable {
        public var ticket: UInt16
        public var queue: Text
        public var exchange: Text
        public var routingKey: Text
        public var noWait: Bool
        public var arguments: Text

        public init(
            ticket: UInt16 = 0, queue: Text = .empty, exchange: Text = .empty, routingKey: Text = .empty, noWait: Bool = false, arguments: Text = .empty
        ) {
            self.ticket = ticket
            self.queue = queue
            self.exchange = exchange
            self.routingKey = routingKey
            self.noWait = noWait
            self.arguments = arguments
        }
    }
}

extension AMQPMethod.QueueBind where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        queue = try reader.shortString()
        exchange = try reader.shortString()
        routingKey = try reader.shortString()
        let bits = try reader.octet()
        noWait = bits & 1 != 0
        arguments = try reader.table(depthMax: depthMax)
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueueBind {
        .init(
            ticket: ticket, queue: bytes.at(queue).array, exchange: bytes.at(exchange).array, routingKey: bytes.at(routingKey).array, noWait: noWait,
            arguments: bytes.at(arguments).array)
    }
}

extension AMQPMethod.QueueBind where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: queue)
        try output.append(shortString: exchange)
        try output.append(shortString: routingKey)
        output.append((noWait ? 1 : 0) as UInt8)
        output.append(longString: arguments)
    }
}

extension AMQPMethod {
    /// queue.purge, 50 30.
    public struct QueuePurge: Equatable, Sendable {
        public var ticket: UInt16
        public var queue: Text
        public var noWait: Bool

        public init(ticket: UInt16 = 0, queue: Text = .empty, noWait: Bool = false) {
            self.ticket = ticket
            self.queue = queue
            self.noWait = noWait
        }
    }
}

extension AMQPMethod.QueuePurge where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        queue = try reader.shortString()
        let bits = try reader.octet()
        noWait = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueuePurge {
        .init(ticket: ticket, queue: bytes.at(queue).array, noWait: noWait)
    }
}

extension AMQPMethod.QueuePurge where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: queue)
        output.append((noWait ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// queue.purge-ok, 50 31.
    public struct QueuePurgeOk: Equatable, Sendable {
        public var messageCount: UInt32

        public init(messageCount: UInt32 = 0) {
            self.messageCount = messageCount
        }
    }
}

extension AMQPMethod.QueuePurgeOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        messageCount = try reader.long()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueuePurgeOk {
        .init(messageCount: messageCount)
    }
}

extension AMQPMethod.QueuePurgeOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(messageCount)
    }
}

extension AMQPMethod {
    /// queue.delete, 50 40.
    public struct QueueDelete: Equatable, Sendable {
        public var ticket: UInt16
        public var queue: Text
        public var ifUnused: Bool
        public var ifEmpty: Bool
        public var noWait: Bool

        public init(ticket: UInt16 = 0, queue: Text = .empty, ifUnused: Bool = false, ifEmpty: Bool = false, noWait: Bool = false) {
            self.ticket = ticket
            self.queue = queue
            self.ifUnused = ifUnused
            self.ifEmpty = ifEmpty
            self.noWait = noWait
        }
    }
}

extension AMQPMethod.QueueDelete where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        queue = try reader.shortString()
        let bits = try reader.octet()
        ifUnused = bits & 1 != 0
        ifEmpty = bits & 2 != 0
        noWait = bits & 4 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueueDelete {
        .init(ticket: ticket, queue: bytes.at(queue).array, ifUnused: ifUnused, ifEmpty: ifEmpty, noWait: noWait)
    }
}

extension AMQPMethod.QueueDelete where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: queue)
        output.append((ifUnused ? 1 : 0) | (ifEmpty ? 2 : 0) | (noWait ? 4 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// queue.delete-ok, 50 41.
    public struct QueueDeleteOk: Equatable, Sendable {
        public var messageCount: UInt32

        public init(messageCount: UInt32 = 0) {
            self.messageCount = messageCount
        }
    }
}

extension AMQPMethod.QueueDeleteOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        messageCount = try reader.long()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueueDeleteOk {
        .init(messageCount: messageCount)
    }
}

extension AMQPMethod.QueueDeleteOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(messageCount)
    }
}

extension AMQPMethod {
    /// queue.unbind, 50 50.
    public struct QueueUnbind: Equatable, Sendable {
        public var ticket: UInt16
        public var queue: Text
        public var exchange: Text
        public var routingKey: Text
        public var arguments: Text

        public init(ticket: UInt16 = 0, queue: Text = .empty, exchange: Text = .empty, routingKey: Text = .empty, arguments: Text = .empty) {
            self.ticket = ticket
            self.queue = queue
            self.exchange = exchange
            self.routingKey = routingKey
            self.arguments = arguments
        }
    }
}

extension AMQPMethod.QueueUnbind where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        queue = try reader.shortString()
        exchange = try reader.shortString()
        routingKey = try reader.shortString()
        arguments = try reader.table(depthMax: depthMax)
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.QueueUnbind {
        .init(
            ticket: ticket, queue: bytes.at(queue).array, exchange: bytes.at(exchange).array, routingKey: bytes.at(routingKey).array,
            arguments: bytes.at(arguments).array)
    }
}

extension AMQPMethod.QueueUnbind where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: queue)
        try output.append(shortString: exchange)
        try output.append(shortString: routingKey)
        output.append(longString: arguments)
    }
}
