public import MartletEventLoop

/// What lasts while the connections of one client come and go. Confined to its loop.
public protocol ClientSession: AnyObject {
    /// The client's, of all in the process.
    var number: UInt64 { get }
    /// It is the tenant's now.
    func start()
}

/// One connection whose socket may take no more for now.
public protocol StallingChannel: Channel {
    /// Whether the socket took enough since it stalled.
    var hasRoom: Bool { get }
    /// Writes what may be written.
    func work()
}

/// The client sessions of one loop, by their numbers: tasks hold a number, never a session.
public final class ClientTenant<Session: ClientSession>: LoopTenant {
    private var sessions: [UInt64: Session] = [:]
    /// Those whose socket takes no more for now.
    private var stalled: [any StallingChannel] = []

    public init() {}

    public static func on(_ loop: EventLoop) -> ClientTenant? { loop.tenant as? ClientTenant }

    public func session(_ number: UInt64) -> Session? { sessions[number] }

    public func tickBegan(on loop: EventLoop) {}
    public func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}

    public func tickEnded(on loop: EventLoop) {
        guard !stalled.isEmpty else { return }
        let ready = stalled.filter { $0.hasRoom }
        stalled.removeAll { $0.hasRoom }
        for channel in ready { channel.work() }
    }

    public func stall(_ channel: any StallingChannel, on loop: EventLoop) {
        guard !stalled.contains(where: { $0 === channel }) else { return }
        stalled.append(channel)
        // This tick's flush may write everything; then no event of the socket would come, so the next tick looks again.
        loop.execute { _ in }
    }

    public func add(_ session: Session) {
        sessions[session.number] = session
        session.start()
    }

    public func remove(_ session: Session) { sessions[session.number] = nil }
    public func forget(_ channel: any StallingChannel) { stalled.removeAll { $0 === channel } }
}
