import MartletBytes
import MartletMQTTProtocol
import Testing

@Suite("MQTT client machine")
struct MQTTClientMachineTests {
    /// A v5 client whose server announced `connack`.
    private func client(of connack: MQTTConnack) throws -> MQTTClientMachine {
        var server = try serverMachine("server v5 connecting")
        var client = try clientMachine("client v5 connecting")
        var output = ByteBuffer()
        try server.send(.connack(connack), into: &output)
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try client.nextEvent(from: &input, into: &output)
        return client
    }

    private func misuse(_ client: inout MQTTClientMachine, _ message: MQTTClientOutgoing) -> MQTTMisuse? {
        var output = ByteBuffer()
        do throws(MQTTMisuse) { try client.send(message, into: &output) } catch {
            let silent = output.isEmpty
            #expect(silent)
            return error
        }
        return nil
    }

    private func publish(_ topic: String, qos: UInt8 = 0, retain: Bool = false, count: Int = 1, properties: [UInt8] = []) -> MQTTClientOutgoing {
        .publish(
            MQTTPublish.Owned(
                topic: Array(topic.utf8), properties: properties, payload: [UInt8](repeating: 1, count: count), packetIdentifier: qos == 0 ? 0 : 1, qos: qos,
                retain: retain))
    }

    @Test("It keeps to what the server announced")
    func serverTerms() throws {
        var terms = MQTTConnack()
        terms.packetSizeMax = 100
        terms.receiveMaximum = 1
        terms.retainAvailable = false
        terms.topicAliasMax = 2
        terms.maximumQoS = 1
        var client = try client(of: terms)
        #expect(misuse(&client, publish("a", count: 100)) == .packetTooLarge)
        #expect(misuse(&client, publish("a", retain: true)) == .retainNotSupported)
        #expect(misuse(&client, publish("a", qos: 2)) == .qosNotSupported)
        #expect(misuse(&client, publish("", properties: [0x23, 0, 3])) == .propertiesInvalid)
        #expect(misuse(&client, publish("", properties: [0x23, 0, 2])) == nil)
        #expect(misuse(&client, publish("a", qos: 1)) == nil)
        #expect(misuse(&client, publish("a", qos: 1)) == .receiveMaximumReached)
    }

    @Test("Subscriptions keep to what the server announced, and QoS 2 may be asked for")
    func subscriptionTerms() throws {
        func subscribe(_ client: inout MQTTClientMachine, _ filter: String, identifier: UInt32 = 0) -> MQTTMisuse? {
            let subscription = MQTTSubscription(filter: Array(filter.utf8), options: MQTTSubscriptionOptions(qos: 2))
            return misuse(&client, .subscribe(packetIdentifier: 1, subscriptionIdentifier: identifier, subscriptions: [subscription]))
        }
        var terms = MQTTConnack()
        terms.wildcardAvailable = false
        terms.sharedAvailable = false
        terms.subscriptionIdentifiersAvailable = false
        var poor = try client(of: terms)
        #expect(subscribe(&poor, "a") == nil)
        #expect(subscribe(&poor, "a/+") == .wildcardSubscriptionsNotSupported)
        #expect(subscribe(&poor, "#") == .wildcardSubscriptionsNotSupported)
        #expect(subscribe(&poor, "$share/g/a") == .sharedSubscriptionsNotSupported)
        #expect(subscribe(&poor, "a", identifier: 7) == .subscriptionIdentifiersNotSupported)
        var rich = try client(of: MQTTConnack())
        #expect(subscribe(&rich, "$share/g/a/+", identifier: 7) == nil)
        #expect(misuse(&rich, publish("a", qos: 2)) == nil)
        #expect(misuse(&rich, publish("a", qos: 3)) == .qosNotSupported)
        #expect(misuse(&rich, .pubrel(packetIdentifier: 0, reason: .success)) == .packetIdentifierZero)
    }

    @Test("What the server would refuse is the caller's mistake and writes nothing")
    func misuses() throws {
        var client = try client(of: MQTTConnack())
        #expect(misuse(&client, publish("a/+")) == .topicNameInvalid)
        #expect(misuse(&client, publish("")) == .topicNameInvalid)
        #expect(misuse(&client, publish("a", properties: [0x0B, 1])) == .propertiesInvalid)
        let bad = MQTTSubscription(filter: Array("a/#/b".utf8), options: MQTTSubscriptionOptions(qos: 1))
        #expect(misuse(&client, .subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: [bad])) == .topicFilterInvalid)
        #expect(misuse(&client, .subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: [])) == .nothingListed)
        #expect(misuse(&client, .unsubscribe(packetIdentifier: 0, filters: [[97]])) == .packetIdentifierZero)
        #expect(misuse(&client, .connect(MQTTConnectOptions(clientID: [97]))) == .alreadySent)
        var fresh = try clientMachine("client new")
        #expect(misuse(&fresh, .pingreq) == .notOpen)
        #expect(misuse(&fresh, .connect(MQTTConnectOptions(clientID: [0xFF]))) == .connectInvalid)
        #expect(misuse(&fresh, .connect(MQTTConnectOptions(clientID: [UInt8](repeating: 97, count: 65_536)))) == .fieldTooLong)
    }

    @Test("A server that leaves PINGREQ unanswered is given up; one that says anything is not")
    func pingTimeout() throws {
        for hears in [false, true] {
            var client = try clientMachine("client v5 open", keepAlive: 60)
            var output = ByteBuffer()
            let asked = client.deadline
            try client.wake(at: asked, into: &output)
            let said = output.span.array
            #expect(said == [0xC0, 0])
            if hears { client.heard(at: asked.advanced(bySeconds: 1)) }
            let expected: MQTTViolation? = hears ? nil : .keepAliveExpired
            var violation: MQTTViolation?
            let late = asked.advanced(bySeconds: 10)
            #expect(client.deadline == late)
            do throws(MQTTViolation) { try client.wake(at: late, into: &output) } catch { violation = error }
            #expect(violation == expected)
        }
    }

    @Test("A server that never answers CONNECT is given up")
    func connectTimeout() throws {
        var client = try clientMachine("client v5 connecting")
        var output = ByteBuffer()
        var violation: MQTTViolation?
        do throws(MQTTViolation) { try client.wake(at: startOfTime.advanced(bySeconds: 10), into: &output) } catch { violation = error }
        let silent = output.isEmpty
        #expect(violation == .connectTimedOut && silent)
    }

    @Test("[MQTT-3.1.2-21] The server's keep-alive replaces the client's")
    func serverKeepAlive() throws {
        var terms = MQTTConnack()
        terms.serverKeepAlive = 4
        let deadline = try client(of: terms).deadline
        #expect(deadline == startOfTime.advanced(bySeconds: 2))
    }

    @Test("A refused connection is closed")
    func refused() throws {
        let observed = observe(try clientMachine("client v3.1.1 connecting"), [0x20, 2, 0, 5, 0xD0, 0], pieces: 100)
        #expect(observed.events.map(\.line) == ["connack reason=87"])
    }

    @Test("Every reason has a name")
    func names() {
        #expect(MQTTReason.qosNotSupported.name == "QoS not supported")
        #expect(MQTTReason(rawValue: 0xFE).name == "Reason code 254")
    }
}
