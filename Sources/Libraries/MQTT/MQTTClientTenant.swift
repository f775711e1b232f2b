internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet

/// The client connections of one loop, by their numbers: tasks hold a number, never a channel.
final class MQTTClientTenant: LoopTenant {
    private var channels: [UInt64: MQTTClientChannel] = [:]
    /// Those whose socket takes no more for now.
    private var stalled: [MQTTClientChannel] = []

    static func on(_ loop: EventLoop) -> MQTTClientTenant? { loop.tenant as? MQTTClientTenant }

    func channel(_ number: UInt64) -> MQTTClientChannel? { channels[number] }

    func tickBegan(on loop: EventLoop) {}
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}

    func tickEnded(on loop: EventLoop) {
        guard !stalled.isEmpty else { return }
        let ready = stalled.filter { $0.hasRoom(on: loop) }
        stalled.removeAll { $0.hasRoom(on: loop) }
        for channel in ready { channel.work(on: loop) }
    }

    func stall(_ channel: MQTTClientChannel, on loop: EventLoop) {
        guard !stalled.contains(where: { $0 === channel }) else { return }
        stalled.append(channel)
        // This tick's flush may write everything; then no event of the socket would come, so the next tick looks again.
        loop.execute { _ in }
    }

    /// What it takes to connect: the addresses are tried in their order.
    struct Attempt {
        let client: MQTTClient
        let clientID: String
        let options: MQTTClientOptions
        let reply: MQTTReply<Void>
    }

    func connect(_ attempt: Attempt, to addresses: ArraySlice<SocketAddress>, on loop: EventLoop) {
        guard let address = addresses.first, !attempt.reply.isAbandoned else { return }
        Connector(to: address, timeout: attempt.options.connectTimeout, on: loop) { [self] result in
            switch result {
            case .success(let descriptor): open(attempt, descriptor, on: loop)
            case .failure(let error):
                let rest = addresses.dropFirst()
                if rest.isEmpty { attempt.reply.resolve(.failure(.unreachable(error))) } else { connect(attempt, to: rest, on: loop) }
            }
        }
    }

    func open(_ attempt: Attempt, _ descriptor: Int32, on loop: EventLoop) {
        let session = MQTTClientSession(attempt.client, attempt.options, connecting: attempt.reply)
        let channel = MQTTClientChannel(session, attempt.options, self, now: loop.now)
        guard loop.add(channel, descriptor: descriptor) != nil else { return session.end(.closed) }
        channels[attempt.client.number] = channel
        if attempt.reply.isAbandoned { channel.abandon(on: loop) } else { channel.connect(as: attempt.clientID, on: loop) }
    }

    func remove(_ channel: MQTTClientChannel) {
        channels[channel.session.client.number] = nil
        stalled.removeAll { $0 === channel }
    }
}

/// The library's own threads, started at first use and never stopped.
enum MQTTClientThreads {
    /// One loop for all connections of the process: a client's I/O is little beside its user's work.
    static let loop: EventLoop = {
        var limits = EventLoopLimits()
        limits.connectionsMax = 1 << 16
        // A client that stops reading because the server does may wait for ever; publishers wait instead (`outputMax`).
        limits.outputHighWater = .max
        let loop = EventLoop(limits: limits)
        _ = loop.start { _ in MQTTClientTenant() }
        return loop
    }()

    /// Names are looked up one after the other: the system's resolver blocks.
    private static let resolver: EventLoop = {
        var limits = EventLoopLimits()
        limits.connectionsMax = 2
        let loop = EventLoop(limits: limits)
        _ = loop.start { _ in nil }
        return loop
    }()

    static func resolve(_ host: String, _ port: UInt16) async throws(MQTTClientError) -> [SocketAddress] {
        if let address = SocketAddress(host, port: port) { return [address] }
        let reply = MQTTReply<[SocketAddress]>()
        resolver.execute { _ in
            guard !reply.isAbandoned else { return }
            do throws(NetError) {
                reply.resolve(.success(try SocketAddress.resolve(host, port: port)))
            } catch {
                reply.resolve(.failure(.unreachable(error)))
            }
        }
        return try await reply.value()
    }
}
