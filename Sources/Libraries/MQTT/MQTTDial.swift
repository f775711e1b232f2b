internal import MartletEventLoop
internal import MartletNet

/// Makes a connected stream: called on the loop, for each connection anew, and answers there, once.
///
/// The place for other transports: what they add to a stream, they add before they answer.
typealias MQTTDial = @Sendable (EventLoop, _ timeout: Duration, _ finished: @escaping @Sendable (EventLoop, Result<Int32, MQTTClientError>) -> Void) -> Void

/// Where a server listens.
enum MQTTPlace {
    /// TCP. A name is looked up for each connection; its addresses are tried in their order.
    static func host(_ host: String, _ port: UInt16) -> MQTTDial {
        { loop, timeout, finished in
            if let address = SocketAddress(host, port: port) { return connect(to: [address], timeout, on: loop, finished) }
            MQTTClientThreads.resolve(host, port) { result in
                loop.execute { loop in
                    switch result {
                    case .success(let addresses): connect(to: addresses[...], timeout, on: loop, finished)
                    case .failure(let error): finished(loop, .failure(.unreachable(error)))
                    }
                }
            }
        }
    }

    private static func connect(
        to addresses: ArraySlice<SocketAddress>, _ timeout: Duration, on loop: EventLoop,
        _ finished: @escaping @Sendable (EventLoop, Result<Int32, MQTTClientError>) -> Void
    ) {
        guard let address = addresses.first else { return finished(loop, .failure(.closed)) }
        Connector(to: address, timeout: timeout, on: loop) { result in
            switch result {
            case .success(let descriptor): finished(loop, .success(descriptor))
            case .failure(let error):
                let rest = addresses.dropFirst()
                if rest.isEmpty { finished(loop, .failure(.unreachable(error))) } else { connect(to: rest, timeout, on: loop, finished) }
            }
        }
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

    /// Answers on the resolver's thread.
    static func resolve(_ host: String, _ port: UInt16, _ answer: @escaping @Sendable (Result<[SocketAddress], NetError>) -> Void) {
        resolver.execute { _ in
            do throws(NetError) { answer(.success(try SocketAddress.resolve(host, port: port))) } catch { answer(.failure(error)) }
        }
    }
}
