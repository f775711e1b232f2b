import MartletMQTT

/// `-D COMMAND NAME VALUE` as typed, mosquitto's syntax: MQTT 5's properties by their specification's names.
struct MQTTPropertyArguments: Equatable, Sendable {
    var connectUserProperties: [MQTTUserProperty] = []
    var receiveMaximum: UInt16?
    var packetSizeMax: UInt32?
    var topicAliasMax: UInt16?
    var sessionExpiry: Duration?
    var publish = MQTTProperties()
    var will = MQTTProperties()
    var willDelay = Duration.zero
    /// The subscription's number is printed: the library gives it one of its own.
    var showsSubscriptionIdentifier = false

    init() {}

    init(_ groups: [[String]]) throws(CommandFailure) {
        for words in groups { try take(words) }
    }

    private mutating func take(_ words: [String]) throws(CommandFailure) {
        let command = words[0].lowercased(), name = words[1].lowercased(), value = words[2]
        func fail(_ reason: String) -> CommandFailure { .usage("-D \(words.joined(separator: " ")): \(reason)") }
        func number(_ max: UInt32) throws(CommandFailure) -> UInt32 {
            guard let number = UInt32(value), number <= max else { throw fail("not a whole number from 0 to \(max)") }
            return number
        }
        switch (command, name) {
        case ("connect", "receive-maximum"): receiveMaximum = UInt16(try number(65_535))
        case ("connect", "maximum-packet-size"): packetSizeMax = try number(.max)
        case ("connect", "topic-alias-maximum"): topicAliasMax = UInt16(try number(65_535))
        case ("connect", "session-expiry-interval"), ("disconnect", "session-expiry-interval"): sessionExpiry = .seconds(Int64(try number(.max)))
        case ("connect", "user-property"): connectUserProperties.append(MQTTUserProperty(words[2], words[3]))
        case ("subscribe", "subscription-identifier"):
            guard try number(268_435_455) > 0 else { throw fail("a subscription identifier is not 0") }
            showsSubscriptionIdentifier = true
        case ("will", "will-delay-interval"): willDelay = .seconds(Int64(try number(.max)))
        case ("publish", "topic-alias"): throw fail("aliases are given by martlet itself; leave it out")
        case ("publish", _): try Self.take(name, words, number, fail, into: &publish)
        case ("will", _): try Self.take(name, words, number, fail, into: &will)
        default: throw fail("this build sends no such property there; see `--help`")
        }
    }

    private static func take(
        _ name: String, _ words: [String], _ number: (UInt32) throws(CommandFailure) -> UInt32, _ fail: (String) -> CommandFailure,
        into properties: inout MQTTProperties
    ) throws(CommandFailure) {
        switch name {
        case "payload-format-indicator": properties.isText = try number(1) == 1
        case "message-expiry-interval": properties.messageExpiry = .seconds(Int64(try number(.max)))
        case "content-type": properties.contentType = words[2]
        case "response-topic": properties.responseTopic = words[2]
        case "correlation-data": properties.correlationData = Array(words[2].utf8)
        case "user-property": properties.userProperties.append(MQTTUserProperty(words[2], words[3]))
        default:
            throw fail(
                "no such property; there are payload-format-indicator, message-expiry-interval, content-type, response-topic, correlation-data and user-property"
            )
        }
    }
}
