// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// access.request, 30 10.
    public struct AccessRequest: Equatable, Sendable {
        public var realm: Text
        public var exclusive: Bool
        public var passive: Bool
        public var active: Bool
        public var write: Bool
        public var read: Bool

        public init(realm: Text = .empty, exclusive: Bool = false, passive: Bool = true, active: Bool = true, write: Bool = true, read: Bool = true) {
            self.realm = realm
            self.exclusive = exclusive
            self.passive = passive
            self.active = active
            self.write = write
            self.read = read
        }
    }
}

extension AMQPMethod.AccessRequest where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        realm = try reader.shortString()
        let bits = try reader.octet()
        exclusive = bits & 1 != 0
        passive = bits & 2 != 0
        active = bits & 4 != 0
        write = bits & 8 != 0
        read = bits & 16 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.AccessRequest {
        .init(realm: bytes.at(realm).array, exclusive: exclusive, passive: passive, active: active, write: write, read: read)
    }
}

extension AMQPMethod.AccessRequest where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: realm)
        output.append((exclusive ? 1 : 0) | (passive ? 2 : 0) | (active ? 4 : 0) | (write ? 8 : 0) | (read ? 16 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// access.request-ok, 30 11.
    public struct AccessRequestOk: Equatable, Sendable {
        public var ticket: UInt16

        public init(ticket: UInt16 = 1) {
            self.ticket = ticket
        }
    }
}

extension AMQPMethod.AccessRequestOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        ticket = try reader.short()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.AccessRequestOk {
        .init(ticket: ticket)
    }
}

extension AMQPMethod.AccessRequestOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(ticket)
    }
}
