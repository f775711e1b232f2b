import MartletBytes
import MartletCollections
import MartletCore
import MartletMQTTProtocol

/// What the journal holds of a session that outlives its connection, beside the messages in its queue. Each is a definition, big-endian; all
/// begin with `home 4 · the queue's serial number 8`:
/// ```
/// 1 session       lifetime 8, milliseconds · when its connection ended 8, milliseconds since 1970, the largest: it has not · client identifier
/// 2 will          delay 4 · lifetime 8, both in seconds; -1: for ever · flags 1 · counts of topic, properties, payload 3x4 · their bytes
/// 3 subscription  options 1, as in SUBSCRIBE · subscription identifier 4 · topic filter
/// 4 received      packet identifier 2, of a QoS 2 message that the client has sent and not released
/// 5 under way     packet identifier 2, of a QoS 2 message to the client · 1 once PUBREC has come, else 0 · the message's order 8 · how it is
///                 given 2 (`MQTTBindingOptions`)
/// ```
/// `home` is a hash of the client identifier: the shard `home % number of shards` restores all of it.
struct MQTTDefinitions: ~Copyable {
    enum Kind: UInt8 { case session = 1, will, subscription, received, underWay }

    /// An answer of the journal's that one packet waits for.
    struct Waiting: BitwiseCopyable {
        /// PUBREL; else PUBLISH.
        let isRelease: Bool
        let identifier: UInt16
        let isDuplicate: Bool
        /// The message's, in the queue.
        let position: UInt64
        /// `.max`: this tick's last, which is not known yet.
        var ticket: UInt64 = .max
    }
    let home: UInt32
    var session = JournalName.none
    /// By packet identifier: the definition of what is under way to the client.
    var underWay = PositionTable<JournalName>()
    /// Packets to the client that wait for the disk, in their order.
    var waiting = Ring<Waiting>()
    /// It is among `MQTTPending.waiting`, `.unwritten`.
    var isWaiting = false
    var isUnwritten = false
    /// SUBACKs and UNSUBACKs that wait for the disk, in their order.
    var answers: [MQTTServerOutgoing] = []

    init(home: UInt32) { self.home = home }

    /// The same in every run of the server.
    static func home(of clientID: Span<UInt8>) -> UInt32 { UInt32(truncatingIfNeeded: clientID.hash(seed: 0)) }
}

/// What one tick or the next completion of the journal is to look at.
struct MQTTPending: ~Copyable {
    /// Sessions with packets that wait for the disk.
    var waiting: [UInt32] = []
    /// Those among them with a packet of this tick's.
    var unwritten: [UInt32] = []
    /// Definitions that end with this tick.
    var ending: [JournalName] = []
    /// Sessions that were restored, and when their connections ended; `.never`: with the server, which has to be written down. Their time
    /// runs on once there is a journal.
    var absent: [(session: UInt32, ended: WallTime)] = []
    /// Connections whose CONNACK waits for the disk, in their order, and up to where; `.max`: this tick's last, which is not known yet.
    var greetings: [(channel: MQTTServerChannel, ticket: UInt64)] = []
    /// A definition on its way to the journal.
    var bytes = ByteBuffer()
    /// While the server starts.
    var restored = MQTTRestored()
}

/// What is known while definitions come back.
struct MQTTRestored {
    /// By the queue's serial number: the session's number.
    var sessions: [UInt64: UInt32] = [:]
    /// What was under way to clients.
    var underWay: [(session: UInt32, identifier: UInt16, order: UInt64)] = []
}
