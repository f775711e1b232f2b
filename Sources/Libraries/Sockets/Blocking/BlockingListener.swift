import CLinux
import MartletBytes
public import MartletNet

/// A listening TCP socket whose `accept` waits. Closed with its owner; who waits in its queue then is reset.
public struct BlockingListener: ~Copyable, Sendable {
    private let socket: AcceptingSocket

    init(_ socket: BoundSocket) { self.socket = AcceptingSocket(socket, blocks: true) }

    /// Where it really listens: port 0 became a number.
    public var address: SocketAddress { socket.address }

    /// Removes the file of a Unix socket, so that nobody finds it any more; what waits in `accept` goes on.
    public func removeFile() { socket.removeFile() }

    /// The next client. Out of descriptors, it waits until there is one. Throws `timedOut`; `other` for what the system refuses.
    public func accept(timeout: Duration? = nil) throws(NetError) -> BlockingConnection {
        let start = Instant.current, deadline = timeout.map { start + $0 } ?? .never
        while true {
            if deadline != .never, socket.wait(until: deadline) == 0 { throw NetError(.timedOut, .listen, "\(address)", elapsed: Instant.current - start) }
            let (descriptor, peer) = socket.accept()
            if descriptor >= 0 { return BlockingConnection(StreamSocket(adopting: descriptor), peer: peer) }
            switch -Int(descriptor) {
            case interrupted, 103: continue  // ECONNABORTED: gone before we came
            case 23, 24: DetachedThread.sleep(.milliseconds(10))  // EMFILE, ENFILE
            default: throw NetError(errno: descriptor, .listen, "\(address)", elapsed: Instant.current - start)
            }
        }
    }
}
