import MartletBytes
import MartletCollections

/// When to look at which endpoint. A deadline that moved away is found out when the old one comes.
///
/// Invariant: entries nobody waits for any more are fewer than those somebody waits for, but for the last few.
struct EndpointSchedule {
    private struct Entry: Comparable {
        var at: Instant
        var endpoint: EndpointID
        var serial: UInt64
        static func < (a: Entry, b: Entry) -> Bool { a.at < b.at }
    }
    private var entries = MinHeap<Entry>()
    /// By endpoint: the nearest time it will be looked at, and the entry for that. Other entries are nobody's.
    private var nearest: [(at: Instant, serial: UInt64)] = []
    private var lastSerial: UInt64 = 0
    private var entriesMax = 64

    var first: Instant? { entries.first?.at }
    var count: Int { entries.count }

    mutating func set(_ deadline: Instant, for endpoint: EndpointID) {
        let number = Int(endpoint.number)
        while nearest.count <= number { nearest.append((.never, 0)) }
        guard deadline < nearest[number].at else { return }
        lastSerial += 1
        nearest[number] = (deadline, lastSerial)
        entries.insert(Entry(at: deadline, endpoint: endpoint, serial: lastSerial))
        guard entries.count > entriesMax else { return }
        entries.removeAll { nearest[Int($0.endpoint.number)].serial != $0.serial }
        entriesMax = 2 * entries.count + 64
    }

    /// The endpoint is no more.
    mutating func forget(_ endpoint: EndpointID) {
        if Int(endpoint.number) < nearest.count { nearest[Int(endpoint.number)] = (.never, 0) }
    }

    /// The next endpoint whose time has come; it is scheduled no more.
    mutating func takeDue(at now: Instant) -> EndpointID? {
        while let first = entries.first, first.at <= now {
            _ = entries.removeFirst()
            let number = Int(first.endpoint.number)
            guard nearest[number].serial == first.serial else { continue }
            nearest[number] = (.never, 0)
            return first.endpoint
        }
        return nil
    }
}
