import CLinux
import Glibc
public import MartletBytes
public import MartletEventLoop

/// A socket that listens already: what can fail has not.
public struct BoundSocket: Sendable {
    /// The address it really has: port 0 became a number.
    public let address: SocketAddress
    let descriptor: Int32
    let unixPath: String?

    /// Binds and listens. A Unix path that a dead server left behind is taken over; its file is removed at close.
    /// Throws with the phase `listen`: `addressInUse`, `addressNotAvailable`, `permissionDenied`, `other`.
    public init(_ address: SocketAddress, options: StreamOptions = StreamOptions()) throws(NetError) {
        unixPath = address.kind == .unix && !address.description.hasPrefix("@") ? address.description : nil
        if let unixPath {
            let error = cl_unlink_socket(unixPath)
            guard error == 0 else { throw NetError(errno: error, .listen, unixPath) }
        }
        let socket = cl_socket(address.family, CInt(SOCK_STREAM.rawValue))
        guard socket >= 0 else { throw NetError(errno: socket, .listen, "\(address)") }
        if address.kind != .unix {
            _ = cl_set_option(socket, SOL_SOCKET, SO_REUSEADDR, 1)
            if options.reusePort { _ = cl_set_option(socket, SOL_SOCKET, SO_REUSEPORT, 1) }
            if address.kind == .ipv6 { _ = cl_set_option(socket, CInt(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
            options.apply(to: socket)
        } else {
            options.applyBuffers(to: socket)
        }
        var raw = address.raw
        var error = cl_bind(socket, &raw)
        if error == 0, options.isOwnerOnly, let unixPath, chmod(unixPath, 0o600) != 0 { error = -errno }
        if error == 0 { error = cl_listen(socket, options.backlog) }
        guard error == 0 else {
            cl_close(socket)
            throw NetError(errno: error, .listen, "\(address)")
        }
        descriptor = socket
        _ = cl_local_address(descriptor, &raw)
        self.address = address.kind == .unix ? address : SocketAddress(raw)
    }

    /// Removes the file of a Unix socket: nobody finds it any more, and nothing else changes.
    func removeFile() { if let unixPath { _ = unlink(unixPath) } }

    /// Closes a socket that no `Listener` has taken over.
    public func close() {
        cl_close(descriptor)
        if let unixPath { _ = cl_unlink_socket(unixPath) }
    }
}

/// Accepts connections on one address and hands their descriptors on.
///
/// Out of descriptors (EMFILE), it gives up a spare one to accept and close the waiting connection, so that a client sees an end
/// instead of a hang and the loop does not spin. Not here: what a connection means, and which loop it goes to.
public final class Listener: Channel {
    /// The address it really has: port 0 became a number.
    public let address: SocketAddress
    /// Connections closed at once because no descriptor was left.
    public private(set) var refused: UInt64 = 0
    private let descriptor: Int32
    private let unixPath: String?
    private var spare = cl_open_spare()
    private var resumeAt = Instant.never
    private let accepted: (Int32, SocketAddress) -> Void

    /// Accepts on a bound socket, which is closed with the listener.
    public init(_ socket: BoundSocket, accepted: @escaping (Int32, SocketAddress) -> Void) {
        address = socket.address
        descriptor = socket.descriptor
        unixPath = socket.unixPath
        self.accepted = accepted
        super.init()
    }

    deinit {
        if spare >= 0 { cl_close(spare) }
    }

    /// How full the kernel's queue of connections to accept is, and how often it overflowed; nil for a Unix socket.
    public var queue: AcceptQueue? { AcceptQueue(descriptor: descriptor) }

    /// Begins to accept on `loop`.
    public func open(on loop: EventLoop) { _ = loop.add(self, events: descriptor, interest: UInt32(CL_READABLE)) }

    public override func ready(_ events: UInt32, on loop: EventLoop) {
        // At most a backlog's worth a tick: others want their turn.
        for _ in 0..<256 {
            var raw = cl_address()
            let descriptor = cl_accept(self.descriptor, &raw)
            if descriptor >= 0 {
                accepted(descriptor, SocketAddress(raw))
            } else if descriptor == -CInt(CL_EMFILE) || descriptor == -CInt(CL_ENFILE) {
                guard refuseOne() else { return pause(on: loop) }
            } else if descriptor != -CInt(CL_EINTR), descriptor != -CInt(103) {  // ECONNABORTED: gone before we came
                return
            }
        }
    }

    private func refuseOne() -> Bool {
        guard spare >= 0 else { return false }
        cl_close(spare)
        var raw = cl_address()
        let descriptor = cl_accept(self.descriptor, &raw)
        if descriptor >= 0 { cl_close(descriptor); refused += 1 }
        spare = cl_open_spare()
        return descriptor >= 0
    }

    private func pause(on loop: EventLoop) {
        loop.pauseReading(slot, true)
        resumeAt = loop.now + .milliseconds(100)
    }

    public override var deadline: Instant { resumeAt }

    public override func wake(on loop: EventLoop) {
        resumeAt = .never
        if spare < 0 { spare = cl_open_spare() }
        loop.pauseReading(slot, false)
    }

    public override func closed(_ reason: CloseReason, on loop: EventLoop) {
        // Still open, and so still alive to `cl_unlink_socket`.
        if let unixPath { _ = unlink(unixPath) }
    }
}
