internal import MartletClient
internal import MartletEventLoop
internal import MartletNet

typealias AMQPMonitor<State: Sendable> = Monitor<State, AMQPError>
typealias AMQPReply<Value: Sendable> = Reply<Value, AMQPError>
typealias AMQPClientTenant = ClientTenant<AMQPClientSession>
typealias AMQPDial = Dial<AMQPError>

/// Where a server listens.
enum AMQPPlace {
    static func host(_ host: String, _ port: UInt16) -> AMQPDial { dialing(host: host, port: port) { .unreachable($0) } }
}

/// The library's own thread, started at first use and never stopped.
enum AMQPClientThreads {
    /// One loop for all connections of the process: a client's I/O is little beside its user's work.
    static let loop = EventLoop.forClients { AMQPClientTenant() }
}
