import CLinux
import MartletBytes
public import MartletEventLoop
import Synchronization

/// A datagram socket for tasks on any executor: what arrives waits for them, in order, and what they send leaves at once, or with the loop's tick
/// if they run on it.
///
/// Its owner closes it: descriptor, channel and waiting tasks last until `close`. Every wait ends with its task's cancellation and loses nothing.
public final class DatagramPort: Sendable {
    public let loop: EventLoop
    /// Where it is: port 0 became a number.
    public let local: SocketAddress
    /// Where it is connected to.
    public let peer: SocketAddress?
    private let inbox: DatagramInbox
    private let channel: LoopBound<Channel>
    /// -1 once it is closed: no call of another thread meets a descriptor that has become another's.
    private let descriptor: Mutex<Int32>
    private let sentElsewhere = Atomic<UInt64>(0), failedElsewhere = Atomic<UInt64>(0)

    /// The longest datagram that UDP carries over IPv4, and over IPv6.
    static let payloadMax = 65_507, payloadMax6 = 65_527
    /// On its loop a task sends so much before the kernel gets it, whatever else the tick does.
    private static let earlyFlush = 256 << 10

    /// Takes over the socket, on a running loop.
    public init(_ socket: DatagramSocket, on loop: EventLoop) {
        self.loop = loop
        local = socket.local
        peer = socket.peer
        inbox = DatagramInbox(countMax: socket.options.inboundMax)
        channel = LoopBound(Channel(socket, inbox), on: loop)
        descriptor = Mutex(socket.descriptor)
        onLoop { port, loop in
            if !port.channel().open(on: loop) { port.inbox.close() }
        }
    }

    /// The loop's side.
    private final class Channel: DatagramChannel {
        private let inbox: DatagramInbox
        private var arrivals: [DatagramInbox.Arrival] = []

        init(_ socket: DatagramSocket, _ inbox: DatagramInbox) {
            self.inbox = inbox
            super.init(socket)
        }

        override func received(_ datagram: borrowing ArrivedDatagram, on loop: EventLoop) {
            let sender = socket.peer ?? datagram.sender
            if datagram.isTruncated {
                arrivals.append(.failure(NetError(truncatedAt: socket.options.datagramMax, datagram.sentCount, "\(sender)")))
            } else {
                arrivals.append(.datagram(datagram.bytes.array, sender))
            }
        }

        override func receivedAll(on loop: EventLoop) {
            if !arrivals.isEmpty, inbox.put(&arrivals) { loop.pauseReading(slot, true) }
        }

        override func failed(_ error: NetError, on loop: EventLoop) {
            // A socket without a peer goes on: one destination's failure is counted, and is not the others'.
            if socket.peer != nil { inbox.fail(late: error) }
        }

        override func stalled(_ isStalled: Bool, on loop: EventLoop) { inbox.setStalled(isStalled) }

        override var deadline: Instant { min(super.deadline, inbox.deadline) }

        override func wake(on loop: EventLoop) {
            super.wake(on: loop)
            if inbox.deadline <= loop.now { inbox.expire(at: loop.now) }
        }

        override func closed(_ reason: CloseReason, on loop: EventLoop) {
            super.closed(reason, on: loop)
            inbox.close()
        }
    }

    private func onLoop(_ call: @escaping @Sendable (DatagramPort, EventLoop) -> Void) {
        if loop.isCurrent { call(self, loop) } else { loop.execute { call(self, $0) } }
    }

    private func arm() { onLoop { port, loop in if port.channel().slot != 0 { loop.schedule(port.channel()) } } }

    private static func deadline(_ timeout: Duration?, from start: Int64) -> Instant { timeout.map { Instant(nanoseconds: start) + $0 } ?? .never }

    private func failure(_ kind: NetError.Kind, _ phase: NetError.Phase, since start: Int64, detail: String = "") -> NetError {
        NetError(kind, phase, "\(peer ?? local)", elapsed: .nanoseconds(cl_monotonic_ns() - start), detail: detail)
    }

    // MARK: Receiving

    /// The next datagram and who sent it. Throws `timedOut`, `cancelled`, `closed`; `truncated` for a datagram that was longer than
    /// `DatagramOptions.datagramMax`; on a connected socket what the network said of an earlier datagram, such as `refused`. After all but `closed`
    /// the next call goes on.
    public func receive(timeout: Duration? = nil) async throws(NetError) -> (datagram: [UInt8], from: SocketAddress) {
        if let received = try takeReceived() { return received }
        let start = cl_monotonic_ns()
        let deadline = Self.deadline(timeout, from: start)
        while true {
            await inbox.wait(for: .datagram, until: deadline) { arm() }
            if let received = try takeReceived() { return received }
            if Task.isCancelled { throw failure(.cancelled, .read, since: start) }
            if cl_monotonic_ns() >= deadline.nanoseconds { throw failure(.timedOut, .read, since: start) }
        }
    }

    private func takeReceived() throws(NetError) -> (datagram: [UInt8], from: SocketAddress)? {
        switch inbox.take() {
        case .arrival(let arrival, let hasRoom):
            if hasRoom { onLoop { port, loop in if port.channel().slot != 0 { loop.pauseReading(port.channel().slot, false) } } }
            switch arrival {
            case .datagram(let bytes, let sender): return (bytes, sender)
            case .failure(let error): throw error
            case .taken: return nil
            }
        case .closed: throw NetError(.closed, .read, "\(peer ?? local)")
        case .nothing: return nil
        }
    }

    // MARK: Sending

    /// Sends one datagram, to `address` or to the peer. That it was sent does not say that it arrives.
    ///
    /// Throws `tooLong` (over 65,507 bytes by IPv4, 65,527 by IPv6), `permissionDenied` (broadcast without `DatagramOptions.broadcast`),
    /// `unreachable`, and on a connected socket what the network said of an earlier one. Waits if the kernel has no room: `timedOut`, `cancelled`.
    /// On the port's loop it leaves with the tick, and of a socket without a peer a failure then is only counted (`DatagramCounters.failed`).
    public func send(_ bytes: Span<UInt8>, to address: SocketAddress? = nil, timeout: Duration? = nil) async throws(NetError) {
        guard let goal = address ?? peer else { throw NetError(.other, .write, "\(local)", detail: "the socket has no peer, so say to whom") }
        try check(bytes.count, goal)
        if let late = inbox.takeLateFailure() { throw late }
        if inbox.isStalled { try await room(timeout, goal) }
        guard !loop.isCurrent else {
            try append(bytes, address, goal)
            guard loop[output: channel().slot].count > Self.earlyFlush else { return }
            _ = channel().flush(on: loop)
            return await Task.yield()
        }
        let result = descriptor.withLock { $0 < 0 ? -CInt(CL_EBADF) : Self.sendNow(bytes, address, by: $0) }
        if result >= 0 { return _ = sentElsewhere.wrappingAdd(1, ordering: .relaxed) }
        if result == -CInt(CL_EBADF) { throw NetError(.closed, .write, "\(goal)") }
        guard result == -CInt(CL_EAGAIN) || result == -CInt(CL_ENOBUFS) else {
            failedElsewhere.wrappingAdd(1, ordering: .relaxed)
            throw NetError(errno: result, .write, "\(goal)")
        }
        // From here on this port's senders wait, so that what comes later does not overtake this one.
        inbox.setStalled(true)
        let bytes = bytes.array
        onLoop { port, loop in port.channel().sendLater(bytes.span, to: address, on: loop) }
    }

    private func append(_ bytes: Span<UInt8>, _ address: SocketAddress?, _ goal: SocketAddress) throws(NetError) {
        guard channel().slot != 0 else { throw NetError(.closed, .write, "\(goal)") }
        channel().send(bytes, to: address, on: loop)
    }

    static func sendNow(_ bytes: Span<UInt8>, _ address: SocketAddress?, by descriptor: Int32) -> Int32 {
        var raw = address?.raw ?? cl_address()
        return withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { name in
            let nameCount = address == nil ? 0 : cl_encode_address(&raw, name.baseAddress)
            return bytes.withUnsafeBufferPointer {
                Int32(truncatingIfNeeded: cl_send_datagram(descriptor, $0.baseAddress, $0.count, name.baseAddress, nameCount))
            }
        }
    }

    private func check(_ count: Int, _ goal: SocketAddress) throws(NetError) {
        guard goal.kind == local.kind else {
            throw NetError(.addressNotAvailable, .write, "\(goal)", detail: "the socket at \(local) has another address family")
        }
        let limit = goal.kind == .ipv4 ? Self.payloadMax : goal.kind == .ipv6 ? Self.payloadMax6 : Int.max
        guard count <= limit else { throw NetError(.tooLong, .write, "\(goal)", errno: CInt(CL_EMSGSIZE), detail: "\(count) bytes, a datagram holds \(limit)") }
    }

    private func room(_ timeout: Duration?, _ goal: SocketAddress) async throws(NetError) {
        let start = cl_monotonic_ns()
        let deadline = Self.deadline(timeout, from: start)
        while inbox.isStalled {
            await inbox.wait(for: .room, until: deadline) { arm() }
            guard inbox.isStalled else { break }
            if Task.isCancelled { throw failure(.cancelled, .write, since: start) }
            if cl_monotonic_ns() >= deadline.nanoseconds { throw failure(.timedOut, .write, since: start) }
        }
    }

    // MARK: Groups

    /// Receives what is sent to a group from now on, by one interface ("eth0"), or by the one that the routes have for it; from one source only, if
    /// one is given. Throws `addressInUse` for a group that it is in already.
    public func join(_ group: SocketAddress, interface: String? = nil, source: SocketAddress? = nil) throws(NetError) {
        try setMembership(true, group, interface, source)
    }

    /// The end of a `join` with the same words. Throws `addressNotAvailable` for a group that it is not in.
    public func leave(_ group: SocketAddress, interface: String? = nil, source: SocketAddress? = nil) throws(NetError) {
        try setMembership(false, group, interface, source)
    }

    private func setMembership(_ joins: Bool, _ group: SocketAddress, _ interface: String?, _ source: SocketAddress?) throws(NetError) {
        guard group.isMulticast else { throw NetError(.other, .bind, group.host, detail: "not a multicast group: 224.0.0.0 to 239.255.255.255, ff00::/8") }
        let result = descriptor.withLock { descriptor -> Result<Void, NetError> in
            guard descriptor >= 0 else { return .failure(NetError(.closed, .bind, group.host)) }
            do throws(NetError) {
                return .success(try DatagramSocket.setMembership(descriptor, joins: joins, group: group, interface: interface, source: source))
            } catch { return .failure(error) }
        }
        try result.get()
    }

    // MARK: The end

    /// What has happened so far.
    public func counters() async -> DatagramCounters {
        var counters = await withCheckedContinuation { answer in
            onLoop { port, _ in answer.resume(returning: port.channel().counters) }
        }
        counters.sent += sentElsewhere.load(ordering: .relaxed)
        counters.failed += failedElsewhere.load(ordering: .relaxed)
        return counters
    }

    /// Sends what waits, as far as the kernel takes it at once, closes the descriptor and ends every wait with `closed`; also in a cancelled task.
    public func close() async {
        descriptor.withLock { $0 = -1 }
        await withCheckedContinuation { done in
            onLoop { port, loop in
                port.channel().close(on: loop)
                done.resume()
            }
        }
    }
}
