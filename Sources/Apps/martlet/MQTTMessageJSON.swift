import MartletLogging
import MartletMQTT

/// A message as mosquitto_sub's `%j` and `%J` print it.
enum MQTTMessageJSON {
    /// `nil`: the payload should be JSON and is not.
    static func text(of message: MQTTMessage, _ identifiers: [UInt32], at time: LocalTime, payloadAsText: Bool, isPretty: Bool) -> [UInt8]? {
        let stamp = time.text("%FT%T") + "." + MQTTOutputFormat.padded(time.nanoseconds / 1_000, 6) + "Z" + time.text("%z")
        var members: [(String, JSONValue)] = [
            ("tst", .text(stamp)), ("topic", .text(message.topic)), ("qos", .number("\(message.qos.rawValue)")),
            ("retain", .number(message.retain ? "1" : "0")),
            ("payloadlen", .number("\(message.payload.count)")),
        ]
        if message.qos > .atMostOnce { members.append(("mid", .number("\(message.packetIdentifier)"))) }
        let properties = properties(of: message, identifiers)
        if !properties.isEmpty { members.append(("properties", .object(properties))) }
        if payloadAsText {
            members.append(("payload", .bytes(Array(message.payload.prefix { $0 != 0 }))))
        } else {
            let parser = JSONParser(message.payload)
            guard let value = parser.whole() else { return nil }
            members.append(("payload", value))
        }
        var output: [UInt8] = []
        JSONValue.object(members).append(to: &output, depth: isPretty ? 0 : nil)
        return output
    }

    private static func properties(of message: MQTTMessage, _ identifiers: [UInt32]) -> [(String, JSONValue)] {
        let properties = message.properties
        var members: [(String, JSONValue)] = identifiers.map { ("subscription-identifier", .number("\($0)")) }
        if message.topicAlias > 0 { members.append(("topic-alias", .number("\(message.topicAlias)"))) }
        if let type = properties.contentType { members.append(("content-type", .text(type))) }
        if !properties.userProperties.isEmpty {
            members.append(("user-properties", .object(properties.userProperties.map { ($0.name, .text($0.value)) })))
        }
        if let topic = properties.responseTopic { members.append(("response-topic", .text(topic))) }
        if let correlation = properties.correlationData { members.append(("correlation-data", .bytes(correlation))) }
        if properties.isText { members.append(("payload-format-indicator", .number("1"))) }
        if let expiry = properties.messageExpiry { members.append(("message-expiry-interval", .number("\(expiry.components.seconds)"))) }
        return members
    }
}
