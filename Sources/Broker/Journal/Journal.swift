public import MartletBytes

/// What makes records last. A shard gives it the records of a tick; it says later up to where they are on disk.
///
/// A machine driven by its shard: nothing here blocks. Tickets grow by one a record and complete in order.
public protocol Journal: AnyObject {
    /// Takes the records of one tick, the last of which has this ticket. `records` is empty afterwards.
    func append(_ records: inout ByteBuffer, upTo ticket: UInt64, at now: Instant)

    /// Up to which ticket everything is on disk.
    func completed(at now: Instant) -> UInt64

    /// When `completed` may have more to say; `.never` if nothing is under way.
    var deadline: Instant { get }
}
