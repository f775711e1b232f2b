import CLinux
import Glibc
public import MartletBytes

/// A connected stream's socket without a loop: owned, and closed with its owner. The system's calls as they are: a count, 0 at the end of the
/// stream, or a negative errno.
///
/// Any thread may use it, one at a time. Not here: deadlines and errors with a text (`BlockingConnection`), and what the bytes mean.
public struct StreamSocket: ~Copyable, Sendable {
    public let descriptor: Int32

    /// Takes over a descriptor.
    public init(adopting descriptor: Int32) { self.descriptor = descriptor }

    deinit { cl_close(descriptor) }

    /// Gives the descriptor away.
    public consuming func release() -> Int32 {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    /// Connects, and waits for it until `deadline`; the socket blocks afterwards.
    public static func connect(
        to address: SocketAddress, options: StreamOptions = StreamOptions(), until deadline: Instant
    ) throws(NetError) -> StreamSocket {
        let start = cl_monotonic_ns()
        let descriptor = cl_socket(address.family, CInt(SOCK_STREAM.rawValue))
        guard descriptor >= 0 else { throw NetError(errno: descriptor, .connect, "\(address)") }
        let socket = StreamSocket(adopting: descriptor)
        if address.kind == .unix { options.applyBuffers(to: descriptor) } else { options.apply(to: descriptor) }
        var raw = address.raw
        var error = cl_connect(descriptor, &raw)
        if error == 0 {
            error = socket.wait(forWriting: true, until: deadline)
            if error > 0 { error = address.connectResult(of: descriptor) } else if error == 0 { error = -ETIMEDOUT }
        }
        if error < 0 { throw NetError(errno: error, .connect, "\(address)", elapsed: .nanoseconds(cl_monotonic_ns() - start)) }
        socket.setBlocking(true)
        return socket
    }

    /// Whether `read` and `write` wait. A socket that was accepted does not.
    public func setBlocking(_ isBlocking: Bool) { _ = cl_set_blocking(descriptor, isBlocking ? 1 : 0) }

    /// One `recv` of at most `count` bytes, appended to `buffer`.
    public func read(into buffer: inout ByteBuffer, atMost count: Int) -> Int {
        let result = cl_read(descriptor, buffer.reserve(count), count)
        if result > 0 { buffer.commit(result) }
        return result
    }

    /// One `send`.
    public func write(_ bytes: Span<UInt8>) -> Int { bytes.withUnsafeBufferPointer { cl_write(descriptor, $0.baseAddress, $0.count) } }

    /// One `send` that never waits.
    public func writeNow(_ bytes: Span<UInt8>) -> Int { bytes.withUnsafeBufferPointer { cl_send_now(descriptor, $0.baseAddress, $0.count) } }

    /// Waits until there is something to read, or room to write. 1: there is; 0: the deadline came; or a negative errno.
    public func wait(forWriting isForWriting: Bool, until deadline: Instant) -> Int32 {
        while true {
            let left = deadline == .never ? -1 : max(0, deadline.nanoseconds - cl_monotonic_ns())
            let result = cl_wait_ready(descriptor, isForWriting ? 1 : 0, left)
            if result != -CInt(CL_EINTR) { return result }
        }
    }

    /// How long a blocking `write` waits for room: then it answers what it wrote, or `-EAGAIN`.
    public func setWriteTimeout(_ timeout: Duration) { _ = cl_set_send_timeout(descriptor, Int64(timeout / .nanoseconds(1))) }

    /// Ends this side's stream; the peer's goes on.
    public func finishWriting() { _ = cl_shutdown_write(descriptor) }

    /// Ends the wait of another thread in `read`: it gets the end of the stream.
    public static func finishReading(_ descriptor: Int32) { _ = cl_shutdown(descriptor, 0) }

    /// Ends all waits of other threads; what was not written is lost.
    public static func cutOff(_ descriptor: Int32) { _ = cl_shutdown(descriptor, 2) }
}

/// A listening socket without a loop: owned, and closed with its owner.
public struct AcceptingSocket: ~Copyable, Sendable {
    private let socket: BoundSocket
    public var address: SocketAddress { socket.address }
    public var descriptor: Int32 { socket.descriptor }

    /// Takes over a bound socket. Whether `accept` waits is decided here.
    public init(_ socket: BoundSocket, blocks: Bool) {
        self.socket = socket
        _ = cl_set_blocking(socket.descriptor, blocks ? 1 : 0)
    }

    deinit { socket.close() }

    /// Removes the file of a Unix socket, so that nobody finds it any more.
    public func removeFile() { socket.removeFile() }

    /// The next connection's descriptor, which does not block, and its peer; or a negative errno.
    public func accept() -> (descriptor: Int32, peer: SocketAddress) {
        var raw = cl_address()
        let descriptor = cl_accept(self.descriptor, &raw)
        return (descriptor, SocketAddress(raw))
    }

    /// Waits for a connection. 1: there is one; 0: the deadline came; or a negative errno.
    public func wait(until deadline: Instant) -> Int32 {
        let left = deadline == .never ? -1 : max(0, deadline.nanoseconds - cl_monotonic_ns())
        return cl_wait_ready(descriptor, 0, left)
    }
}
