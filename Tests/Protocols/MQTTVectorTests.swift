import MartletBytes
import MartletMQTTProtocol
import Testing

/// `Tests/Vectors/mqtt`: one table for decoding, refusing and encoding.
@Suite("MQTT vectors")
struct MQTTVectorTests {
    @Test("The folder holds at least 80 vectors, each under a name of its own")
    func enough() throws {
        let names = try TestVector.all(in: "mqtt").map(\.description)
        #expect(names.count >= 80)
        #expect(Set(names).count == names.count)
    }

    @Test("Each vector gives its events, output and violation, however it is cut", arguments: try TestVector.all(in: "mqtt"))
    func decodes(_ vector: TestVector) throws {
        for size in [vector.input.count, 1, 2, 3, 7] {
            if vector.on.hasPrefix("server") {
                let observed = observe(try serverMachine(vector.on), vector.input, pieces: size)
                #expect(observed.events.map(\.line) == vector.events)
                compare(observed.output, observed.violation, with: vector)
            } else {
                let observed = observe(try clientMachine(vector.on), vector.input, pieces: size)
                #expect(observed.events.map(\.line) == vector.events)
                compare(observed.output, observed.violation, with: vector)
            }
        }
    }

    private func compare(_ output: [UInt8], _ violation: MQTTViolation?, with vector: TestVector) {
        #expect(hex(output) == hex(vector.output))
        #expect(violation.map(caseName) == vector.violation)
    }

    /// `malformed(text)`: the case with its fault, without module names.
    private func caseName(_ violation: MQTTViolation) -> String {
        switch violation {
        case .malformed(let fault): "malformed(\(fault))"
        case .protocolError(let fault): "protocolError(\(fault))"
        case .unsupportedVersion(let level): "unsupportedVersion(\(level))"
        case .packetTooLarge: "packetTooLarge"
        case .firstPacketNotConnect: "firstPacketNotConnect"
        case .secondConnect: "secondConnect"
        case .clientIdentifierNotValid: "clientIdentifierNotValid"
        case .keepAliveExpired: "keepAliveExpired"
        case .connectTimedOut: "connectTimedOut"
        case .qosNotSupported: "qosNotSupported"
        case .topicAliasInvalid: "topicAliasInvalid"
        case .topicNameInvalid: "topicNameInvalid"
        case .topicFilterInvalid: "topicFilterInvalid"
        case .receiveMaximumExceeded: "receiveMaximumExceeded"
        }
    }

    @Test("The other role turns the event back into the same bytes", arguments: try TestVector.all(in: "mqtt").filter(\.encodes))
    func encodes(_ vector: TestVector) throws {
        var output = ByteBuffer()
        if vector.on.hasPrefix("server") {
            let event = try #require(observe(try serverMachine(vector.on), vector.input, pieces: vector.input.count).events.first)
            try encode(event, of: vector.on.split(separator: " ").map(String.init), into: &output)
        } else {
            let event = try #require(observe(try clientMachine(vector.on), vector.input, pieces: vector.input.count).events.first)
            try encode(event, of: vector.on.split(separator: " ").map(String.init), into: &output)
        }
        let written = output.span.array
        #expect(hex(written) == hex(vector.input))
    }

    private func encode(_ event: MQTTServerEvent.Owned, of state: [String], into output: inout ByteBuffer) throws {
        var limits = MQTTLimits()
        limits.packetSizeMax = Int(UInt32.max)
        if case .connect(let options) = event {
            var client = try clientMachine("client new", limits: limits)
            return try client.send(.connect(options), into: &output)
        }
        let isAuth = if case .auth = event { true } else { false }
        var client = try clientMachine(isAuth ? "client " + state.dropFirst().joined(separator: " ") : "client \(state[1]) open")
        switch event {
        case .connect: break
        case .publish(let publish): try client.send(.publish(publish), into: &output)
        case .puback(let identifier, let reason): try client.send(.puback(packetIdentifier: identifier, reason: reason), into: &output)
        case .pubrec(let identifier, let reason): try client.send(.pubrec(packetIdentifier: identifier, reason: reason), into: &output)
        case .pubrel(let identifier, let reason): try client.send(.pubrel(packetIdentifier: identifier, reason: reason), into: &output)
        case .pubcomp(let identifier, let reason): try client.send(.pubcomp(packetIdentifier: identifier, reason: reason), into: &output)
        case .auth(let auth): try client.send(.auth(auth), into: &output)
        case .subscribe(let identifier, let subscriptionIdentifier, let subscriptions):
            try client.send(
                .subscribe(packetIdentifier: identifier, subscriptionIdentifier: subscriptionIdentifier, subscriptions: subscriptions), into: &output)
        case .unsubscribe(let identifier, let filters): try client.send(.unsubscribe(packetIdentifier: identifier, filters: filters), into: &output)
        case .pingreq: try client.send(.pingreq, into: &output)
        case .disconnect(let reason, let expiry): try client.send(.disconnect(reason: reason, sessionExpiry: expiry), into: &output)
        }
    }

    private func encode(_ event: MQTTClientEvent.Owned, of state: [String], into output: inout ByteBuffer) throws {
        if case .connack(let connack) = event {
            var server = try serverMachine("server " + state.dropFirst().joined(separator: " "))
            return try server.send(.connack(connack), into: &output)
        }
        let isAuth = if case .auth = event { true } else { false }
        var server = try serverMachine(isAuth ? "server " + state.dropFirst().joined(separator: " ") : "server \(state[1]) open")
        switch event {
        case .connack, .pingresp: break
        case .publish(let publish):
            MQTTEncoder.publish(
                version: server.version, topic: publish.topic.span, properties: publish.properties.span, payload: publish.payload.span, qos: publish.qos,
                packetIdentifier: publish.packetIdentifier, retain: publish.retain, duplicate: publish.duplicate, into: &output)
        case .puback(let identifier, let reason): try server.send(.puback(packetIdentifier: identifier, reason: reason), into: &output)
        case .pubrec(let identifier, let reason): try server.send(.pubrec(packetIdentifier: identifier, reason: reason), into: &output)
        case .pubrel(let identifier, let reason): try server.send(.pubrel(packetIdentifier: identifier, reason: reason), into: &output)
        case .pubcomp(let identifier, let reason): try server.send(.pubcomp(packetIdentifier: identifier, reason: reason), into: &output)
        case .auth(let auth): try server.send(.auth(auth), into: &output)
        case .suback(let identifier, let reasons): try server.send(.suback(packetIdentifier: identifier, reasons: reasons), into: &output)
        case .unsuback(let identifier, let reasons): try server.send(.unsuback(packetIdentifier: identifier, reasons: reasons), into: &output)
        case .disconnect(let reason, let text, let reference):
            try server.send(.disconnect(reason: reason, text: text, serverReference: reference), into: &output)
        }
    }
}
