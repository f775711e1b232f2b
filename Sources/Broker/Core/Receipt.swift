import MartletCollections

/// An acknowledgement that is owed: complete when every owner has answered and the record is on disk.
struct Receipt: BitwiseCopyable {
    /// The gateway's name for the message (a packet identifier, a delivery tag).
    var tag: UInt64
    /// Other shards that have not said yet whether their queues took it.
    var ownersAwaited: UInt16
    /// The journal's ticket; 0: no disk involved.
    var ticket: UInt64
    var outcome: PublishOutcome
}

/// What became of a published message.
public enum PublishOutcome: UInt8, Sendable, BitwiseCopyable {
    /// At least one target took it, or it is on its way to one.
    case routed
    /// No binding takes it.
    case unroutable
    /// A queue is full.
    case refused
}

/// Names one receipt across shards.
struct ReceiptID: BitwiseCopyable {
    var publisher: PublisherID
    var number: UInt64
}
