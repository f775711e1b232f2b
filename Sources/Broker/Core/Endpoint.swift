import MartletBytes
import MartletCollections

/// Someone who may come back (an MQTT session, a durable AMQP client): an identity, a queue, and how long both outlive the connection.
public struct Endpoint: ~Copyable {
    let identity: OwnedBytes
    public internal(set) var queue: QueueID
    /// The gateway's own name for its connection; 0 while nobody is connected.
    public internal(set) var token: UInt32 = 0
    /// The gateway's own state for it, kept while nobody is connected.
    public internal(set) var gatewayState: UInt32 = 0
    let gateway: GatewayID
    /// How long it outlives its connection; zero: it ends with it.
    public internal(set) var lifetime: Duration
    /// When it ends, while nobody is connected.
    var expiry = Instant.never
    /// What is published in its name if its connection is lost, how long after that, and when, if that has happened.
    var farewell = MessageID.none
    var farewellDelay = Duration.zero
    /// How long it is worth delivering from then on; nil: for ever.
    var farewellLifetime: Duration?
    var farewellTime = Instant.never

    /// When something is to be done about it.
    var deadline: Instant { min(expiry, farewellTime) }
}

/// When something is to be done about which endpoint, the nearest first; each is looked at once, at its nearest time.
struct EndpointDeadlines {
    private struct Deadline: Comparable {
        var at: Instant
        var endpoint: EndpointID
        static func < (a: Deadline, b: Deadline) -> Bool { a.at < b.at }
    }
    private var heap = MinHeap<Deadline>()
    /// By number: the nearest time; an entry of the heap for any other is outdated.
    private var nearest: [Instant] = [.never]
    private var outdated = 0

    /// Entries, outdated ones too.
    var count: Int { heap.count }
    var next: Instant { heap.first?.at ?? .never }

    /// Sees to it that an endpoint is looked at by this time.
    mutating func schedule(_ endpoint: EndpointID, at deadline: Instant) {
        let number = Int(endpoint.number)
        while nearest.count <= number { nearest.append(.never) }
        guard deadline < nearest[number] else { return }
        if nearest[number] != .never { outdated += 1 }
        nearest[number] = deadline
        heap.insert(Deadline(at: deadline, endpoint: endpoint))
    }

    /// The endpoint is no more: its number may soon be another's.
    mutating func forget(_ endpoint: EndpointID) {
        let number = Int(endpoint.number)
        guard number < nearest.count, nearest[number] != .never else { return }
        nearest[number] = .never
        outdated += 1
        guard outdated > 1024, outdated > heap.count / 2 else { return }
        let old = heap.all
        heap = MinHeap()
        outdated = 0
        for deadline in old where nearest[Int(deadline.endpoint.number)] == deadline.at { heap.insert(deadline) }
    }

    /// An endpoint whose time has come by `now`, if there is one.
    mutating func take(until now: Instant) -> EndpointID? {
        while let first = heap.first, first.at <= now {
            _ = heap.removeFirst()
            let number = Int(first.endpoint.number)
            if nearest[number] == first.at {
                nearest[number] = .never
                return first.endpoint
            }
            outdated = max(0, outdated - 1)
        }
        return nil
    }
}
