public import MartletBytes
public import MartletCollections

/// A message to be given to a consumer now.
public struct Delivery: BitwiseCopyable, Sendable {
    /// The consumer's name with its gateway.
    public let token: UInt32
    public let gateway: GatewayID
    /// Whether it must be settled, by `queue` and `position`.
    public let settles: Bool
    /// It has been given out before.
    public let isRedelivered: Bool
    /// The largest of the bindings' opaque options.
    public let opaque: UInt16
    /// All bindings it came through, if the gateway has to be told.
    public let matches: MatchListID
    public let queue: QueueID
    public let consumer: ConsumerID
    public let position: UInt64
    /// The message kept for it; `.none` if nothing is, and the message is the one being published.
    public internal(set) var message: MessageID
    /// It is what the hub kept when the binding was made, not what was just published.
    public internal(set) var isReplay = false
}

/// An acknowledgement that may leave now.
public struct Acknowledgement: BitwiseCopyable, Sendable {
    public let token: UInt32
    public let gateway: GatewayID
    public let tag: UInt64
    public let outcome: PublishOutcome
}

/// What the commands since `removeAll` led to; one for a shard, used again, so that nothing is allocated per message.
public struct Effects: ~Copyable {
    public internal(set) var deliveries = Scratch<Delivery>()
    public internal(set) var acknowledgements = Scratch<Acknowledgement>()
    /// Endpoints that ended: gateway and the gateway's state for it.
    public internal(set) var ended = Scratch<EndedEndpoint>()
    /// Records to be read from the journal of this shard; the answers go to `BrokerCore.arrived`.
    public var reads = Scratch<RecordRead>()
    /// Publishers that fill queues faster than their consumers empty them.
    public internal(set) var crowding = Scratch<Crowding>()
    /// Consumers whose queue was so full that a message for it was dropped.
    public internal(set) var overflowing = Scratch<Overflowing>()
    /// How full the fullest queue is that took the message being published: 0 up to half, 255 when full.
    public internal(set) var fullness: UInt8 = 0
    /// That queue, if it will refuse what it has no room for; `.none`: it will not.
    public internal(set) var fullest = QueueID.none
    /// What became here of the message being published, also if its acknowledgement must wait.
    public internal(set) var outcome = PublishOutcome.routed
    /// Records for the journal (see `JournalRecord`): one block, whose order is this, and the ticket of the last that anybody waits for.
    public var records = ByteBuffer()
    public internal(set) var blockOrder: UInt64 = 0
    public internal(set) var lastTicket: UInt64 = 0
    /// By shard: letters for it (see `PeerMail`), to be sent at the end of the tick. Number n + 1 is shard n's.
    public var mail = Slab<ByteBuffer>()

    public init(shards: Int) {
        for _ in 0..<shards { _ = mail.insert(ByteBuffer()) }
    }

    /// The acknowledgements are out; `body` hears of each endpoint that ended.
    public mutating func removeAnnouncements(_ body: (EndedEndpoint) -> Void) {
        acknowledgements.removeAll()
        for index in 0..<ended.count { body(ended[index]) }
        ended.removeAll()
    }

    /// The consumers have been dealt with.
    public mutating func removeOverflowing() { overflowing.removeAll() }

    /// A consumer is gone: its token may soon be another's.
    public mutating func forgetOverflow(of token: UInt32, _ gateway: GatewayID) {
        for index in 0..<overflowing.count where overflowing[index].token == token && overflowing[index].gateway == gateway {
            overflowing[index] = Overflowing(gateway: gateway, token: 0)
        }
    }

    /// The publishers have been slowed down.
    public mutating func removeCrowding() { crowding.removeAll() }
}

/// A publisher that should be slowed down, by how much.
public struct Crowding: BitwiseCopyable, Sendable {
    public let gateway: GatewayID
    public let token: UInt32
    /// 0: not at all; 255: its next message may find no room.
    public let degree: UInt8
}

/// A consumer that does not keep up.
public struct Overflowing: BitwiseCopyable, Sendable {
    public let gateway: GatewayID
    public let token: UInt32
}

/// An endpoint that is no more.
public struct EndedEndpoint: BitwiseCopyable, Sendable {
    public let gateway: GatewayID
    public let gatewayState: UInt32
}
