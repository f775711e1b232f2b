internal import MartletClient
internal import MartletMQTTProtocol

/// Publications on their way: those that wait, and those whose acknowledgement does.
///
/// Invariants: PUBLISH leaves in the order of the calls, PUBREL in that of the PUBRECs [MQTT-4.6.0-4]; after a resumed session
/// both are sent again in their original order, with DUP and their old packet identifiers [MQTT-4.4.0-1], before anything new.
/// A session that the server has lost begins anew: what it had not yet taken over (no PUBREC) is published again as if for the
/// first time; what it had is done, since a second copy would not be "exactly once".
struct MQTTPublishing {
    private struct Flight {
        var publication: MQTTPublication
        /// The place of its last packet among all that were sent: resending goes by it.
        var order: UInt64
        var isReleased = false
        /// It counts for the server's receive maximum.
        var isOnWire = true
    }

    private let limits: MQTTClientLimits
    private let windowWanted: Int
    private let aliasMaxWanted: UInt16
    private var waiting = Line<MQTTPublication>()
    private var waitingBytes = 0
    private var flights: [UInt16: Flight] = [:]
    private var order: UInt64 = 0
    /// PUBREC has come, PUBREL has not left.
    private var releasing = Line<UInt16>()
    private var resending = Line<UInt16>()

    // Of one connection.
    private var window: Int
    private var onWire = 0
    private var aliasMax: UInt16 = 0
    private var aliases: [[UInt8]: UInt16] = [:]

    init(_ options: MQTTClientOptions) {
        limits = options.limits
        windowWanted = options.version == .v5 ? options.limits.unacknowledgedMax : options.limits.unacknowledgedBeforeV5Max
        window = windowWanted
        aliasMaxWanted = options.version == .v5 ? options.publishAliasMax : 0
    }

    var isIdle: Bool { waiting.isEmpty && flights.isEmpty }

    // MARK: From the tasks

    /// While there is no connection, `isOffline`, only so many wait.
    mutating func add(_ publications: [MQTTPublication], isOffline: Bool, server: String) {
        for publication in publications {
            let size = publication.size
            if isOffline, waiting.count >= limits.offlineCountMax || waitingBytes + size > limits.offlineBytesMax {
                dropAbandoned()
                guard waiting.count < limits.offlineCountMax, waitingBytes + size <= limits.offlineBytesMax else {
                    publication.complete(.offlineQueueFull(server: server, count: waiting.count))
                    continue
                }
            }
            waitingBytes += size
            waiting.append(publication)
        }
    }

    /// Cancelled tasks leave their messages behind; a queue that is full makes room of them.
    private mutating func dropAbandoned() {
        let kept = waiting.removeAll().filter { !$0.isAbandoned }
        waitingBytes = kept.reduce(0) { $0 + $1.size }
        waiting.append(contentsOf: kept)
    }

    // MARK: From the server

    mutating func opened(_ connack: MQTTConnack.Received, _ identifiers: inout MQTTIdentifiers) {
        window = min(windowWanted, Int(connack.receiveMaximum ?? .max))
        aliasMax = min(aliasMaxWanted, connack.topicAliasMax ?? 0)
        aliases = [:]
        onWire = 0
        _ = releasing.removeAll()
        let underWay = flights.sorted { $0.value.order < $1.value.order }
        if connack.sessionPresent {
            for (identifier, _) in underWay { flights[identifier]?.isOnWire = false }
            resending = Line()
            resending.append(contentsOf: underWay.map(\.key))
            return
        }
        flights = [:]
        for (identifier, _) in underWay { identifiers.giveBack(identifier) }
        for (_, flight) in underWay where flight.isReleased { flight.publication.complete() }
        let rest = waiting.removeAll()
        waiting.append(contentsOf: underWay.filter { !$0.value.isReleased }.map(\.value.publication) + rest)
    }

    /// PUBACK and PUBCOMP.
    mutating func acknowledged(_ identifier: UInt16, _ reason: MQTTReason, _ identifiers: inout MQTTIdentifiers) {
        guard let flight = flights[identifier] else { return }
        // "Packet identifier not found" in PUBCOMP: the server has done with it, and says so twice.
        let isRefused = reason.isFailure && !flight.isReleased
        land(identifier, isRefused ? .rejected(.publish(topic: flight.publication.topic), reason) : nil, &identifiers)
    }

    mutating func received(_ identifier: UInt16, _ reason: MQTTReason, _ identifiers: inout MQTTIdentifiers) {
        guard let flight = flights[identifier] else {
            // Nothing is known of it: PUBREL has been answered, or was never owed. The answer ends it.
            return releasing.append(identifier)
        }
        if reason.isFailure { return land(identifier, .rejected(.publish(topic: flight.publication.topic), reason), &identifiers) }
        flights[identifier]?.isReleased = true
        releasing.append(identifier)
    }

    private mutating func land(_ identifier: UInt16, _ failure: MQTTClientError?, _ identifiers: inout MQTTIdentifiers) {
        guard let flight = flights.removeValue(forKey: identifier) else { return }
        if flight.isOnWire { onWire -= 1 }
        identifiers.giveBack(identifier)
        flight.publication.complete(failure)
    }

    // MARK: To the server

    /// Sends what may be sent. Answers false if the socket takes no more for now.
    mutating func pump(through channel: MQTTClientChannel, _ identifiers: inout MQTTIdentifiers) -> Bool {
        release(through: channel)
        while let identifier = resending.first {
            guard channel.takesMore else { return false }
            guard let flight = flights[identifier] else {
                resending.removeFirst()
                continue
            }
            guard flight.isReleased || onWire < window else { return true }
            resending.removeFirst()
            resend(identifier, flight, through: channel, &identifiers)
        }
        while let next = waiting.first {
            if next.isAbandoned {
                removeFirst()
                continue
            }
            guard channel.takesMore else { return false }
            var identifier: UInt16 = 0
            if next.message.qos > 0 {
                guard onWire < window, let free = identifiers.take() else { return true }
                identifier = free
            }
            removeFirst()
            publish(next, identifier, through: channel, &identifiers)
        }
        return true
    }

    private mutating func removeFirst() {
        if let first = waiting.first { waitingBytes -= first.size }
        waiting.removeFirst()
    }

    private mutating func publish(
        _ publication: MQTTPublication, _ identifier: UInt16, through channel: MQTTClientChannel, _ identifiers: inout MQTTIdentifiers
    ) {
        do throws(MQTTMisuse) {
            try send(publication, identifier, isAgain: false, through: channel)
        } catch {
            if identifier > 0 { identifiers.giveBack(identifier) }
            return publication.complete(.misuse(.publish(topic: publication.topic), error))
        }
        guard identifier > 0 else { return publication.complete() }
        flights[identifier] = Flight(publication: publication, order: takeOrder())
        onWire += 1
    }

    private mutating func resend(_ identifier: UInt16, _ flight: Flight, through channel: MQTTClientChannel, _ identifiers: inout MQTTIdentifiers) {
        do throws(MQTTMisuse) {
            if flight.isReleased {
                try sendRelease(identifier, .success, through: channel)
            } else {
                try send(flight.publication, identifier, isAgain: true, through: channel)
            }
        } catch {
            return land(identifier, .misuse(.publish(topic: flight.publication.topic), error), &identifiers)
        }
        flights[identifier]?.isOnWire = true
        onWire += 1
    }

    private mutating func release(through channel: MQTTClientChannel) {
        while let identifier = releasing.first {
            releasing.removeFirst()
            let isKnown = flights[identifier] != nil
            try? sendRelease(identifier, isKnown ? .success : .packetIdentifierNotFound, through: channel)
            let order = takeOrder()
            if isKnown { flights[identifier]?.order = order }
        }
    }

    private func sendRelease(_ identifier: UInt16, _ reason: MQTTReason, through channel: MQTTClientChannel) throws(MQTTMisuse) {
        try channel.send(.pubrel(packetIdentifier: identifier, reason: reason))
        channel.session.trace("sending PUBREL (m\(identifier))")
    }

    private mutating func send(_ publication: MQTTPublication, _ identifier: UInt16, isAgain: Bool, through channel: MQTTClientChannel) throws(MQTTMisuse) {
        var publish = publication.message
        publish.packetIdentifier = identifier
        publish.duplicate = isAgain
        let alias = giveAlias(&publish)
        do throws(MQTTMisuse) {
            try channel.send(.publish(publish))
        } catch {
            if let alias { aliases[alias] = nil }
            throw error
        }
        channel.session.trace(
            "sending PUBLISH (d\(isAgain ? 1 : 0), q\(publish.qos), r\(publish.retain ? 1 : 0), m\(identifier), '\(publication.topic)', \(publish.payload.count) bytes)"
        )
    }

    /// The topic that got an alias now: forgotten if its packet does not leave.
    private mutating func giveAlias(_ publish: inout MQTTPublish.Owned) -> [UInt8]? {
        guard aliasMax > 0, !publish.topic.isEmpty else { return nil }
        if let alias = aliases[publish.topic] {
            publish.properties += [MQTTPropertyIdentifier.topicAlias.rawValue, UInt8(alias >> 8), UInt8(alias & 255)]
            publish.topic = []
            return nil
        }
        guard aliases.count < Int(aliasMax) else { return nil }
        let alias = UInt16(aliases.count + 1)
        aliases[publish.topic] = alias
        publish.properties += [MQTTPropertyIdentifier.topicAlias.rawValue, UInt8(alias >> 8), UInt8(alias & 255)]
        return publish.topic
    }

    private mutating func takeOrder() -> UInt64 {
        order += 1
        return order
    }

    // MARK: The end

    mutating func end(_ error: MQTTClientError) {
        for publication in waiting.removeAll() { publication.complete(error) }
        for flight in flights.values { flight.publication.complete(error) }
        flights = [:]
        _ = resending.removeAll()
        _ = releasing.removeAll()
        waitingBytes = 0
    }
}
