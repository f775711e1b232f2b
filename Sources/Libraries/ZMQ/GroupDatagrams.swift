internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import MartletZMTPProtocol
internal import Synchronization

/// RADIO and DISH over UDP: a datagram is a message, its group's length in one byte, the group, the body; 8 KiB at most, as libzmq has it.
///
/// Nothing is said of who is there, joins or loses anything: a RADIO sends all, a DISH takes what it has joined.
final class GroupDatagrams: DatagramChannel {
    static let datagramMax = 8_192
    private let core: SocketCore
    let peer: PeerName
    let endpoint: ZMQEndpoint
    let written: String
    private let staging = Pinned(Inbox())
    private let groups = Pinned(ZMTPSubscriptions(seed: .random(in: .min ... .max)))
    private let spare = Pinned<[UInt8]>([])
    private var tooLong: UInt64 = 0, unwanted: UInt64 = 0

    init(_ core: SocketCore, _ peer: PeerName, _ socket: DatagramSocket, _ endpoint: ZMQEndpoint, written: String) {
        self.core = core
        self.peer = peer
        self.endpoint = endpoint
        self.written = written
        super.init(socket)
    }

    /// DISH: a group is joined, or left.
    func say(_ group: [UInt8], isOn: Bool) {
        if isOn { _ = groups.value.add(group.span, for: 0) } else { _ = groups.value.remove(group.span, for: 0) }
    }

    override func received(_ datagram: borrowing ArrivedDatagram, on loop: EventLoop) {
        if datagram.isTruncated {
            tooLong += 1
            return
        }
        take(datagram.bytes)
    }

    private func take(_ bytes: Span<UInt8>) {
        guard bytes.count > 0, Int(bytes[0]) < bytes.count else {
            unwanted += 1
            return
        }
        let group = bytes.extracting(1..<1 + Int(bytes[0]))
        guard groups.value.wants(whole: group) else {
            unwanted += 1
            return
        }
        staging.value.append(group, more: true)
        staging.value.append(bytes.extracting((1 + group.count)...), more: false)
    }

    override func receivedAll(on loop: EventLoop) {
        core.deliverDatagrams(&staging.value, from: peer, tooLong: tooLong, unwanted: unwanted)
        (tooLong, unwanted) = (0, 0)
    }

    /// RADIO: all that was sent leaves, as far as it fits.
    func pump(on loop: EventLoop) {
        var run: [UInt8] = [], datagram: [UInt8] = []
        swap(&run, &spare.value)
        defer { swap(&run, &spare.value) }
        run.removeAll(keepingCapacity: run.capacity <= 1 << 20)
        guard slot != 0, core.takeOutbox(of: peer.index, into: &run) > 0 else { return }
        var at = 0, overflowed: UInt64 = 0, tooLong: UInt64 = 0
        while at < run.count {
            let group = Self.frame(of: run, &at), body = Self.frame(of: run, &at)
            guard 1 + group.count + body.count <= Self.datagramMax else {
                tooLong += 1
                continue
            }
            datagram.removeAll(keepingCapacity: true)
            datagram.append(UInt8(group.count))
            datagram += run[group]
            datagram += run[body]
            if !send(datagram.span, on: loop) { overflowed += 1 }
        }
        guard tooLong > 0 || overflowed > 0 else { return }
        core.shared.withLock { [tooLong, overflowed] shared in
            shared.state.counters.droppedTooLong += tooLong
            shared.state.counters.droppedAtMark += overflowed
        }
    }

    /// Where the frame that begins here has its body; `at` is then behind it.
    private static func frame(of run: [UInt8], _ at: inout Int) -> Range<Int> {
        let isLong = run[at] & 2 != 0, start = at + (isLong ? 9 : 2)
        at = start + (isLong ? Int(run.span.uint64(at: at + 1)) : Int(run[at + 1]))
        return start..<at
    }
}

extension SocketCore {
    /// What a tick's datagrams held; dropped where the inbox is full, since nobody can be held up.
    func deliverDatagrams(_ staging: inout Inbox, from peer: PeerName, tooLong: UInt64, unwanted: UInt64) {
        let count = UInt64(staging.count)
        let hasRoom = shared.withLock { shared in
            shared.state.counters.droppedTooLong += tooLong
            shared.state.counters.droppedUnwanted += unwanted
            if shared.state.isThere(peer), !shared.state.peers[peer.index].isPaused { return true }
            shared.state.counters.droppedAtMark += count
            return false
        }
        guard count > 0 else { return }
        if hasRoom { _ = deliver(&staging, from: peer.index) } else { staging.removeAll() }
    }

    /// Throws `endpointInvalid` where the pattern is not the one that binds, or connects, to datagrams.
    func checkDatagrams(_ endpoint: ZMQEndpoint, binds: Bool) throws(ZMQError) {
        guard type == (binds ? .dish : .radio) else {
            throw .endpointInvalid(endpoint.description, reason: "over udp a DISH binds and a RADIO connects, and no other socket")
        }
    }
}

extension ZMQEndpoint.Datagrams {
    private var options: DatagramOptions {
        var options = DatagramOptions()
        options.datagramMax = GroupDatagrams.datagramMax
        options.reuseAddress = address.isMulticast
        options.multicastInterface = interfaceName
        return options
    }

    /// As it is written, or of the address that is.
    private var interfaceName: String? { interface.map { NetworkInterface.name(having: $0) ?? $0 } }

    func bound() throws(NetError) -> DatagramSocket {
        let socket = try DatagramSocket(boundTo: address, options: options)
        guard address.isMulticast else { return socket }
        do throws(NetError) { try socket.join(address, interface: interfaceName) } catch {
            socket.close()
            throw error
        }
        return socket
    }

    func connected() throws(NetError) -> DatagramSocket { try DatagramSocket(connectedTo: address, options: options) }
}
