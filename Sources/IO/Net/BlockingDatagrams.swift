import CLinux
import Glibc

/// A datagram socket whose calls wait, for a thread of one's own: recvfrom and sendto. Not on an event loop or in a task.
public struct BlockingDatagrams: ~Copyable, Sendable {
    public let socket: DatagramSocket

    /// Takes over the socket, which is closed with this value.
    public init(_ socket: DatagramSocket) {
        self.socket = socket
        _ = fcntl(socket.descriptor, F_SETFL, fcntl(socket.descriptor, F_GETFL, 0) & ~O_NONBLOCK)
    }

    deinit { socket.close() }

    /// Where it is: port 0 became a number.
    public var local: SocketAddress { socket.local }

    /// Waits for the next datagram. Throws `truncated`, and on a connected socket `refused`.
    public func receive() throws(NetError) -> (datagram: [UInt8], from: SocketAddress) {
        var entry = cl_datagram()
        var count = 0
        let limit = socket.options.datagramMax
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, initialized in
            repeat { count = cl_receive_datagram(socket.descriptor, buffer.baseAddress, limit, &entry) } while count == -Int(CL_EINTR)
            initialized = max(0, min(count, limit))
        }
        guard count >= 0 else { throw NetError(errno: Int32(count), .read, "\(socket.peer ?? socket.local)") }
        let sender = withUnsafePointer(to: &entry) { SocketAddress(name: $0, count: $0.pointee.name_length) }
        guard count <= limit else { throw NetError(truncatedAt: limit, count, "\(sender)") }
        return (bytes, sender)
    }

    /// Sends one datagram, to `address` or to the peer. Throws `tooLong`, `permissionDenied`, `unreachable`, `refused`.
    public func send(_ bytes: [UInt8], to address: SocketAddress? = nil) throws(NetError) {
        let result = DatagramPort.sendNow(bytes.span, address, by: socket.descriptor)
        guard result >= 0 else { throw NetError(errno: result, .write, "\(address ?? socket.peer ?? socket.local)") }
    }

    /// The same with a text's UTF-8.
    public func send(_ text: String, to address: SocketAddress? = nil) throws(NetError) { try send(Array(text.utf8), to: address) }
}

extension NetError {
    /// A datagram whose end was lost.
    init(truncatedAt limit: Int, _ count: Int, _ sender: String) {
        self.init(.truncated, .read, sender, errno: CInt(CL_EMSGSIZE), detail: "a datagram of \(count) bytes, datagramMax is \(limit)")
    }
}
