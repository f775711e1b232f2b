import MartletBytes
import MartletCollections

/// What a queue is to be. Many queues share one policy; the core keeps each once.
public struct QueuePolicy: Hashable, Sendable {
    /// Survives a restart; persistent messages in it go through the journal.
    public var isDurable = false
    /// A session: what may be lost goes straight to its consumer or nowhere, never into the queue.
    public var passesAtMostOnce = false
    /// Messages it holds, ready and unacknowledged; what comes beyond is treated as `overflow` says.
    public var messagesMax: UInt32 = 1_000_000
    /// Bytes it holds, address, properties and body.
    public var bytesMax: UInt64 = 1 << 30
    public var overflow = Overflow.refuse
    /// Where rejected messages go, under their own address; `.none`: nowhere.
    public var rejectHub = HubID.none

    public enum Overflow: UInt8, Hashable, Sendable {
        /// The publisher is told (nack, 0x97).
        case refuse
        /// The oldest ready message makes room.
        case dropOldest
        /// It is dropped for this queue and counted. The publisher is not told; a consumer that the queue has is (`Effects.overflowing`).
        case dropNewest
    }

    public init() {}
}

/// Messages in the order they came, waiting for consumers or for their settlement. MQTT sessions and AMQP queues *have* one.
///
/// Invariant: a position is given once and never changes, also by a requeue; positions grow in the order of arrival.
/// Not here: packet identifiers and delivery tags (gateways), and where messages come from (Router).
public struct Queue: ~Copyable {
    let policy: UInt16
    /// No other queue of the server has or had it, also before a restart.
    let serial: UInt64
    /// Its replays are to go on in this tick.
    var isReplaying = false
    /// Its pump was cut short, and goes on in the next tick.
    var isUnfinished = false
    /// It draws from groups.
    var isMember = false
    /// The consumer whose turn is next, in a ring; 0: none.
    var nextConsumer: UInt32 = 0
    /// From here to the ring's end nobody can take anything, so nobody asks them; 0: none such is known. `nextConsumer`: they all are.
    var firstParked: UInt32 = 0
    /// Messages it holds; made with the first, so that a queue that only passes things on stays small.
    var backlog: UInt32 = 0
    /// Its bindings in the router.
    var bindingChain: UInt32 = 0
    /// The first of its replays, in a ring; 0: none.
    var replay: UInt32 = 0

    init(policy: UInt16, serial: UInt64) {
        self.policy = policy
        self.serial = serial
    }
}

/// A message that waits in a queue. Without a message: a place whose entry is gone.
struct Entry: BitwiseCopyable {
    var message: MessageID
    var matches: MatchListID
    var opaque: UInt16
    private var bits: UInt16
    /// It is a group's (`BrokerCore.origins`); 0: it is not.
    var origin: UInt32 = 0
    /// What the journal calls it.
    var name: JournalName
    private static let replayBit: UInt16 = 0x8000
    private static let recoveredBit: UInt16 = 0x4000
    private static let deliveriesMax: UInt16 = 0x3FFF

    init(message: MessageID, matches: MatchListID, opaque: UInt16, name: JournalName = .none, isReplay: Bool = false, isRecovered: Bool = false) {
        self.message = message
        self.matches = matches
        self.opaque = opaque
        self.name = name
        bits = (isReplay ? Self.replayBit : 0) | (isRecovered ? Self.recoveredBit : 0)
    }

    /// How often it has been given out in this run of the server; 16,383 stands for more, too.
    var deliveries: UInt16 {
        get { bits & Self.deliveriesMax }
        set { bits = bits & ~Self.deliveriesMax | min(newValue, Self.deliveriesMax) }
    }
    /// It has been given out before, or may have been before a restart.
    var isRedelivered: Bool { bits & (Self.deliveriesMax | Self.recoveredBit) != 0 }
    /// It is what a hub kept, not what was just published.
    var isReplay: Bool { bits & Self.replayBit != 0 }
}

/// A message that a consumer has and has not settled.
struct Unsettled: BitwiseCopyable {
    var entry: Entry
    var consumer: ConsumerID
    /// The consumer has it for good (QoS 2 after PUBREC), but its name is still in use: the body is gone.
    var isReceived: Bool
}

/// An entry given back, at its old position.
struct Requeued: Comparable {
    var position: UInt64
    var entry: Entry
    static func < (a: Requeued, b: Requeued) -> Bool { a.position < b.position }
    static func == (a: Requeued, b: Requeued) -> Bool { a.position == b.position }
}

/// A position that is not to be delivered before its record is on disk.
struct Undurable: BitwiseCopyable {
    var position: UInt64
    var ticket: UInt64
    var shard: UInt8
}

/// What a queue holds.
struct Backlog: ~Copyable {
    /// Never delivered yet, at positions without gaps from `firstReady`.
    var ready = Ring<Entry>()
    var firstReady: UInt64 = 1
    var requeued = MinHeap<Requeued>()
    var unsettled = PositionTable<Unsettled>()
    var undurable = Ring<Undurable>()
    /// Behind those: what is being read, under which number, and what is in the journal alone.
    var reading: UInt64 = 0
    var readingCount = 0
    var paged = PagedEntries()
    var bytes: UInt64 = 0
    /// What was given out of it in the turn of this number (`BrokerCore.turn`), beside what went straight through.
    var turn: UInt64 = 0
    var givenInTurn = 0
    var givenBytesInTurn = 0

    var count: Int { waiting + unsettled.count }

    /// What no consumer has.
    var waiting: Int { ready.count + requeued.count + readingCount + paged.count }

    @inline(__always) var isPaged: Bool { readingCount != 0 || !paged.isEmpty }

    /// The first position nothing was given yet.
    var end: UInt64 { firstReady + UInt64(ready.count + readingCount + paged.count) }

    /// How many of those from `firstReady` on are on disk, or need not be.
    var durableCount: Int { undurable.isEmpty ? ready.count + readingCount + paged.count : Int(undurable[0].position - firstReady) }

    /// Whether the oldest entry that waits may go.
    var hasDeliverable: Bool {
        if !requeued.isEmpty { return true }
        guard !ready.isEmpty else { return false }
        return undurable.isEmpty || firstReady < undurable[0].position
    }

    /// Whether what comes now is the next to go.
    @inline(__always) var takesNext: Bool { ready.isEmpty && requeued.isEmpty && undurable.isEmpty && !isPaged }

    /// The oldest entry that waits.
    mutating func takeNext() -> (UInt64, Entry) {
        if let first = requeued.first, ready.isEmpty || first.position < firstReady {
            let next = requeued.removeFirst()
            return (next.position, next.entry)
        }
        let entry = ready.removeFirst()
        firstReady += 1
        return (firstReady - 1, entry)
    }
}

/// How a consumer is done with a message.
public enum Settlement: UInt8, Sendable {
    /// It is done with.
    case accepted
    /// Back to its old position, for whoever is next.
    case requeued
    /// Unwanted: to the queue's reject hub, or nowhere.
    case rejected
    /// Its consumer answers for it now, but its position stays in use until `accepted` (QoS 2 after PUBREC).
    case received
}
