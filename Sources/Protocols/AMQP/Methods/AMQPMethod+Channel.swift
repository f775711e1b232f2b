// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// channel.open, 20 10.
    public struct ChannelOpen: Equatable, Sendable {
        public var outOfBand: Text

        public init(outOfBand: Text = .empty) {
            self.outOfBand = outOfBand
        }
    }
}

extension AMQPMethod.ChannelOpen where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        outOfBand = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ChannelOpen {
        .init(outOfBand: bytes.at(outOfBand).array)
    }
}

extension AMQPMethod.ChannelOpen where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: outOfBand)
    }
}

extension AMQPMethod {
    /// channel.open-ok, 20 11.
    public struct ChannelOpenOk: Equatable, Sendable {
        public var channelID: Text

        public init(channelID: Text = .empty) {
            self.channelID = channelID
        }
    }
}

extension AMQPMethod.ChannelOpenOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        channelID = try reader.longString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ChannelOpenOk {
        .init(channelID: bytes.at(channelID).array)
    }
}

extension AMQPMethod.ChannelOpenOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(longString: channelID)
    }
}

extension AMQPMethod {
    /// channel.flow, 20 20.
    public struct ChannelFlow: Equatable, Sendable {
        public var active: Bool

        public init(active: Bool = false) {
            self.active = active
        }
    }
}

extension AMQPMethod.ChannelFlow where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        let bits = try reader.octet()
        active = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ChannelFlow {
        .init(active: active)
    }
}

extension AMQPMethod.ChannelFlow where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append((active ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// channel.flow-ok, 20 21.
    public struct ChannelFlowOk: Equatable, Sendable {
        public var active: Bool

        public init(active: Bool = false) {
            self.active = active
        }
    }
}

extension AMQPMethod.ChannelFlowOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        let bits = try reader.octet()
        active = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ChannelFlowOk {
        .init(active: active)
    }
}

extension AMQPMethod.ChannelFlowOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append((active ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// channel.close, 20 40.
    public struct ChannelClose: Equatable, Sendable {
        public var replyCode: UInt16
        public var replyText: Text
        public var classID: UInt16
        public var methodID: UInt16

        public init(replyCode: UInt16 = 0, replyText: Text = .empty, classID: UInt16 = 0, methodID: UInt16 = 0) {
            self.replyCode = replyCode
            self.replyText = replyText
            self.classID = classID
            self.methodID = methodID
        }
    }
}

extension AMQPMethod.ChannelClose where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        replyCode = try reader.short()
        replyText = try reader.shortString()
        classID = try reader.short()
        methodID = try reader.short()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ChannelClose {
        .init(replyCode: replyCode, replyText: bytes.at(replyText).array, classID: classID, methodID: methodID)
    }
}

extension AMQPMethod.ChannelClose where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(replyCode)
        try output.append(shortString: replyText)
        output.append(classID)
        output.append(methodID)
    }
}
