import MartletMQTTProtocol
import MartletPipe
import MartletSimulation
import Testing

/// A subscription changes while a message crosses from one shard to another: what is written down is what the publisher's shard knew.
@Suite struct MQTTJournalRouteTests {
    /// Sends `once` to `t` at QoS 2, packet identifier 5, from the first shard; the subscriber on the second asks for QoS 2 before it arrives there.
    private func cross(_ place: RestartingBroker, _ publisher: PipeClient, _ subscriber: PipeClient) {
        publisher.reads = false
        let publish: [UInt8] = [0x34, 10, 0, 1, 0x74, 0, 5, 0] + Array("once".utf8)
        place.broker.network.write(publish, to: publisher.descriptor)
        subscriber.subscribe("t", qos: 2, identifier: 9)
    }

    @Test("What is under way at QoS 2 comes again at QoS 2, under its identifier") func quality() {
        let place = RestartingBroker(shards: 2)
        var subscriber = place.connected("s", on: 1)
        let publisher = place.connected("p")
        subscriber.subscribe("t", qos: 1)
        place.rest()
        _ = subscriber.take()
        cross(place, publisher, subscriber)
        place.rest()
        let first = subscriber.takeMessages()
        #expect(first.map(\.qos) == [2])
        place.crash()
        subscriber = place.connected("s", on: 1)
        place.rest()
        let again = subscriber.takeMessages()
        #expect(again.map(\.qos) == [2])
        #expect(again.map(\.packetIdentifier) == first.map(\.packetIdentifier))
        #expect(again.map(\.duplicate) == [true])
    }

    /// `isWritten`: for another session.
    @Test("At QoS 2 it comes once, also to whom it was not written down for", arguments: 0..<10 as Range<UInt64>, [true, false])
    func once(seed: UInt64, isWritten: Bool) {
        let place = RestartingBroker(shards: 2, seed: seed)
        var subscriber = place.connected("s", on: 1), publisher = place.connected("p")
        subscriber.subscribe("t", qos: 0)
        if isWritten { place.connected("o").subscribe("t", qos: 1) }
        place.rest()
        _ = subscriber.take()
        cross(place, publisher, subscriber)
        var mine: Set<UInt16> = [], told = 0
        func hear() {
            for event in subscriber.take() {
                if case .publish(let publish) = event {
                    #expect(publish.qos == 2)
                    if mine.insert(publish.packetIdentifier).inserted { told += 1 }
                    subscriber.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success))
                } else if case .pubrel(let identifier, _) = event {
                    mine.remove(identifier)
                    subscriber.send(.pubcomp(packetIdentifier: identifier, reason: .success))
                }
            }
        }
        for _ in 0..<4000 where told == 0 {
            place.broker.advance(by: .microseconds(100))
            hear()
        }
        #expect(told == 1)
        place.crash()
        subscriber = place.connected("s", on: 1)
        publisher = place.connected("p")
        place.rest()
        hear()
        publisher.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: Array("once".utf8), packetIdentifier: 5, qos: 2, duplicate: true)))
        for _ in 0..<4 {
            place.rest()
            hear()
        }
        #expect(told == 1)
    }
}
