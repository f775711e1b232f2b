import MartletBytes
import MartletMQTTProtocol

/// Events in the short form of the vectors. What has its default value is left out.
private func quoted(_ bytes: [UInt8]) -> String { "\"" + String(decoding: bytes, as: UTF8.self) + "\"" }

private struct Line {
    var text: String
    mutating func add(_ name: String, if present: Bool = true) { if present { text += " " + name } }
    mutating func add(_ name: String, _ value: (some Any)?) { if let value { text += " \(name)=\(value)" } }
}

private func publishLine(_ publish: MQTTPublish.Owned) -> String {
    var line = Line(text: "publish \(quoted(publish.topic)) payload=\(quoted(publish.payload))")
    line.add("qos=\(publish.qos) id=\(publish.packetIdentifier)", if: publish.qos > 0)
    line.add("retain", if: publish.retain)
    line.add("dup", if: publish.duplicate)
    line.add("properties", publish.properties.isEmpty ? nil : hex(publish.properties))
    return line.text
}

private func connectLine(_ connect: MQTTConnectOptions) -> String {
    var line = Line(text: "connect " + connect.version.label)
    line.add("clean", if: connect.cleanStart)
    line.add("keepAlive", connect.keepAlive)
    line.add("id", quoted(connect.clientID))
    line.add("user", connect.userName.map(quoted))
    line.add("password", connect.password.map(quoted))
    if let will = connect.will {
        line.add("will=\(quoted(will.topic)) payload=\(quoted(will.payload))")
        line.add("qos", will.qos == 0 ? nil : will.qos)
        line.add("retain", if: will.retain)
        line.add("delay", will.delaySeconds == 0 ? nil : will.delaySeconds)
        line.add("properties", will.properties.isEmpty ? nil : hex(will.properties))
    }
    line.add("expiry", connect.sessionExpiry == 0 ? nil : connect.sessionExpiry)
    line.add("receiveMaximum", connect.receiveMaximum == .max ? nil : connect.receiveMaximum)
    line.add("sizeMax", connect.packetSizeMax == .max ? nil : connect.packetSizeMax)
    line.add("aliasMax", connect.topicAliasMax == 0 ? nil : connect.topicAliasMax)
    line.add("noProblemText", if: !connect.requestsProblemText)
    line.add("responseAddress", if: connect.requestsResponseAddress)
    line.add("method", connect.authenticationMethod.map(quoted))
    line.add("data", connect.authenticationData.map(quoted))
    line.add("userProperties", connect.userProperties.isEmpty ? nil : hex(connect.userProperties))
    return line.text
}

private func connackLine(_ connack: MQTTConnack) -> String {
    var line = Line(text: "connack reason=\(hex([connack.reason.rawValue]))")
    line.add("present", if: connack.sessionPresent)
    line.add("expiry", connack.sessionExpiry)
    line.add("receiveMaximum", connack.receiveMaximum)
    line.add("maximumQoS", connack.maximumQoS)
    line.add("retain", connack.retainAvailable)
    line.add("sizeMax", connack.packetSizeMax)
    line.add("id", connack.assignedClientID.map(quoted))
    line.add("aliasMax", connack.topicAliasMax)
    line.add("wildcard", connack.wildcardAvailable)
    line.add("identifiers", connack.subscriptionIdentifiersAvailable)
    line.add("shared", connack.sharedAvailable)
    line.add("keepAlive", connack.serverKeepAlive)
    line.add("address", connack.responseAddress.map { quoted(Array($0.utf8)) })
    line.add("server", connack.serverReference.map { quoted(Array($0.utf8)) })
    line.add("text", connack.reasonText.map { quoted(Array($0.utf8)) })
    line.add("method", connack.authenticationMethod.map(quoted))
    line.add("data", connack.authenticationData.map(quoted))
    line.add("userProperties", connack.userProperties.isEmpty ? nil : hex(connack.userProperties))
    return line.text
}

private func authLine(_ auth: MQTTAuth.Owned) -> String {
    var line = Line(text: "auth reason=\(hex([auth.reason.rawValue])) method=\(quoted(auth.method))")
    line.add("data", auth.data.map(quoted))
    line.add("text", auth.text.isEmpty ? nil : quoted(Array(auth.text.utf8)))
    line.add("userProperties", auth.userProperties.isEmpty ? nil : hex(auth.userProperties))
    return line.text
}

extension MQTTServerEvent.Owned {
    var line: String {
        switch self {
        case .connect(let connect): connectLine(connect)
        case .publish(let publish): publishLine(publish)
        case .puback(let identifier, let reason): "puback id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .pubrec(let identifier, let reason): "pubrec id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .pubrel(let identifier, let reason): "pubrel id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .pubcomp(let identifier, let reason): "pubcomp id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .auth(let auth): authLine(auth)
        case .subscribe(let identifier, let subscriptionIdentifier, let subscriptions):
            "subscribe id=\(identifier) " + (subscriptionIdentifier == 0 ? "" : "sid=\(subscriptionIdentifier) ")
                + subscriptions.map { "\(quoted($0.filter)):\(hex([$0.options.rawValue]))" }.joined(separator: " ")
        case .unsubscribe(let identifier, let filters): "unsubscribe id=\(identifier) " + filters.map(quoted).joined(separator: " ")
        case .pingreq: "pingreq"
        case .disconnect(let reason, let expiry): "disconnect reason=\(hex([reason.rawValue]))" + (expiry.map { " expiry=\($0)" } ?? "")
        }
    }
}

extension MQTTClientEvent.Owned {
    var line: String {
        switch self {
        case .connack(let connack): connackLine(connack)
        case .publish(let publish): publishLine(publish)
        case .puback(let identifier, let reason): "puback id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .pubrec(let identifier, let reason): "pubrec id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .pubrel(let identifier, let reason): "pubrel id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .pubcomp(let identifier, let reason): "pubcomp id=\(identifier) reason=\(hex([reason.rawValue]))"
        case .auth(let auth): authLine(auth)
        case .suback(let identifier, let reasons): "suback id=\(identifier) reasons=\(hex(reasons.map(\.rawValue)))"
        case .unsuback(let identifier, let reasons): "unsuback id=\(identifier) reasons=\(hex(reasons.map(\.rawValue)))"
        case .pingresp: "pingresp"
        case .disconnect(let reason, let text, let server):
            "disconnect reason=\(hex([reason.rawValue])) text=\(quoted(Array(text.utf8)))" + (server.isEmpty ? "" : " server=\(quoted(Array(server.utf8)))")
        }
    }
}
