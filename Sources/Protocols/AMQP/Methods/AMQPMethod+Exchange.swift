// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// exchange.declare, 40 10.
    public struct ExchangeDeclare: Equatable, Sendable {
        public var ticket: UInt16
        public var exchange: Text
        public var type: Text
        public var passive: Bool
        public var durable: Bool
        public var autoDelete: Bool
        public var isInternal: Bool
        public var noWait: Bool
        public var arguments: Text

        public init(
            ticket: UInt16 = 0, exchange: Text = .empty, type: Text = .empty, passive: Bool = false, durable: Bool = false, autoDelete: Bool = false,
            isInternal: Bool = false, noWait: Bool = false, arguments: Text = .empty
        ) {
            self.ticket = ticket
            self.exchange = exchange
            self.type = type
            self.passive = passive
            self.durable = durable
            self.autoDelete = autoDelete
            self.isInternal = isInternal
            self.noWait = noWait
            self.arguments = arguments
        }
    }
}

extension AMQPMethod.ExchangeDeclare where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        exchange = try reader.shortString()
        type = try reader.shortString()
        let bits = try reader.octet()
        passive = bits & 1 != 0
        durable = bits & 2 != 0
        autoDelete = bits & 4 != 0
        isInternal = bits & 8 != 0
        noWait = bits & 16 != 0
        arguments = try reader.table(depthMax: depthMax)
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ExchangeDeclare {
        .init(
            ticket: ticket, exchange: bytes.at(exchange).array, type: bytes.at(type).array, passive: passive, durable: durable, autoDelete: autoDelete,
            isInternal: isInternal, noWait: noWait, arguments: bytes.at(arguments).array)
    }
}

extension AMQPMethod.ExchangeDeclare where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: exchange)
        try output.append(shortString: type)
        output.append((passive ? 1 : 0) | (durable ? 2 : 0) | (autoDelete ? 4 : 0) | (isInternal ? 8 : 0) | (noWait ? 16 : 0) as UInt8)
        output.append(longString: arguments)
    }
}

extension AMQPMethod {
    /// exchange.delete, 40 20.
    public struct ExchangeDelete: Equatable, Sendable {
        public var ticket: UInt16
        public var exchange: Text
        public var ifUnused: Bool
        public var noWait: Bool

        public init(ticket: UInt16 = 0, exchange: Text = .empty, ifUnused: Bool = false, noWait: Bool = false) {
            self.ticket = ticket
            self.exchange = exchange
            self.ifUnused = ifUnused
            self.noWait = noWait
        }
    }
}

extension AMQPMethod.ExchangeDelete where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        exchange = try reader.shortString()
        let bits = try reader.octet()
        ifUnused = bits & 1 != 0
        noWait = bits & 2 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ExchangeDelete {
        .init(ticket: ticket, exchange: bytes.at(exchange).array, ifUnused: ifUnused, noWait: noWait)
    }
}

extension AMQPMethod.ExchangeDelete where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: exchange)
        output.append((ifUnused ? 1 : 0) | (noWait ? 2 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// exchange.bind, 40 30.
    public struct ExchangeBind: Equatable, Sendable {
        public var ticket: UInt16
        public var destination: Text
        public var source: Text
        public var routingKey: Text
        public var noWait: Bool
        public var arguments: Text

        public init(
            ticket: UInt16 = 0, destination: Text = .empty, source: Text = .empty, routingKey: Text = .empty, noWait: Bool = false, arguments: Text = .empty
        ) {
            self.ticket = ticket
            self.destination = destination
            self.source = source
            self.routingKey = routingKey
            self.noWait = noWait
            self.arguments = arguments
        }
    }
}

extension AMQPMethod.ExchangeBind where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        destination = try reader.shortString()
        source = try reader.shortString()
        routingKey = try reader.shortString()
        let bits = try reader.octet()
        noWait = bits & 1 != 0
        arguments = try reader.table(depthMax: depthMax)
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ExchangeBind {
        .init(
            ticket: ticket, destination: bytes.at(destination).array, source: bytes.at(source).array, routingKey: bytes.at(routingKey).array, noWait: noWait,
            arguments: bytes.at(arguments).array)
    }
}

extension AMQPMethod.ExchangeBind where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: destination)
        try output.append(shortString: source)
        try output.append(shortString: routingKey)
        output.append((noWait ? 1 : 0) as UInt8)
        output.append(longString: arguments)
    }
}

extension AMQPMethod {
    /// exchange.unbind, 40 40.
    public struct ExchangeUnbind: Equatable, Sendable {
        public var ticket: UInt16
        public var destination: Text
        public var source: Text
        public var routingKey: Text
        public var noWait: Bool
        public var arguments: Text

        public init(
            ticket: UInt16 = 0, destination: Text = .empty, source: Text = .empty, routingKey: Text = .empty, noWait: Bool = false, arguments: Text = .empty
        ) {
            self.ticket = ticket
            self.destination = destination
            self.source = source
            self.routingKey = routingKey
            self.noWait = noWait
            self.arguments = arguments
        }
    }
}

extension AMQPMethod.ExchangeUnbind where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
        destination = try reader.shortString()
        source = try reader.shortString()
        routingKey = try reader.shortString()
        let bits = try reader.octet()
        noWait = bits & 1 != 0
        arguments = try reader.table(depthMax: depthMax)
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ExchangeUnbind {
        .init(
            ticket: ticket, destination: bytes.at(destination).array, source: bytes.at(source).array, routingKey: bytes.at(routingKey).array, noWait: noWait,
            arguments: bytes.at(arguments).array)
    }
}

extension AMQPMethod.ExchangeUnbind where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
        try output.append(shortString: destination)
        try output.append(shortString: source)
        try output.append(shortString: routingKey)
        output.append((noWait ? 1 : 0) as UInt8)
        output.append(longString: arguments)
    }
}
