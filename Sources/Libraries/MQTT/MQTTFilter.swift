/// A topic filter, compared level by level with topics: which subscription a message is for, where the server does not say.
public struct MQTTFilter: Equatable, Sendable {
    public let text: String
    private let levels: [[UInt8]]

    public init(_ text: String) {
        self.text = text
        var levels = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Array($0) }
        // $share/GROUP/FILTER
        if levels.count > 2, levels[0] == Array("$share".utf8) { levels.removeFirst(2) }
        self.levels = levels
    }

    /// Whether a server sends what is published to `topic` to subscribers of this filter (of a shared one: to one of them).
    public func matches(topic: String) -> Bool { matches(Self.levels(of: topic)) }

    /// `topic` by its levels. [MQTT-4.7.2-1]: a wildcard at the start does not match a topic that begins with $.
    func matches(_ topic: [[UInt8]]) -> Bool {
        let plus = [UInt8(ascii: "+")], hash = [UInt8(ascii: "#")]
        if let first = levels.first, first == plus || first == hash, topic.first?.first == UInt8(ascii: "$") { return false }
        for (index, level) in levels.enumerated() {
            if level == hash { return true }
            guard index < topic.count, level == plus || level == topic[index] else { return false }
        }
        return levels.count == topic.count
    }

    static func levels(of topic: String) -> [[UInt8]] {
        topic.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Array($0) }
    }
}
