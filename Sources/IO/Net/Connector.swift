import CLinux
import Glibc
public import MartletBytes
public import MartletEventLoop

/// One attempt to connect, on a loop: ends with the connected descriptor or the reason why not, once; not at all when it is closed before.
public final class Connector: Channel {
    private let address: SocketAddress
    private let start: Instant
    private let latest: Instant
    private let finished: (Result<Int32, NetError>) -> Void

    /// Starts connecting; fails after `timeout`. `finished` may be called before this returns.
    @discardableResult
    public init(
        to address: SocketAddress, from local: SocketAddress? = nil, options: StreamOptions = StreamOptions(), timeout: Duration, on loop: EventLoop,
        finished: @escaping (Result<Int32, NetError>) -> Void
    ) {
        self.address = address
        self.finished = finished
        start = loop.now
        latest = loop.now + timeout
        super.init()
        do throws(NetError) {
            let descriptor = try Self.begin(to: address, from: local, options)
            if loop.add(self, events: descriptor, interest: UInt32(CL_WRITABLE)) == nil {
                finished(.failure(NetError(errno: CInt(CL_EMFILE), .connect, "\(address)")))
            }
        } catch {
            finished(.failure(error))
        }
    }

    private static func begin(to address: SocketAddress, from local: SocketAddress?, _ options: StreamOptions) throws(NetError) -> Int32 {
        let descriptor = cl_socket(address.family, CInt(SOCK_STREAM.rawValue))
        guard descriptor >= 0 else { throw NetError(errno: descriptor, .connect, "\(address)") }
        if address.kind == .unix { options.applyBuffers(to: descriptor) } else { options.apply(to: descriptor) }
        if let local {
            // The port is chosen by connect, so that one local address serves many destinations.
            if local.port == 0 { _ = cl_set_option(descriptor, CInt(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, 1) }
            var raw = local.raw
            let error = cl_bind(descriptor, &raw)
            guard error == 0 else {
                cl_close(descriptor)
                throw NetError(errno: error, .bind, "\(local)")
            }
        }
        var raw = address.raw
        let error = cl_connect(descriptor, &raw)
        guard error == 0 else {
            cl_close(descriptor)
            throw NetError(errno: error, .connect, "\(address)")
        }
        return descriptor
    }

    public override var deadline: Instant { latest }

    public override func ready(_ events: UInt32, on loop: EventLoop) {
        let descriptor = loop.surrender(self, unread: Span()).descriptor
        let error = address.connectResult(of: descriptor)
        guard error == 0 else {
            cl_close(descriptor)
            return finished(.failure(NetError(errno: error, .connect, "\(address)", elapsed: loop.now - start)))
        }
        finished(.success(descriptor))
    }

    public override func wake(on loop: EventLoop) {
        loop.close(self, .failed(110))
        finished(.failure(NetError(.timedOut, .connect, "\(address)", elapsed: loop.now - start)))
    }
}
