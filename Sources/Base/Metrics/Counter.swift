import Synchronization

/// A number that only grows, counted from any thread without a lock.
///
/// For what happens seldom (connections, refusals). What happens per message is counted in plain integers of its loop and
/// read through `Metrics.collect`.
public final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    public init() {}
    public func add(_ amount: UInt64 = 1) { count.wrappingAdd(amount, ordering: .relaxed) }
    public var value: UInt64 { count.load(ordering: .relaxed) }
}
