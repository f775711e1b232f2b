internal import MartletClient
internal import MartletMQTTProtocol

/// What the server has sent at QoS 1 and 2 and what it is owed for it.
///
/// A message is acknowledged (PUBACK, PUBREC) when every subscription has handed it to its task, in the order of arrival
/// [MQTT-4.6.0-2], [MQTT-4.6.0-3]. So what a task has not taken comes again after a loss; it then lies here still, under the
/// same packet identifier, and is not handed over twice. Invariant: a QoS 2 identifier is known from its PUBLISH to its PUBREL.
struct MQTTReceiving {
    private struct Arrival {
        let identifier: UInt16
        let isExactlyOnce: Bool
        var remaining: Int
        /// A kept session's message that was not taken: it comes again in the next connection.
        var staysUnacknowledged = false
        /// It came in this connection, so that this connection is owed an answer.
        var isOwed = true
    }

    private var arrivals: [UInt64: Arrival] = [:]
    /// Those of `arrivals` that are owed an answer, in their order.
    private var owed = Line<UInt64>()
    private var sequences: [UInt16: UInt64] = [:]
    /// QoS 2: PUBREC has left, PUBREL has not come.
    private var received: Set<UInt16> = []
    private var lastSequence: UInt64 = 0
    private var answers = Line<MQTTClientOutgoing>()

    /// A QoS 1 or 2 message. Answers its sequence, or `nil` when it has been handed over before.
    mutating func arrived(_ publish: MQTTPublish) -> UInt64? {
        let identifier = publish.packetIdentifier, isExactlyOnce = publish.qos == 2
        if isExactlyOnce, received.contains(identifier) {
            answers.append(.pubrec(packetIdentifier: identifier, reason: .success))
            return nil
        }
        if let sequence = sequences[identifier], let arrival = arrivals[sequence] {
            // Without DUP a new message has the identifier: the server gave up the old one (it expired).
            let isTheSame = arrival.isExactlyOnce == isExactlyOnce && (arrival.isOwed ? isExactlyOnce : publish.duplicate)
            if isTheSame {
                if !arrival.isOwed {
                    arrivals[sequence]?.isOwed = true
                    owed.append(sequence)
                }
                return nil
            }
            if !arrival.isOwed { arrivals[sequence] = nil }
        }
        lastSequence += 1
        sequences[identifier] = lastSequence
        arrivals[lastSequence] = Arrival(identifier: identifier, isExactlyOnce: isExactlyOnce, remaining: 0)
        owed.append(lastSequence)
        return lastSequence
    }

    /// So many subscriptions are to hand it over.
    mutating func expect(_ sequence: UInt64, handedOverBy count: Int) { arrivals[sequence]?.remaining = count }

    mutating func released(_ identifier: UInt16) {
        let isKnown = received.remove(identifier) != nil
        answers.append(.pubcomp(packetIdentifier: identifier, reason: isKnown ? .success : .packetIdentifierNotFound))
    }

    mutating func letGo(_ sequence: UInt64, staysUnacknowledged: Bool) {
        guard arrivals[sequence] != nil else { return }
        arrivals[sequence]?.remaining -= 1
        if staysUnacknowledged { arrivals[sequence]?.staysUnacknowledged = true }
        guard let arrival = arrivals[sequence], arrival.remaining <= 0, !arrival.isOwed else { return }
        // Taken after its connection was lost. QoS 2 must be known when it comes again; QoS 1 may come twice.
        if !arrival.isExactlyOnce || arrival.staysUnacknowledged { forget(sequence, arrival.identifier) }
    }

    private mutating func forget(_ sequence: UInt64, _ identifier: UInt16) {
        arrivals[sequence] = nil
        if sequences[identifier] == sequence { sequences[identifier] = nil }
    }

    mutating func answer(through channel: MQTTClientChannel) {
        while let answer = answers.first {
            answers.removeFirst()
            say(answer, through: channel)
        }
        while let sequence = owed.first {
            guard let arrival = arrivals[sequence] else {
                owed.removeFirst()
                continue
            }
            guard arrival.remaining <= 0 else { break }
            owed.removeFirst()
            forget(sequence, arrival.identifier)
            if arrival.staysUnacknowledged { continue }
            if arrival.isExactlyOnce {
                received.insert(arrival.identifier)
                say(.pubrec(packetIdentifier: arrival.identifier, reason: .success), through: channel)
            } else {
                say(.puback(packetIdentifier: arrival.identifier, reason: .success), through: channel)
            }
        }
    }

    private func say(_ answer: MQTTClientOutgoing, through channel: MQTTClientChannel) {
        try? channel.send(answer)
        switch answer {
        case .puback(let identifier, _): channel.session.trace("sending PUBACK (m\(identifier))")
        case .pubrec(let identifier, _): channel.session.trace("sending PUBREC (m\(identifier))")
        case .pubcomp(let identifier, _): channel.session.trace("sending PUBCOMP (m\(identifier))")
        default: break
        }
    }

    /// The connection is gone: what it was owed is not owed to the next, until it comes again.
    mutating func connectionLost() {
        _ = owed.removeAll()
        _ = answers.removeAll()
        for (sequence, arrival) in arrivals {
            if arrival.remaining <= 0, !arrival.isExactlyOnce {
                forget(sequence, arrival.identifier)
            } else {
                arrivals[sequence]?.isOwed = false
            }
        }
    }

    /// The server knows the session no more.
    mutating func sessionLost() {
        arrivals = [:]
        sequences = [:]
        received = []
    }
}
