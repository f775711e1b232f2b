public import MartletCore
public import MartletEventLoop

/// What one protocol is on one shard: its connections' events become commands to the core, the core's effects become packets.
///
/// Confined to its shard's loop. A gateway must not call the core while it is being given deliveries.
open class Gateway {
    public let shard: Shard
    public let id: GatewayID

    public init(_ shard: Shard, id: GatewayID) {
        self.shard = shard
        self.id = id
    }

    /// Takes over a connection: just accepted, or from another shard with what was received there.
    open func adopt(_ transport: Transport) {}

    /// Gives `message` to consumers: those of `shard.effects` in `range`, which are all this gateway's.
    open func deliver(_ range: Range<Int>, of message: borrowing Message) {}

    /// An acknowledgement may leave.
    open func acknowledge(_ acknowledgement: Acknowledgement) {}

    /// One of its publishers fills queues faster than they empty: `Shard.holdBack` its connection for `duration`.
    open func slowDown(_ token: UInt32, for duration: Duration) {}

    /// One of its consumers lost a message because its queue is full.
    open func overflowed(_ token: UInt32) {}

    /// An endpoint of this gateway is no more; its state was `state`.
    open func endpointEnded(_ state: UInt32) {}

    /// Everything up to this ticket of the shard's is on disk.
    open func journalCompleted(upTo ticket: UInt64) {}

    /// The server starts, and the journal holds a definition of `kind` that this gateway wrote (`BrokerCore.define`), here or on another
    /// shard: it is taken by the one where it is at home now. Lower kinds come first, and older ones among those of one kind.
    open func restore(kind: UInt8, _ definition: Span<UInt8>, as name: JournalName) {}

    /// Why what the journal holds cannot be restored; the server does not start then.
    public var restoreFailure: String?

    /// Definitions and messages are back.
    open func endRestoring() {}

    /// Everything is restored, and from now on the journal takes records.
    open func journalBegan() {}

    /// The loop's tick ends: what it led to may be told in one.
    open func tickEnded() {}

    /// The server stops: say goodbye in the protocol's words.
    open func stop() {}

    /// The protocol's, in small letters.
    open var name: String { "" }

    /// Its queues that hold most, at most so many, and how many more there are.
    open func queueSamples(max: Int) -> (queues: [QueueSample], leftOut: Int) { ([], 0) }

    /// Numbers for the server's metrics.
    open var samples: [(name: String, value: UInt64)] { [] }
}
