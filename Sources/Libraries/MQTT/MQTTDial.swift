internal import MartletEventLoop
internal import MartletNet

/// Makes a connected stream: called on the loop, for each connection anew, and answers there, once.
///
/// The place for other transports: what they add to a stream, they add before they answer.
typealias MQTTDial = @Sendable (EventLoop, _ timeout: Duration, _ finished: @escaping @Sendable (EventLoop, Result<Int32, MQTTClientError>) -> Void) -> Void

/// Where a server listens.
enum MQTTPlace {
    /// TCP. A name is looked up for each connection; of its addresses the first that answers is taken.
    static func host(_ host: String, _ port: UInt16) -> MQTTDial {
        { loop, timeout, finished in
            Dialer(to: .internet(host: host, port: port), timeout: timeout, on: loop) { result in
                switch result {
                case .success(let outcome): finished(loop, .success(outcome.descriptor))
                case .failure(let error): finished(loop, .failure(.unreachable(error)))
                }
            }
        }
    }
}

/// The library's own thread, started at first use and never stopped.
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
}
