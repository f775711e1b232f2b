import MartletCollections

/// One source of messages whose acknowledgements leave in the order the messages came.
///
/// A message that must wait (for the journal, for another shard's answer) makes every later acknowledgement of this publisher
/// wait behind it, complete or not. Nobody waiting, nothing is kept.
public struct Publisher: ~Copyable {
    let gateway: GatewayID
    /// The gateway's own name for it (MQTT: the session's number).
    let token: UInt32
    var waiting = Ring<Receipt>()
    /// The number of `waiting[0]`; the receipt with number n is `waiting[n - firstReceipt]`.
    var firstReceipt: UInt64 = 0
}

/// The publishers that are owed acknowledgements, in no order.
struct WaitingPublishers {
    private(set) var all: [PublisherID] = []
    /// By publisher: its place in `all`, from 1 up; 0: it is not there.
    private var places: [Int] = []

    func contains(_ publisher: PublisherID) -> Bool { Int(publisher.number) < places.count && places[Int(publisher.number)] != 0 }

    mutating func insert(_ publisher: PublisherID) {
        guard !contains(publisher) else { return }
        while places.count <= Int(publisher.number) { places.append(0) }
        all.append(publisher)
        places[Int(publisher.number)] = all.count
    }

    mutating func remove(_ publisher: PublisherID) {
        guard contains(publisher), let last = all.popLast() else { return }
        let place = places[Int(publisher.number)]
        places[Int(publisher.number)] = 0
        guard last != publisher else { return }
        all[place - 1] = last
        places[Int(last.number)] = place
    }
}
