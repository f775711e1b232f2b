// Written by scripts/amqp-methods from the specification: change that, not this.

internal import MartletBytes

extension AMQPMethod {
    /// connection.start, 10 10.
    public struct ConnectionStart: Equatable, Sendable {
        public var versionMajor: UInt8
        public var versionMinor: UInt8
        public var serverProperties: Text
        public var mechanisms: Text
        public var locales: Text

        public init(versionMajor: UInt8 = 0, versionMinor: UInt8 = 9, serverProperties: Text = .empty, mechanisms: Text = .empty, locales: Text = .empty) {
            self.versionMajor = versionMajor
            self.versionMinor = versionMinor
            self.serverProperties = serverProperties
            self.mechanisms = mechanisms
            self.locales = locales
        }
    }
}

extension AMQPMethod.ConnectionStart where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        versionMajor = try reader.octet()
        versionMinor = try reader.octet()
        serverProperties = try reader.table(depthMax: depthMax)
        mechanisms = try reader.longString()
        locales = try reader.longString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionStart {
        .init(
            versionMajor: versionMajor, versionMinor: versionMinor, serverProperties: bytes.at(serverProperties).array, mechanisms: bytes.at(mechanisms).array,
            locales: bytes.at(locales).array)
    }
}

extension AMQPMethod.ConnectionStart where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(versionMajor)
        output.append(versionMinor)
        output.append(longString: serverProperties)
        output.append(longString: mechanisms)
        output.append(longString: locales)
    }
}

extension AMQPMethod {
    /// connection.start-ok, 10 11.
    public struct ConnectionStartOk: Equatable, Sendable {
        public var clientProperties: Text
        public var mechanism: Text
        public var response: Text
        public var locale: Text

        public init(clientProperties: Text = .empty, mechanism: Text = .empty, response: Text = .empty, locale: Text = .empty) {
            self.clientProperties = clientProperties
            self.mechanism = mechanism
            self.response = response
            self.locale = locale
        }
    }
}

extension AMQPMethod.ConnectionStartOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        clientProperties = try reader.table(depthMax: depthMax)
        mechanism = try reader.shortString()
        response = try reader.longString()
        locale = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionStartOk {
        .init(
            clientProperties: bytes.at(clientProperties).array, mechanism: bytes.at(mechanism).array, response: bytes.at(response).array,
            locale: bytes.at(locale).array)
    }
}

extension AMQPMethod.ConnectionStartOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(longString: clientProperties)
        try output.append(shortString: mechanism)
        output.append(longString: response)
        try output.append(shortString: locale)
    }
}

extension AMQPMethod {
    /// connection.secure, 10 20.
    public struct ConnectionSecure: Equatable, Sendable {
        public var challenge: Text

        public init(challenge: Text = .empty) {
            self.challenge = challenge
        }
    }
}

extension AMQPMethod.ConnectionSecure where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        challenge = try reader.longString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionSecure {
        .init(challenge: bytes.at(challenge).array)
    }
}

extension AMQPMethod.ConnectionSecure where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(longString: challenge)
    }
}

extension AMQPMethod {
    /// connection.secure-ok, 10 21.
    public struct ConnectionSecureOk: Equatable, Sendable {
        public var response: Text

        public init(response: Text = .empty) {
            self.response = response
        }
    }
}

extension AMQPMethod.ConnectionSecureOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        response = try reader.longString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionSecureOk {
        .init(response: bytes.at(response).array)
    }
}

extension AMQPMethod.ConnectionSecureOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(longString: response)
    }
}

extension AMQPMethod {
    /// connection.tune, 10 30.
    public struct ConnectionTune: Equatable, Sendable {
        public var channelMax: UInt16
        public var frameMax: UInt32
        public var heartbeat: UInt16

        public init(channelMax: UInt16 = 0, frameMax: UInt32 = 0, heartbeat: UInt16 = 0) {
            self.channelMax = channelMax
            self.frameMax = frameMax
            self.heartbeat = heartbeat
        }
    }
}

extension AMQPMethod.ConnectionTune where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        channelMax = try reader.short()
        frameMax = try reader.long()
        heartbeat = try reader.short()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionTune {
        .init(channelMax: channelMax, frameMax: frameMax, heartbeat: heartbeat)
    }
}

extension AMQPMethod.ConnectionTune where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(channelMax)
        output.append(frameMax)
        output.append(heartbeat)
    }
}

extension AMQPMethod {
    /// connection.tune-ok, 10 31.
    public struct ConnectionTuneOk: Equatable, Sendable {
        public var channelMax: UInt16
        public var frameMax: UInt32
        public var heartbeat: UInt16

        public init(channelMax: UInt16 = 0, frameMax: UInt32 = 0, heartbeat: UInt16 = 0) {
            self.channelMax = channelMax
            self.frameMax = frameMax
            self.heartbeat = heartbeat
        }
    }
}

extension AMQPMethod.ConnectionTuneOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        channelMax = try reader.short()
        frameMax = try reader.long()
        heartbeat = try reader.short()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionTuneOk {
        .init(channelMax: channelMax, frameMax: frameMax, heartbeat: heartbeat)
    }
}

extension AMQPMethod.ConnectionTuneOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(channelMax)
        output.append(frameMax)
        output.append(heartbeat)
    }
}

extension AMQPMethod {
    /// connection.open, 10 40.
    public struct ConnectionOpen: Equatable, Sendable {
        public var virtualHost: Text
        public var capabilities: Text
        public var insist: Bool

        public init(virtualHost: Text = .empty, capabilities: Text = .empty, insist: Bool = false) {
            self.virtualHost = virtualHost
            self.capabilities = capabilities
            self.insist = insist
        }
    }
}

extension AMQPMethod.ConnectionOpen where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        virtualHost = try reader.shortString()
        capabilities = try reader.shortString()
        let bits = try reader.octet()
        insist = bits & 1 != 0
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionOpen {
        .init(virtualHost: bytes.at(virtualHost).array, capabilities: bytes.at(capabilities).array, insist: insist)
    }
}

extension AMQPMethod.ConnectionOpen where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: virtualHost)
        try output.append(shortString: capabilities)
        output.append((insist ? 1 : 0) as UInt8)
    }
}

extension AMQPMethod {
    /// connection.open-ok, 10 41.
    public struct ConnectionOpenOk: Equatable, Sendable {
        public var knownHosts: Text

        public init(knownHosts: Text = .empty) {
            self.knownHosts = knownHosts
        }
    }
}

extension AMQPMethod.ConnectionOpenOk where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        knownHosts = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionOpenOk {
        .init(knownHosts: bytes.at(knownHosts).array)
    }
}

extension AMQPMethod.ConnectionOpenOk where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: knownHosts)
    }
}

extension AMQPMethod {
    /// connection.close, 10 50.
    public struct ConnectionClose: Equatable, Sendable {
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

extension AMQPMethod.ConnectionClose where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        replyCode = try reader.short()
        replyText = try reader.shortString()
        classID = try reader.short()
        methodID = try reader.short()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionClose {
        .init(replyCode: replyCode, replyText: bytes.at(replyText).array, classID: classID, methodID: methodID)
    }
}

extension AMQPMethod.ConnectionClose where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(replyCode)
        try output.append(shortString: replyText)
        output.append(classID)
        output.append(methodID)
    }
}

extension AMQPMethod {
    /// connection.blocked, 10 60.
    public struct ConnectionBlocked: Equatable, Sendable {
        public var reason: Text

        public init(reason: Text = .empty) {
            self.reason = reason
        }
    }
}

extension AMQPMethod.ConnectionBlocked where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        reason = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionBlocked {
        .init(reason: bytes.at(reason).array)
    }
}

extension AMQPMethod.ConnectionBlocked where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        try output.append(shortString: reason)
    }
}

extension AMQPMethod {
    /// connection.update-secret, 10 70.
    public struct ConnectionUpdateSecret: Equatable, Sendable {
        public var newSecret: Text
        public var reason: Text

        public init(newSecret: Text = .empty, reason: Text = .empty) {
            self.newSecret = newSecret
            self.reason = reason
        }
    }
}

extension AMQPMethod.ConnectionUpdateSecret where Text == ByteRange {
    init(from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        newSecret = try reader.longString()
        reason = try reader.shortString()
    }

    func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]>.ConnectionUpdateSecret {
        .init(newSecret: bytes.at(newSecret).array, reason: bytes.at(reason).array)
    }
}

extension AMQPMethod.ConnectionUpdateSecret where Text == [UInt8] {
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        output.append(longString: newSecret)
        try output.append(shortString: reason)
    }
}
