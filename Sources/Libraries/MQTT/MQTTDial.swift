public import MartletClient
internal import MartletEventLoop
internal import MartletNet

typealias MQTTMonitor<State: Sendable> = Monitor<State, MQTTClientError>
typealias MQTTReply<Value: Sendable> = Reply<Value, MQTTClientError>
typealias MQTTClientTenant = ClientTenant<MQTTClientSession>
typealias MQTTDial = Dial<MQTTClientError>

extension MQTTClientError: ClientFailure {}

/// Where a server listens.
enum MQTTPlace {
    static func host(_ host: String, _ port: UInt16) -> MQTTDial { dialing(host: host, port: port) { .unreachable($0) } }
}

/// The library's own thread, started at first use and never stopped.
enum MQTTClientThreads {
    /// One loop for all connections of the process: a client's I/O is little beside its user's work.
    static let loop = EventLoop.forClients { MQTTClientTenant() }
}
