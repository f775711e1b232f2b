import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore

/// A message that a client has and has not acknowledged.
struct AMQPUnacknowledged: BitwiseCopyable {
    /// Its queue's number with the gateway, and its place there.
    let queue: UInt32
    let position: UInt64
}

/// One channel of a connection.
struct AMQPChannel: ~Copyable {
    let slot: UInt32
    let number: UInt16
    let frameMax: UInt32

    /// The delivery tag of the last message that went out.
    var lastTag: UInt64 = 0
    /// By delivery tag; none is below `oldestTag`.
    var unacknowledged = PositionTable<AMQPUnacknowledged>()
    var oldestTag: UInt64 = 1
    /// Its first consumer's number; 0: none.
    var firstConsumer: UInt32 = 0
    /// For consumers to come, and for all together; 0: no limit.
    var prefetch: UInt32 = 0
    var credit = CreditID.none
    /// The queue that a method without a name means.
    var lastQueue: [UInt8] = []

    /// In confirm mode or transactional.
    var publisher = PublisherID.none
    var isConfirming = false
    /// The number of the last message published in confirm mode.
    var lastPublished: UInt64 = 0
    /// Confirmed up to, and told up to.
    var confirmed: UInt64 = 0
    var told: UInt64 = 0
    var transaction: AMQPTransaction?
    /// A message that comes in pieces.
    var assembly: AMQPAssembly?

    init(slot: UInt32, number: UInt16, frameMax: UInt32) {
        self.slot = slot
        self.number = number
        self.frameMax = frameMax
    }
}

/// A consumer, which the core knows by its number.
struct AMQPConsumer: ~Copyable {
    private let tag: OwnedBytes
    let channel: UInt32
    let queue: UInt32
    let slot: UInt32
    let number: UInt16
    let frameMax: UInt32
    var id = ConsumerID.none
    /// Its neighbours among those of its channel, and of its queue.
    var nextOfChannel: UInt32 = 0
    var previousOfChannel: UInt32 = 0
    var nextOfQueue: UInt32 = 0
    var previousOfQueue: UInt32 = 0

    init(tag: [UInt8], channel: UInt32, queue: UInt32, slot: UInt32, number: UInt16, frameMax: UInt32) {
        self.tag = OwnedBytes(copying: tag.span)
        self.channel = channel
        self.queue = queue
        self.slot = slot
        self.number = number
        self.frameMax = frameMax
    }

    @inline(__always) func withTag<Answer>(_ body: (Span<UInt8>) -> Answer) -> Answer { body(tag.span) }
}

/// What a publication says beside its bytes, checked.
struct AMQPPublicationTraits: BitwiseCopyable {
    var flags: MessageHeader.Flags
    var priority: UInt8
    /// Milliseconds from its arrival; `.max`: for ever.
    var lifetime: UInt64
    var isMandatory: Bool
}

/// A message on its way in, of which not everything is there.
final class AMQPAssembly {
    let exchange: [UInt8]
    let routingKey: [UInt8]
    var traits = AMQPPublicationTraits(flags: [], priority: 0, lifetime: .max, isMandatory: false)
    var properties: [UInt8] = []
    var body: [UInt8] = []
    var isImmediate = false
    /// What one weighs without its bytes.
    static var fixedBytes: Int { 256 }
    /// What it is counted as (`AMQPServerConnection.unfinishedBytes`).
    var countedBytes = 0

    init(exchange: [UInt8], routingKey: [UInt8], isMandatory: Bool) {
        self.exchange = exchange
        self.routingKey = routingKey
        traits.isMandatory = isMandatory
    }
}

/// What a transactional channel has collected.
final class AMQPTransaction {
    struct Acknowledgement {
        let tag: UInt64
        let entry: AMQPUnacknowledged
        let settlement: Settlement
    }
    var publications: [AMQPAssembly] = []
    var acknowledgements: [Acknowledgement] = []
}
