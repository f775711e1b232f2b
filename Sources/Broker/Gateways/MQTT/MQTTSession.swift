import MartletCollections
import MartletCore
import MartletMQTTProtocol

/// What the gateway keeps for a session, connected or not: its numbers in the core, and the packet identifiers in use.
struct MQTTSession: ~Copyable {
    /// How its client is reached: what each delivery looks at.
    struct Reach: BitwiseCopyable {
        /// The connection's row in the loop; 0 while nobody is connected.
        var slot: UInt32 = 0
        /// The largest packet its client takes.
        var packetSizeMax: UInt32 = .max
        var version = MQTTVersion.v5
        /// Its client takes topic aliases: its PUBLISH packets are its own.
        var takesAliases = false
    }
    let endpoint: EndpointID
    let queue: QueueID
    /// `.none` while nobody is connected.
    var consumer = ConsumerID.none
    /// Made with the first QoS 1 or 2 PUBLISH of a connection.
    var publisher = PublisherID.none
    var reach = Reach()
    var subscriptions: UInt32 = 0
    /// What the journal holds of it: its number in `MQTTGateway.definitions`; 0: nothing.
    var definitions: UInt32 = 0
    /// QoS 1 and 2 messages that may be under way to the client.
    var window: UInt16 = .max
    private var lastIdentifier: UInt16 = 0
    /// Packet identifier of what is under way to the client -> its position in the queue, and whether PUBREL was sent for it.
    private var identifiers = PositionTable<UInt64>()
    /// Position -> packet identifier of what an earlier connection was given and did not acknowledge: it keeps its identifier.
    private var identifiersAgain: [UInt64: UInt16] = [:]
    /// Packet identifiers of QoS 2 messages that the client has sent and not yet released, and their definitions in the journal.
    private var unreleased = PositionTable<JournalName>()
    private static let released: UInt64 = 1 << 63

    init(endpoint: EndpointID, queue: QueueID) {
        self.endpoint = endpoint
        self.queue = queue
    }

    // MARK: To the client

    /// A packet identifier that is not in use, for the message at `position`. There is one: fewer than 65,535 may be under way.
    @inline(__always) mutating func takeIdentifier(for position: UInt64) -> UInt16 {
        repeat { lastIdentifier = lastIdentifier == .max ? 1 : lastIdentifier &+ 1 } while identifiers.value(at: UInt64(lastIdentifier)) != nil
        identifiers.insert(position, at: UInt64(lastIdentifier))
        return lastIdentifier
    }

    /// The packet identifier that the message at `position` had before, if it had one [MQTT-4.4.0-1].
    mutating func takeIdentifierAgain(for position: UInt64) -> UInt16? {
        identifiersAgain.isEmpty ? nil : identifiersAgain.removeValue(forKey: position)
    }

    /// PUBACK, PUBCOMP, or a PUBREC that refuses: the identifier is free, and this is where its message was.
    @inline(__always) mutating func freeIdentifier(_ identifier: UInt16) -> UInt64? {
        if !identifiersAgain.isEmpty, isToComeAgain(identifier) { return nil }
        return identifiers.remove(UInt64(identifier)).map { $0 & ~Self.released }
    }

    /// Its message waits to be given again: what the client says of it is about an earlier connection's.
    @inline(never) private func isToComeAgain(_ identifier: UInt16) -> Bool {
        guard let position = identifiers.value(at: UInt64(identifier)) else { return false }
        return identifiersAgain[position & ~Self.released] == identifier
    }

    /// PUBREC: where its message is, if it was not released before; nil if the identifier is not in use.
    mutating func release(_ identifier: UInt16) -> (position: UInt64, isFirst: Bool)? {
        guard let position = identifiers.value(at: UInt64(identifier)), identifiersAgain.isEmpty || !isToComeAgain(identifier) else { return nil }
        _ = identifiers.update(UInt64(identifier)) { $0 |= Self.released }
        return (position & ~Self.released, position & Self.released == 0)
    }

    /// A new connection; `held`: what the queue has given out before, in order. What is under way is given again by the queue; the
    /// answer is what was received already and waits for its PUBREL to be sent again. Identifiers of anything else are free.
    mutating func beginResuming(_ held: [(position: UInt64, isReceived: Bool)]) -> [UInt16] {
        var inUse: [UInt64: UInt16] = [:]
        for identifier in identifiers.positions {
            if let position = identifiers.value(at: identifier) { inUse[position & ~Self.released] = UInt16(truncatingIfNeeded: identifier) }
        }
        identifiersAgain = [:]
        var received: [UInt16] = []
        for (position, isReceived) in held {
            guard let identifier = inUse.removeValue(forKey: position) else { continue }
            if isReceived { received.append(identifier) } else { identifiersAgain[position] = identifier }
        }
        for identifier in inUse.values { _ = identifiers.remove(UInt64(identifier)) }
        return received
    }

    /// It was under way before a restart.
    mutating func restore(_ identifier: UInt16, at position: UInt64, isReceived: Bool) {
        identifiers.insert(isReceived ? position | Self.released : position, at: UInt64(identifier))
    }

    /// Whether the identifier is in use.
    func isInUse(_ identifier: UInt16) -> Bool { identifiers.value(at: UInt64(identifier)) != nil }

    // MARK: From the client

    /// A QoS 2 PUBLISH has come; false if it came before and was not released since [MQTT-4.3.3-10].
    mutating func receive(_ identifier: UInt16, as name: JournalName = .none) -> Bool {
        guard unreleased.value(at: UInt64(identifier)) == nil else { return false }
        unreleased.insert(name, at: UInt64(identifier))
        return true
    }

    /// What the journal calls it.
    mutating func name(_ identifier: UInt16, _ name: JournalName) { _ = unreleased.update(UInt64(identifier)) { $0 = name } }

    /// PUBREL has come, or the message was refused; nil if none of that identifier was received.
    mutating func forget(_ identifier: UInt16) -> JournalName? { unreleased.remove(UInt64(identifier)) }

    var unreleasedNames: [JournalName] { unreleased.positions.compactMap { unreleased.value(at: $0) } }
}
