import MartletBytes
import MartletEventLoop
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe

/// A client that is served at once: asks what is retained, or clears it.
final class RetainedReader {
    private let world: Simulation
    private var machine: MQTTClientMachine
    private var input = UnreadBytes()

    init(_ world: Simulation) {
        self.world = world
        machine = MQTTClientMachine(limits: MQTTLimits(), now: world.network.now)
    }

    /// By topic: the number of the message.
    func read(_ gateway: MQTTGateway) -> [String: Int] {
        let subscription = MQTTSubscription(filter: Array("r/+".utf8), options: MQTTSubscriptionOptions(qos: 1))
        var found: [String: Int] = [:]
        for event in talk(gateway, [.subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: [subscription])]) {
            if case .publish(let publish) = event { found[String(decoding: publish.topic, as: UTF8.self)] = MQTTBook.number(publish.payload) }
        }
        return found
    }

    func clear(_ topics: [String], _ gateway: MQTTGateway) {
        _ = talk(gateway, topics.map { .publish(MQTTPublish.Owned(topic: Array($0.utf8), payload: [], retain: true)) })
    }

    private func talk(_ gateway: MQTTGateway, _ messages: [MQTTClientOutgoing]) -> [MQTTClientEvent.Owned] {
        let (near, far) = world.network.makeStream()
        gateway.adopt(Transport(descriptor: near))
        var options = MQTTConnectOptions(version: .v5, clientID: Array("reader".utf8)), heard: [MQTTClientEvent.Owned] = []
        options.keepAlive = 0
        for message in [.connect(options)] + messages + [MQTTClientOutgoing.disconnect(reason: .success, sessionExpiry: nil)] {
            var output = ByteBuffer()
            do { try machine.send(message, into: &output) } catch { world.trace.fail("the reader: misuse \(error)") }
            world.network.write(output.span.array, to: far)
            for _ in 0..<50 {
                world.rest()
                let bytes = world.network.read(from: far)
                if bytes.isEmpty { break }
                hear(bytes, &heard)
            }
        }
        world.network.end(far)
        world.rest()
        return heard
    }

    private func hear(_ bytes: [UInt8], _ heard: inout [MQTTClientEvent.Owned]) {
        var used = 0, output = ByteBuffer()
        do {
            let all = input.show(bytes.span)
            var reader = ByteReader(all)
            while let event = try machine.nextEvent(from: &reader, into: &output) { heard.append(event.owned(in: all)) }
            used = reader.offset
        } catch { world.trace.fail("the reader: violation \(error)") }
        input.keep(bytes.span, used: used)
    }
}
