// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// confirm.select, 85 10.
    public struct ConfirmSelect: Equatable, Sendable {
        public var noWait: Bool

        public init(noWait: Bool = false) {
            self.noWait = noWait
        }
    }
}

extension AMQPMethod.ConfirmSelect where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        let bits = try reader.octet()
        noWait = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConfirmSelect {
        .init(noWait: noWait)
    }
}

extension AMQPMethod.ConfirmSelect where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append((noWait ? 1 : 0) as UInt8)
    }
}
