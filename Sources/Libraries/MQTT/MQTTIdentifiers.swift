/// The packet identifiers of one client's session: 1 to 65,535, each in one use at a time (MQTT 5.0 section 2.2.1).
/// Publications, SUBSCRIBE and UNSUBSCRIBE share them [MQTT-2.2.1-3].
struct MQTTIdentifiers {
    private var words = [UInt64](repeating: 0, count: 1_024)
    private var last: UInt16 = 0
    private(set) var count = 0

    /// The next free one, or `nil` when all are in use.
    mutating func take() -> UInt16? {
        guard count < 65_535 else { return nil }
        repeat { last = last == .max ? 1 : last + 1 } while contains(last)
        words[Int(last >> 6)] |= 1 << UInt64(last & 63)
        count += 1
        return last
    }

    mutating func giveBack(_ identifier: UInt16) {
        guard contains(identifier) else { return }
        words[Int(identifier >> 6)] &= ~(1 << UInt64(identifier & 63))
        count -= 1
    }

    func contains(_ identifier: UInt16) -> Bool { words[Int(identifier >> 6)] >> UInt64(identifier & 63) & 1 == 1 }
}
