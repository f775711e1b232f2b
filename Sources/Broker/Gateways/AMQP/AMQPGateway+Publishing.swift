import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletShard

/// What clients publish: at once, in pieces, in confirm mode, in transactions.
extension AMQPGateway {
    /// A whole message, where it lies.
    @inline(__always)
    func publish(
        _ method: AMQPMethod<ByteRange>.BasicPublish, _ header: AMQPContentHeader, body: ByteRange, in bytes: Span<UInt8>, _ number: UInt16,
        _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) {
        let channel = connection.channel(number)
        guard channel != 0 else { return }
        do throws(AMQPException) {
            let traits = try traits(of: header, in: bytes, isMandatory: method.mandatory, isImmediate: method.immediate, connection)
            if channels.value[channel].transaction != nil {
                let assembly = AMQPAssembly(
                    exchange: bytes.at(method.exchange).array, routingKey: bytes.at(method.routingKey).array, isMandatory: method.mandatory)
                assembly.traits = traits
                try count(
                    bytes.at(method.exchange).count + bytes.at(method.routingKey).count + bytes.at(header.properties).count + bytes.at(body).count,
                    of: assembly, connection)
                assembly.properties = bytes.at(header.properties).array
                assembly.body = bytes.at(body).array
                return try stage(assembly, on: channel, connection)
            }
            try publish(
                bytes.at(method.exchange), bytes.at(method.routingKey), traits, bytes.at(header.properties), bytes.at(body), on: channel, connection)
        } catch {
            refuse(error, .basicPublish, number, connection, &machine)
        }
    }

    /// What is checked of a message before it goes anywhere.
    @inline(__always)
    private func traits(
        of header: AMQPContentHeader, in bytes: Span<UInt8>, isMandatory: Bool, isImmediate: Bool, _ connection: AMQPServerConnection
    ) throws(AMQPException) -> AMQPPublicationTraits {
        if isImmediate { throw AMQPException(.notImplemented, "immediate=true") }
        var traits = AMQPPublicationTraits(
            flags: header.deliveryMode == 2 ? .persistent : .atMostOnce, priority: header.priority, lifetime: .max, isMandatory: isMandatory)
        if header.has(.expiration) { traits.lifetime = try lifetime(bytes.at(header.expiration).array) }
        if header.has(.userID), let place = header.place(of: .userID, in: bytes) {
            let user = bytes.at(place).array
            guard user == connection.user else {
                throw AMQPException(
                    .preconditionFailed, "user_id property set to '\(user.text)' but authenticated user was '\(connection.user.text)'")
            }
        }
        return traits
    }

    private func lifetime(_ expiration: [UInt8]) throws(AMQPException) -> UInt64 {
        guard let milliseconds = UInt64(expiration.text) else {
            let digits = expiration.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
            let reason = digits.isEmpty ? "no_integer" : "{leftover_string,\"\(Array(expiration.dropFirst(digits.count)).text)\"}"
            throw AMQPException(.preconditionFailed, "invalid expiration '\(expiration.text)': \(reason)")
        }
        return milliseconds
    }

    @inline(__always)
    private func publish(
        _ exchangeName: Span<UInt8>, _ routingKey: Span<UInt8>, _ traits: AMQPPublicationTraits, _ properties: Span<UInt8>, _ body: Span<UInt8>,
        on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let hub = try hub(toPublishTo: exchangeName, connection)
        var header = MessageHeader(origin: id, flags: traits.flags)
        header.priority = traits.priority
        if traits.lifetime != .max {
            header.expiry = WallTime(milliseconds: shard.core.value.wallTime.milliseconds &+ Int64(clamping: min(traits.lifetime, 1 << 52)))
        }
        seen.value.published &+= 1
        seen.value.publishedBytes &+= UInt64(body.count)
        let outcome: PublishOutcome?
        if hub == shard.router.meetingPoint {
            let address = Address.convert(routingKey, to: .slashes)
            outcome = publish(Message(hub: hub, address: address.span, properties: properties, body: body, header: header), on: channel)
        } else {
            outcome = publish(Message(hub: hub, address: routingKey, properties: properties, body: body, header: header), on: channel)
        }
        if traits.isMandatory, shard.effects.value.outcome == .unroutable { giveBack(exchangeName, routingKey, properties, body, to: channel) }
        if let outcome, channels.value[channel].isConfirming { confirm(channels.value[channel].lastPublished, outcome, on: channel) }
        if shard.effects.value.fullness > 0 || shard.core.value.memoryBytes > options.memoryMax || shard.core.value.isJournalFull { hold(connection) }
    }

    @inline(__always)
    private func hub(toPublishTo exchange: Span<UInt8>, _ connection: AMQPServerConnection) throws(AMQPException) -> HubID {
        let host = connection.virtualHost
        guard let place = virtualHosts.value[host].exchanges.find(exchange) else {
            throw virtualHosts.value[host].resource(.exchange, exchange.array).isMissing
        }
        guard !virtualHosts.value[host].exchanges[place: place].isInternal else {
            throw AMQPException(.accessRefused, "cannot publish to internal \(virtualHosts.value[host].resource(.exchange, exchange.array))")
        }
        return virtualHosts.value[host].exchanges[place: place].hub
    }

    @inline(__always) private func publish(_ message: borrowing Message, on channel: UInt32) -> PublishOutcome? {
        guard channels.value[channel].isConfirming || channels.value[channel].transaction != nil else { return shard.publish(message, through: self) }
        channels.value[channel].lastPublished &+= 1
        return shard.publish(
            message, through: self, from: channels.value[channel].publisher,
            tag: channels.value[channel].isConfirming ? channels.value[channel].lastPublished : 0)
    }

    /// basic.return.
    private func giveBack(
        _ exchange: Span<UInt8>, _ routingKey: Span<UInt8>, _ properties: Span<UInt8>, _ body: Span<UInt8>, to channel: UInt32
    ) {
        let slot = channels.value[channel].slot
        seen.value.returned &+= 1
        shard.loop.willWrite(slot)
        AMQPServerEncoder.noRoute(
            channel: channels.value[channel].number, from: AMQPOrigin(exchange: exchange, routingKey: routingKey), properties: properties, body: body,
            frameMax: channels.value[channel].frameMax, into: &outputs[slot])
    }

    // MARK: In pieces

    /// basic.publish whose content comes in pieces.
    func beginAssembly(_ method: AMQPMethod<ByteRange>.BasicPublish, in bytes: Span<UInt8>, on channel: UInt32) {
        let assembly = AMQPAssembly(
            exchange: bytes.at(method.exchange).array, routingKey: bytes.at(method.routingKey).array, isMandatory: method.mandatory)
        assembly.isImmediate = method.immediate
        channels.value[channel].assembly = assembly
    }

    func begin(
        _ header: AMQPContentHeader, in bytes: Span<UInt8>, _ number: UInt16, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) {
        let channel = connection.channel(number)
        guard channel != 0, let assembly = channels.value[channel].assembly else { return }
        do throws(AMQPException) {
            assembly.traits = try traits(
                of: header, in: bytes, isMandatory: assembly.traits.isMandatory, isImmediate: assembly.isImmediate, connection)
            try count(assembly.exchange.count + assembly.routingKey.count + bytes.at(header.properties).count, of: assembly, connection)
            assembly.properties = bytes.at(header.properties).array
            if header.bodySize == 0 { try finish(assembly, on: channel, connection) }
        } catch {
            refuse(error, .basicPublish, number, connection, &machine)
        }
    }

    func goOn(
        _ piece: Span<UInt8>, remaining: UInt64, _ number: UInt16, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) {
        let channel = connection.channel(number)
        guard channel != 0, let assembly = channels.value[channel].assembly else { return }
        do throws(AMQPException) {
            try count(piece.count, of: assembly, connection)
            assembly.body += piece.array
            guard remaining == 0 else { return }
            try finish(assembly, on: channel, connection)
        } catch {
            refuse(error, .basicPublish, number, connection, &machine)
        }
    }

    private func finish(_ assembly: AMQPAssembly, on channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        channels.value[channel].assembly = nil
        if channels.value[channel].transaction != nil { return try stage(assembly, on: channel, connection) }
        uncount(assembly, connection)
        try publish(assembly, on: channel, connection)
    }

    private func publish(_ assembly: AMQPAssembly, on channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        let exchange = assembly.exchange, routingKey = assembly.routingKey, properties = assembly.properties, body = assembly.body
        try publish(exchange.span, routingKey.span, assembly.traits, properties.span, body.span, on: channel, connection)
    }

    // MARK: Confirms

    func selectConfirms(noWait: Bool, on channel: UInt32) throws(AMQPException) {
        if channels.value[channel].transaction != nil { throw AMQPException(.preconditionFailed, "cannot switch from tx to confirm mode") }
        if !channels.value[channel].isConfirming {
            channels.value[channel].isConfirming = true
            channels.value[channel].publisher = shard.core.value.openPublisher(gateway: id, token: channel)
        }
        if !noWait { say(.confirmSelectOk, on: channel) }
    }

    /// An acknowledgement that the core released: of a message, or of a transaction.
    func confirm(_ acknowledgement: Acknowledgement) {
        let channel = acknowledgement.token
        if channels.value[channel].isConfirming { return confirm(acknowledgement.tag, acknowledgement.outcome, on: channel) }
        if acknowledgement.tag == Self.commitTag { say(.txCommitOk, on: channel) }
    }

    /// The publisher's messages are answered in order, so those up to this one are told at once, at the end of the tick.
    private func confirm(_ tag: UInt64, _ outcome: PublishOutcome, on channel: UInt32) {
        seen.value.confirmed &+= 1
        if outcome == .refused {
            tellConfirms(of: channel)
            channels.value[channel].confirmed = tag
            channels.value[channel].told = tag
            return say(.basicNack(.init(deliveryTag: tag, multiple: false, requeue: false)), on: channel)
        }
        if channels.value[channel].confirmed == channels.value[channel].told { confirming.value.append(channel) }
        channels.value[channel].confirmed = tag
    }

    func tellConfirms() {
        for channel in confirming.value { tellConfirms(of: channel) }
        confirming.value.removeAll(keepingCapacity: true)
    }

    /// Before it is told that it, or a channel of it, is closed.
    func tellConfirms(of connection: AMQPServerConnection) { for (_, channel) in connection.channels { tellConfirms(of: channel) } }

    func tellConfirms(of channel: UInt32) {
        let confirmed = channels.value[channel].confirmed, told = channels.value[channel].told
        guard confirmed > told else { return }
        let slot = channels.value[channel].slot
        shard.loop.willWrite(slot)
        AMQPServerEncoder.ack(channel: channels.value[channel].number, deliveryTag: confirmed, multiple: confirmed > told + 1, into: &outputs[slot])
        channels.value[channel].told = confirmed
    }

    // MARK: Transactions

    static var commitTag: UInt64 { .max }

    func selectTransactions(on channel: UInt32) throws(AMQPException) {
        if channels.value[channel].isConfirming { throw AMQPException(.preconditionFailed, "cannot switch from confirm to tx mode") }
        if channels.value[channel].transaction == nil {
            channels.value[channel].transaction = AMQPTransaction()
            channels.value[channel].publisher = shard.core.value.openPublisher(gateway: id, token: channel)
        }
        say(.txSelectOk, on: channel)
    }

    /// An exchange that is not there is an error now, as without a transaction; everything else waits for tx.commit.
    private func stage(_ publication: AMQPAssembly, on channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        let exchange = publication.exchange
        _ = try hub(toPublishTo: exchange.span, connection)
        channels.value[channel].transaction?.publications.append(publication)
    }

    /// Bytes of a message that cannot be published yet.
    private func count(_ bytes: Int, of assembly: AMQPAssembly, _ connection: AMQPServerConnection) throws(AMQPException) {
        let bytes = bytes + (assembly.countedBytes == 0 ? AMQPAssembly.fixedBytes : 0)
        let most = max(options.unfinishedBytesMax, Int(clamping: options.limits.bodySizeMax) + (1 << 20))
        guard connection.unfinishedBytes + bytes <= most, unfinishedBytes + bytes <= options.memoryMax else {
            uncount(assembly, connection)
            seen.value.overLimit += 1
            throw AMQPException(.contentTooLarge, "messages under way or in transactions hold more than \(min(most, options.memoryMax)) bytes")
        }
        assembly.countedBytes += bytes
        connection.unfinishedBytes += bytes
        unfinishedBytes += bytes
    }

    func uncount(_ assembly: AMQPAssembly, _ connection: AMQPServerConnection) {
        connection.unfinishedBytes -= assembly.countedBytes
        unfinishedBytes -= assembly.countedBytes
        assembly.countedBytes = 0
    }

    func commit(_ channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        guard let transaction = channels.value[channel].transaction else { throw AMQPException(.preconditionFailed, "channel is not transactional") }
        let publications = transaction.publications, acknowledgements = transaction.acknowledgements
        // All or nothing, as far as can be told before; what was acknowledged is the channel's as long as anything may throw.
        for publication in publications {
            let exchange = publication.exchange
            _ = try hub(toPublishTo: exchange.span, connection)
        }
        transaction.publications = []
        for publication in publications { uncount(publication, connection) }
        var isRefused = false
        for publication in publications {
            try publish(publication, on: channel, connection)
            if shard.effects.value.outcome == .refused { isRefused = true }
        }
        if isRefused { throw AMQPException(.preconditionFailed, "partial tx completion") }
        transaction.acknowledgements = []
        for acknowledgement in acknowledgements { settle(acknowledgement.entry, acknowledgement.settlement) }
        if !acknowledgements.isEmpty { shard.core.value.awaitEnds(&shard.effects.value) }
        if shard.core.value.confirm(channels.value[channel].publisher, tag: Self.commitTag) != nil { say(.txCommitOk, on: channel) }
    }

    func rollBack(_ channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        guard let transaction = channels.value[channel].transaction else { throw AMQPException(.preconditionFailed, "channel is not transactional") }
        for acknowledgement in transaction.acknowledgements {
            channels.value[channel].unacknowledged.insert(acknowledgement.entry, at: acknowledgement.tag)
            channels.value[channel].oldestTag = min(channels.value[channel].oldestTag, acknowledgement.tag)
        }
        for publication in transaction.publications { uncount(publication, connection) }
        transaction.publications = []
        transaction.acknowledgements = []
        say(.txRollbackOk, on: channel)
    }
}
