import MartletBytes
import MartletCollections

/// The topic aliases of one connection, both ways (MQTT 5.0 section 3.3.2.3.4). Made with the first.
final class MQTTTopicAliases {
    /// What the client has set: alias 1 first. Empty: not set.
    private var theirs: [[UInt8]] = []
    private var ours = ByteMap<UInt16>(seed: .random(in: .min ... .max))
    private let oursMax: UInt16

    init(oursMax: UInt16) { self.oursMax = oursMax }

    func set(_ alias: UInt16, _ topic: [UInt8]) {
        while theirs.count < Int(alias) { theirs.append([]) }
        theirs[Int(alias) - 1] = topic
    }

    func topic(of alias: UInt16) -> [UInt8]? {
        guard Int(alias) <= theirs.count, !theirs[Int(alias) - 1].isEmpty else { return nil }
        return theirs[Int(alias) - 1]
    }

    /// The alias to send with a topic, and whether the client knows it; nil when all are taken: first come, first served.
    func alias(for topic: Span<UInt8>) -> (alias: UInt16, isKnown: Bool)? {
        if let place = ours.find(topic) { return (ours[place: place], true) }
        guard ours.count < Int(oursMax) else { return nil }
        let alias = UInt16(ours.count + 1)
        ours.insert(alias, topic)
        return (alias, false)
    }
}
