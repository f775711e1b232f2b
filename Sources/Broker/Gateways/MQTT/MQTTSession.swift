import MartletCollections
import MartletCore
import MartletMQTTProtocol

/// What the gateway keeps for a session, connected or not: its numbers in the core, and the packet identifiers in use.
struct MQTTSession: ~Copyable {
    let endpoint: EndpointID
    let queue: QueueID
    /// `.none` while nobody is connected.
    var consumer = ConsumerID.none
    /// Made with the first QoS 1 PUBLISH of a connection.
    var publisher = PublisherID.none
    /// The connection's row in the loop; 0 while nobody is connected.
    var slot: UInt32 = 0
    var subscriptions: UInt32 = 0
    /// The largest packet its client takes.
    var packetSizeMax: UInt32 = .max
    var version = MQTTVersion.v5
    /// Position -> packet identifier of what an earlier connection was given and did not acknowledge: it keeps its identifier.
    private var identifiersAgain: [UInt64: UInt16] = [:]
    private var lastIdentifier: UInt16 = 0
    /// Packet identifier of what is under way to the client -> its position in the queue.
    var identifiers = PositionTable<UInt64>()

    init(endpoint: EndpointID, queue: QueueID) {
        self.endpoint = endpoint
        self.queue = queue
    }

    /// A new connection: what was under way is given again by the queue.
    mutating func beginResuming() {
        identifiersAgain = [:]
        for identifier in identifiers.positions {
            if let position = identifiers.value(at: identifier) { identifiersAgain[position] = UInt16(truncatingIfNeeded: identifier) }
        }
    }

    /// The packet identifier that the message at `position` had before, if it had one [MQTT-4.4.0-1].
    mutating func takeIdentifierAgain(for position: UInt64) -> UInt16? {
        identifiersAgain.isEmpty ? nil : identifiersAgain.removeValue(forKey: position)
    }

    /// A packet identifier that is not in use, for the message at `position`. There is one: fewer than 65,535 may be under way.
    @inline(__always) mutating func takeIdentifier(for position: UInt64) -> UInt16 {
        repeat { lastIdentifier = lastIdentifier == .max ? 1 : lastIdentifier &+ 1 } while identifiers.value(at: UInt64(lastIdentifier)) != nil
        identifiers.insert(position, at: UInt64(lastIdentifier))
        return lastIdentifier
    }
}
