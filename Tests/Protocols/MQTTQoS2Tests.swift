import MartletBytes
import MartletMQTTProtocol
import Testing

/// Exactly once, and the send quota that goes with it (section 4.9), in both roles.
@Suite("MQTT machines: QoS 2")
struct MQTTQoS2Tests {
    private func publish(_ identifier: UInt16, qos: UInt8 = 2) -> MQTTClientOutgoing {
        .publish(MQTTPublish.Owned(topic: [97], payload: [], packetIdentifier: identifier, qos: qos))
    }

    private func misuse(_ client: inout MQTTClientMachine, _ message: MQTTClientOutgoing) -> MQTTMisuse? {
        var output = ByteBuffer()
        do throws(MQTTMisuse) { try client.send(message, into: &output) } catch { return error }
        return nil
    }

    /// Shows one packet of a server.
    private func hear(_ client: inout MQTTClientMachine, _ bytes: [UInt8]) throws {
        var output = ByteBuffer()
        var input = ByteReader(bytes.span)
        _ = try client.nextEvent(from: &input, into: &output)
    }

    @Test("A server counts a message from PUBLISH to PUBCOMP, or to a PUBREC that refuses")
    func serverQuota() throws {
        var limits = MQTTLimits()
        limits.receiveMaximum = 1
        let two: [UInt8] = [0x34, 6, 0, 1, 97, 0, 1, 0, 0x34, 6, 0, 1, 97, 0, 2, 0]
        let cases: [([MQTTServerOutgoing], Bool)] = [
            ([], false), ([.pubrec(packetIdentifier: 1, reason: .success)], false), ([.pubrel(packetIdentifier: 1, reason: .success)], false),
            ([.pubrec(packetIdentifier: 1, reason: .success), .pubcomp(packetIdentifier: 1, reason: .success)], true),
            ([.pubrec(packetIdentifier: 1, reason: .quotaExceeded)], true),
            ([.pubcomp(packetIdentifier: 9, reason: .packetIdentifierNotFound)], true),
        ]
        for (answers, frees) in cases {
            var machine = try serverMachine("server v5 open", limits: limits)
            var output = ByteBuffer()
            var input = ByteReader(two.span)
            _ = try machine.nextEvent(from: &input, into: &output)
            for answer in answers { try machine.send(answer, into: &output) }
            var violation: MQTTViolation?
            do throws(MQTTViolation) { _ = try machine.nextEvent(from: &input, into: &output) } catch { violation = error }
            #expect(violation == (frees ? nil : .receiveMaximumExceeded), "\(answers)")
        }
    }

    @Test("A PUBCOMP for what another connection began gives no more than the receive maximum")
    func serverQuotaCeiling() throws {
        var limits = MQTTLimits()
        limits.receiveMaximum = 1
        var machine = try serverMachine("server v5 open", limits: limits)
        var output = ByteBuffer()
        try machine.send(.pubcomp(packetIdentifier: 9, reason: .success), into: &output)
        let two: [UInt8] = [0x34, 6, 0, 1, 97, 0, 1, 0, 0x34, 6, 0, 1, 97, 0, 2, 0]
        #expect(observe(machine, two, pieces: 100).violation == .receiveMaximumExceeded)
    }

    @Test("A client counts the same, and is told before it breaks the receive maximum")
    func clientQuota() throws {
        var limits = MQTTLimits()
        limits.receiveMaximum = 1
        let cases: [([[UInt8]], Bool)] = [
            ([], false), ([[0x50, 2, 0, 1]], false), ([[0x62, 2, 0, 1]], false), ([[0x50, 2, 0, 1], [0x70, 2, 0, 1]], true), ([[0x50, 3, 0, 1, 0x97]], true),
            ([[0x50, 3, 0, 1, 0x10]], false), ([[0x40, 2, 0, 1]], true),
        ]
        for (answers, frees) in cases {
            var client = try clientMachine("client v5 open", limits: limits)
            #expect(misuse(&client, publish(1)) == nil)
            for answer in answers { try hear(&client, answer) }
            let left = client.unacknowledgedByServer
            #expect(left == (frees ? 0 : 1), "\(answers)")
            #expect(misuse(&client, publish(2)) == (frees ? nil : .receiveMaximumReached), "\(answers)")
        }
    }

    @Test("The forms are the shortest, and those before v5 have no reason")
    func forms() throws {
        let messages: [(UInt8, UInt8, MQTTServerOutgoing, MQTTClientOutgoing)] = [
            (0x40, 0x97, .puback(packetIdentifier: 7, reason: .quotaExceeded), .puback(packetIdentifier: 7, reason: .quotaExceeded)),
            (0x50, 0x97, .pubrec(packetIdentifier: 7, reason: .quotaExceeded), .pubrec(packetIdentifier: 7, reason: .quotaExceeded)),
            (0x62, 0x92, .pubrel(packetIdentifier: 7, reason: .packetIdentifierNotFound), .pubrel(packetIdentifier: 7, reason: .packetIdentifierNotFound)),
            (0x70, 0x92, .pubcomp(packetIdentifier: 7, reason: .packetIdentifierNotFound), .pubcomp(packetIdentifier: 7, reason: .packetIdentifierNotFound)),
        ]
        for (first, reason, fromServer, fromClient) in messages {
            for version in ["v3.1", "v3.1.1", "v5"] {
                let bytes: [UInt8] = version == "v5" ? [first, 3, 0, 7, reason] : [first, 2, 0, 7]
                var output = ByteBuffer()
                var server = try serverMachine("server \(version) open")
                try server.send(fromServer, into: &output)
                var client = try clientMachine("client \(version) open")
                try client.send(fromClient, into: &output)
                let said = output.span.array
                #expect(said == bytes + bytes)
            }
        }
    }
}
