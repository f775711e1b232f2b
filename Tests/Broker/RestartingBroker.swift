import MartletCore
import MartletJournal
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe
import MartletSimulation
import Testing

/// A broker in memory with a disk that loses at a crash what it did not promise to keep.
final class RestartingBroker {
    private let disk: SimulatedDisk
    private let network = PipeNetwork()
    private let change: (inout MQTTGatewayOptions) -> Void
    private(set) var broker: PipeBroker

    init(shards: Int, seed: UInt64 = 1, _ change: @escaping (inout MQTTGatewayOptions) -> Void = { _ in }) {
        disk = SimulatedDisk(seed: seed, segmentBytes: 1 << 16)
        self.change = change
        broker = PipeBroker(shards: shards, on: network, disk: disk, change)
    }

    /// Power is lost, and back after `time`.
    func crash(_ time: Duration = .zero, shards: Int? = nil) {
        for journal in broker.journals { journal.interrupt() }
        disk.losePower()
        broker.throwAway()
        network.advance(by: time)
        broker = PipeBroker(shards: shards ?? broker.shards.count, on: network, disk: disk, change)
        #expect(broker.failure == nil, "the disk can be used")
        #expect(!broker.findings.contains { $0.isDamage }, "\(broker.findings)")
    }

    /// Until the disk has done everything.
    func rest() { for _ in 0..<6 { broker.advance(by: .milliseconds(80)) } }

    /// Time passes as it does: what becomes due is carried out on the way.
    func pass(_ seconds: Int) {
        broker.advance(by: .seconds(seconds))
        rest()
    }

    /// Its CONNACK is there.
    func connected(
        _ clientID: String, on loop: Int = 0, version: MQTTVersion = .v5, cleanStart: Bool = false, sessionExpiry: UInt32 = 600,
        _ change: (inout MQTTConnectOptions) -> Void = { _ in }
    ) -> PipeClient {
        broker.connected(clientID, on: loop, version: version, cleanStart: cleanStart, sessionExpiry: sessionExpiry, change)
    }

    /// What recovery would find now: gateway, kind and bytes of definitions, and how many messages.
    func contents() throws -> (definitions: [[UInt8]], messages: Int) {
        var definitions: [[UInt8]] = [], messages = 0
        let recovery = try JournalRecovery(disk)
        recovery.forEachLive(.definition) { record in definitions.append((0..<record.payload.count).map { record.payload[$0] }) }
        recovery.forEachLive(.message) { _ in messages += 1 }
        return (definitions, messages)
    }
}
