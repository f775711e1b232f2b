internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet

/// The client sessions of one loop, by their numbers: tasks hold a number, never a session.
final class MQTTClientTenant: LoopTenant {
    private var sessions: [UInt64: MQTTClientSession] = [:]
    /// Those whose socket takes no more for now.
    private var stalled: [MQTTClientChannel] = []

    static func on(_ loop: EventLoop) -> MQTTClientTenant? { loop.tenant as? MQTTClientTenant }

    func session(_ number: UInt64) -> MQTTClientSession? { sessions[number] }

    func tickBegan(on loop: EventLoop) {}
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}

    func tickEnded(on loop: EventLoop) {
        guard !stalled.isEmpty else { return }
        let ready = stalled.filter(\.hasRoom)
        stalled.removeAll(where: \.hasRoom)
        for channel in ready { channel.work() }
    }

    func stall(_ channel: MQTTClientChannel, on loop: EventLoop) {
        guard !stalled.contains(where: { $0 === channel }) else { return }
        stalled.append(channel)
        // This tick's flush may write everything; then no event of the socket would come, so the next tick looks again.
        loop.execute { _ in }
    }

    func add(_ session: MQTTClientSession) {
        sessions[session.client.number] = session
        session.start()
    }

    func remove(_ session: MQTTClientSession) { sessions[session.client.number] = nil }
    func forget(_ channel: MQTTClientChannel) { stalled.removeAll { $0 === channel } }
}
