import CLinux
public import MartletBytes
public import MartletEventLoop

/// One attempt to connect, on a loop: ends with the connected descriptor or the reason why not, once.
public final class Connector: Channel {
    private let address: SocketAddress
    private let latest: Instant
    private let finished: (Result<Int32, NetError>) -> Void

    /// Starts connecting; fails after `timeout`.
    @discardableResult
    public init(to address: SocketAddress, timeout: Duration, on loop: EventLoop, finished: @escaping (Result<Int32, NetError>) -> Void) {
        self.address = address
        self.finished = finished
        latest = loop.now + timeout
        super.init()
        var raw = address.raw
        let descriptor = cl_connect(&raw)
        if descriptor < 0 {
            finished(.failure(NetError(.connect("\(address)"), errno: descriptor)))
        } else {
            loop.add(self, events: descriptor, interest: UInt32(CL_WRITABLE))
        }
    }

    public override var deadline: Instant { latest }

    public override func ready(_ events: UInt32, on loop: EventLoop) {
        let descriptor = loop.surrender(self, unread: Span()).descriptor
        let error = cl_connect_result(descriptor)
        guard error == 0 else {
            cl_close(descriptor)
            return finished(.failure(NetError(.connect("\(address)"), errno: error)))
        }
        finished(.success(descriptor))
    }

    public override func wake(on loop: EventLoop) {
        loop.close(self, .failed(110))
        finished(.failure(NetError(.connect("\(address)"), errno: 110)))  // ETIMEDOUT
    }
}
