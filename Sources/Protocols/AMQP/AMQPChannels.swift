/// The channels of a connection that are not closed, in the order of their numbers.
///
/// Invariant: owns memory only while there is a channel. Most connections have one, and a search is a look.
struct AMQPChannels {
    enum State: UInt8 {
        /// channel.open came or went, open-ok did not yet.
        case opening
        case open
        /// channel.close went: what comes is thrown away, up to close-ok.
        case closing
        /// channel.close came: close-ok is owed.
        case owesCloseOk
    }
    enum Content: UInt8 { case none, header, body }

    struct Entry {
        var number: UInt16
        var state: State
        /// What the next frame must be, none: a method.
        var content = Content.none
        /// The method whose content comes in pieces.
        var method: UInt32 = 0
        /// Of its body.
        var remaining: UInt64 = 0

        /// A method may come and do what it says.
        var isReady: Bool { state == .open && content == .none }
    }

    var entries: [Entry] = []

    /// Where the channel is, or would be.
    private func place(of number: UInt16) -> Int {
        if let last = entries.last, last.number < number { return entries.count }
        var low = 0, high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].number < number { low = middle + 1 } else { high = middle }
        }
        return low
    }

    @inline(__always)
    func index(of number: UInt16) -> Int? {
        // Clients count from 1: most channels are where their number says.
        let guess = Int(number) &- 1
        if guess >= 0, guess < entries.count, entries[guess].number == number { return guess }
        let place = place(of: number)
        return place < entries.count && entries[place].number == number ? place : nil
    }

    /// The channel has no entry yet.
    mutating func insert(_ number: UInt16) { entries.insert(Entry(number: number, state: .opening), at: place(of: number)) }

    mutating func remove(at index: Int) {
        entries.remove(at: index)
        if entries.isEmpty { entries = [] }
    }
}
