public import MartletNet

/// A datagram socket within its scope (`UDP.bind`, `UDP.withSocket`, `UnixDatagram`). Any task may use it; datagrams go to those that wait, each to one.
///
/// As a sequence it gives every datagram with its sender, and ends only by an error: `closed` when the scope ends, `cancelled` with the task,
/// `truncated` for a datagram over `DatagramOptions.datagramMax`; on a connected socket also what the network says of the peer (`refused`).
/// It can be iterated again after an error. What nobody takes waits: up to `DatagramOptions.inboundMax` here, then in the kernel's buffer, then it is
/// dropped and counted (`DatagramCounters.dropped`). A datagram may be empty.
public struct UDPSocket: AsyncSequence, Sendable {
    public typealias Element = (datagram: [UInt8], from: SocketAddress)
    public typealias Failure = NetError
    private let port: DatagramPort

    init(_ port: DatagramPort) { self.port = port }

    /// Where it is: port 0 became a number.
    public var local: SocketAddress { port.local }
    /// Where it is connected to; nil if it is not.
    public var peer: SocketAddress? { port.peer }

    // MARK: Receiving

    public func makeAsyncIterator() -> Iterator { Iterator(port: port) }

    public struct Iterator: AsyncIteratorProtocol {
        let port: DatagramPort

        public mutating func next() async throws(NetError) -> Element? { try await port.receive() }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(NetError) -> Element? { try await port.receive() }
    }

    /// The next datagram. Throws `timedOut` after `timeout`, and what the sequence throws; the next call then goes on, and nothing is lost.
    public func receive(timeout: Duration? = nil) async throws(NetError) -> [UInt8] { try await port.receive(timeout: timeout).datagram }

    /// The next datagram and who sent it.
    public func receiveFrom(timeout: Duration? = nil) async throws(NetError) -> Element { try await port.receive(timeout: timeout) }

    // MARK: Sending

    /// Sends one datagram to `address`, or to the peer of a connected socket. That it was sent does not say that it arrives.
    ///
    /// Throws `tooLong` over 65,507 bytes (IPv6: 65,527), `permissionDenied` (broadcast without `DatagramOptions.broadcast`), `unreachable`; on a connected
    /// socket what the network said of an earlier datagram (`refused`). If the kernel has no room it waits: `timedOut` after `timeout`, `cancelled`.
    /// In `UDP.bind`'s body, datagrams leave when the task waits or the loop's turn ends; a failure then is counted in `counters`, not thrown.
    public func send(_ bytes: [UInt8], to address: SocketAddress? = nil, timeout: Duration? = nil) async throws(NetError) {
        try await port.send(bytes.span, to: address, timeout: timeout)
    }

    /// The same with a text's UTF-8.
    public func send(_ text: String, to address: SocketAddress? = nil, timeout: Duration? = nil) async throws(NetError) {
        try await send(Array(text.utf8), to: address, timeout: timeout)
    }

    /// The same to a place as people write it: "192.0.2.1:9000"; "@name" and "/path" from a Unix socket. A name is looked up each time.
    public func send(_ bytes: [UInt8], to place: String, timeout: Duration? = nil) async throws(NetError) {
        let place = local.kind == .unix ? Place.unix(place) : try Place(place, phase: .write)
        let addresses = try await DatagramScope.addresses(of: place, timeout: timeout ?? .seconds(10))
        guard let address = addresses.first(where: { $0.kind == local.kind }) ?? addresses.first else { return }
        try await send(bytes, to: address, timeout: timeout)
    }

    /// The same with a text's UTF-8.
    public func send(_ text: String, to place: String, timeout: Duration? = nil) async throws(NetError) {
        try await send(Array(text.utf8), to: place, timeout: timeout)
    }

    // MARK: Groups

    /// Receives what is sent to a multicast group ("239.1.2.3", "ff02::1:2") from now on, by one interface ("eth0") or the one that the routes have for it;
    /// only from `source` if one is given. The socket is bound to the group's port. Several sockets of one machine need `DatagramOptions.reuseAddress`.
    /// Throws `addressInUse` for a group that it is in already, `other` for what is not a group or not an interface.
    public func join(_ group: String, interface: String? = nil, source: String? = nil) throws(NetError) {
        try port.join(try Self.address(group), interface: interface, source: try source.map { (text) throws(NetError) in try Self.address(text) })
    }

    /// Ends a `join` that had the same words. Throws `addressNotAvailable` for a group that it is not in.
    public func leave(_ group: String, interface: String? = nil, source: String? = nil) throws(NetError) {
        try port.leave(try Self.address(group), interface: interface, source: try source.map { (text) throws(NetError) in try Self.address(text) })
    }

    private static func address(_ text: String) throws(NetError) -> SocketAddress {
        guard let address = SocketAddress(text, port: 0) else { throw NetError(.unresolvable, .bind, text, detail: "a group is an IPv4 or IPv6 address") }
        return address
    }

    /// What has happened so far.
    public var counters: DatagramCounters { get async { await port.counters() } }
}
