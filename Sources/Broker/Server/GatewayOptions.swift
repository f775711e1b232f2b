import MartletAMQPGateway
import MartletAMQPProtocol
import MartletCore
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletWebSocketGateway

// What the gateways and the cores are told of the configuration.

extension MQTTGatewayOptions {
    init(_ configuration: ServerConfiguration) {
        self.init()
        let settings = configuration.mqtt
        limits.packetSizeMax = settings.packetSizeMax
        limits.connectTimeout = settings.connectTimeout
        limits.receiveMaximum = UInt16(settings.receiveMaximum)
        receiveMaximum = UInt16(settings.receiveMaximum)
        queueMessagesMax = UInt32(clamping: settings.queueMessagesMax)
        queueBytesMax = UInt64(settings.queueBytesMax)
        outputBytesMax = settings.outputBytesMax
        sessionExpiryMax = settings.sessionExpiryMax
        limits.topicAliasMax = UInt16(settings.topicAliasMax)
        limits.keepAliveMax = settings.serverKeepAlive == .zero ? nil : UInt16(max(1, settings.serverKeepAlive.components.seconds))
        limits.isStrict = settings.isStrict
        topicAliasMax = UInt16(settings.topicAliasMax)
        deniedFilters = Set(settings.denySubscribe.map { Array($0.utf8) })
        systemTopicsInterval = settings.systemTopicsInterval
        serverVersion = RunningServer.version
        authenticate = configuration.authenticate
    }
}

extension AMQPGatewayOptions {
    init(_ configuration: ServerConfiguration) {
        self.init()
        let settings = configuration.amqp
        limits.frameMax = UInt32(settings.frameMax)
        limits.channelMax = UInt16(settings.channelMax)
        limits.heartbeat = UInt16(settings.heartbeat.components.seconds)
        limits.bodySizeMax = UInt64(settings.messageSizeMax)
        limits.openTimeout = settings.openTimeout
        queueMessagesMax = UInt32(clamping: settings.queueMessagesMax)
        queueBytesMax = UInt64(settings.queueBytesMax)
        memoryMax = configuration.memory / configuration.loops
        virtualHosts = (["/"] + configuration.virtualHosts.filter { $0 != "/" }).map { Array($0.utf8) }
        serverVersion = RunningServer.version
        authenticate = configuration.authenticate
    }
}

extension WebSocketGatewayOptions {
    init(_ configuration: ServerConfiguration) {
        self.init()
        let settings = configuration.webSocket
        messageSizeMax = settings.messageSizeMax
        outputBytesMax = settings.outputBytesMax
        pingInterval = settings.pingInterval
        requestTimeout = settings.requestTimeout
        // Who it is has to be said, as by a CONNECT, and what nobody may subscribe to is the same.
        connectTimeout = configuration.mqtt.connectTimeout
        deniedFilters = Set(configuration.mqtt.denySubscribe.map { Array($0.utf8) })
        mqtt = .mqtt
        authenticate = configuration.authenticate
    }
}

extension CoreLimits {
    init(_ configuration: ServerConfiguration) {
        self.init()
        // Above what holds AMQP's publishers: a refusal is for those who cannot be held, and for what was under way.
        storedBytesMax = configuration.memory / configuration.loops / 2 * 3
        residentBytesMax = configuration.memory / configuration.loops / 2
    }
}

extension ServerConfiguration {
    /// Whether these credentials may come in; without users any may.
    var authenticate: @Sendable (_ name: [UInt8]?, _ password: [UInt8]?) -> Bool {
        guard !users.isEmpty else { return { _, _ in true } }
        let users = users.map { (Array($0.name.utf8), Array($0.password.utf8)) }, acceptsAnonymous = acceptsAnonymous
        return { name, password in
            guard let name else { return acceptsAnonymous }
            // Every user is compared whole, so that the time says nothing of who exists.
            var isKnown = false
            for (known, secret) in users {
                let isName = isEqual(known, name), isSecret = isEqual(secret, password ?? [])
                isKnown = isKnown || isName && isSecret
            }
            return isKnown
        }
    }
}

private func isEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    var difference = a.count ^ b.count
    for index in a.indices { difference |= Int(a[index] ^ (index < b.count ? b[index] : 0)) }
    return difference == 0
}
