/// What a shard's core has seen: plain numbers of its thread.
public struct CoreCounters: Sendable, Equatable {
    public var published: UInt64 = 0
    public var delivered: UInt64 = 0
    public var unroutable: UInt64 = 0
    public var refused: UInt64 = 0
    /// Retained publications beyond the limits; among those refused.
    public var retainedRefused: UInt64 = 0
    /// Given to a queue or its consumer out of what a hub keeps; delivered ones count there too.
    public var replayed: UInt64 = 0
    /// At most once, and its consumer was away or could not keep up.
    public var droppedSlow: UInt64 = 0
    /// Made room for a newer one.
    public var droppedOldest: UInt64 = 0
    /// Found its queue full.
    public var droppedNewest: UInt64 = 0
    public var expired: UInt64 = 0
    /// Left in the journal alone, because memory is short.
    public var paged: UInt64 = 0
    /// Entries whose record in the journal could not be read again.
    public var damaged: UInt64 = 0
    public var requeued: UInt64 = 0
    public var rejected: UInt64 = 0

    public init() {}

    /// Every one, by name.
    private static var all: [(name: String, place: WritableKeyPath<CoreCounters, UInt64>)] {
        [
            ("published", \.published),
            ("delivered", \.delivered),
            ("unroutable", \.unroutable),
            ("refused", \.refused),
            ("retainedRefused", \.retainedRefused),
            ("replayed", \.replayed),
            ("droppedSlow", \.droppedSlow),
            ("droppedOldest", \.droppedOldest),
            ("droppedNewest", \.droppedNewest),
            ("expired", \.expired),
            ("paged", \.paged),
            ("damaged", \.damaged),
            ("requeued", \.requeued),
            ("rejected", \.rejected),
        ]
    }

    public var samples: [(name: String, value: UInt64)] { Self.all.map { ($0.name, self[keyPath: $0.place]) } }

    public mutating func add(_ other: CoreCounters) { for (_, place) in Self.all { self[keyPath: place] += other[keyPath: place] } }
}
