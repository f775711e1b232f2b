public import MartletEventLoop
public import MartletNet

/// Makes a connected stream: called on the loop, for each connection anew, and answers there, once.
///
/// The place for other transports: what they add to a stream, they add before they answer.
public typealias Dial<Failure: Error> =
    @Sendable (EventLoop, _ timeout: Duration, _ finished: @escaping @Sendable (EventLoop, Result<Int32, Failure>) -> Void) -> Void

/// By TCP. A name is looked up for each connection; of its addresses the first that answers is taken.
public func dialing<Failure: Error>(host: String, port: UInt16, _ failure: @escaping @Sendable (NetError) -> Failure) -> Dial<Failure> {
    { loop, timeout, finished in
        Dialer(to: .internet(host: host, port: port), timeout: timeout, on: loop) { result in
            switch result {
            case .success(let outcome): finished(loop, .success(outcome.descriptor))
            case .failure(let error): finished(loop, .failure(failure(error)))
            }
        }
    }
}

extension EventLoop {
    /// A started loop for the clients of one library, with its tenant.
    public static func forClients(_ makeTenant: @escaping @Sendable () -> any LoopTenant) -> EventLoop {
        var limits = EventLoopLimits()
        limits.connectionsMax = 1 << 16
        // A client that stops reading because the server does may wait for ever; publishers wait instead.
        limits.outputHighWater = .max
        let loop = EventLoop(limits: limits)
        _ = loop.start { _ in makeTenant() }
        return loop
    }
}
