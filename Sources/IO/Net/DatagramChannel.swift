import CLinux
import Glibc
public import MartletBytes
public import MartletEventLoop

/// A datagram socket on one loop. Subclassed by what gives it a meaning.
///
/// It receives up to 64 datagrams a system call and at most 256 a tick; what one tick sends leaves at its end in as few calls as go.
/// Datagrams are sent in the order of the calls; nothing says that they arrive.
/// Confined to its loop's thread. Not here: tasks that wait (`DatagramPort`).
open class DatagramChannel: Channel {
    public final let socket: DatagramSocket
    private let limit: Int
    /// Touched for each datagram: behind a pointer, as a class's field would be checked for exclusive access.
    private let state = Pinned(State())

    private struct State {
        var counters = DatagramCounters()
        /// How many datagrams the next call asks for: as many as came lately. While they come one by one it asks for one, which costs the kernel
        /// less, and for more now and then.
        var batch = 1
        var singleCount: UInt8 = 0

        mutating func nextBatch() -> Int {
            guard batch == 1 else { return batch }
            singleCount &+= 1
            return singleCount & 7 == 0 ? 4 : 1
        }

        mutating func received(_ got: Int, of wanted: Int) {
            if got == wanted, wanted > 1 {
                batch = min(2 * wanted, DatagramArea.datagramsMax)
            } else if got > 1 {
                batch = max(4, got + 1)
            } else if batch > 1 {
                // Once is chance: the next call decides.
                batch = batch > 2 ? 2 : 1
            }
        }
        /// When a receiver that had no room is tried again, and since when it has none.
        var retryAt = Instant.never, stalledSince = Instant.never
    }

    /// What waits to be sent, with addresses; above it `send` refuses.
    public static let outputMax = 4 << 20
    private static let datagramsPerTick = 256
    /// How long a Unix socket's full receiver holds up the others.
    private static let patience = Duration.milliseconds(100)

    /// Takes over the socket, which is closed with the channel.
    public init(_ socket: DatagramSocket) {
        self.socket = socket
        limit = socket.options.datagramMax
        super.init()
    }

    /// Begins to receive on `loop`; false if the loop is full, and then the socket is closed.
    @discardableResult public final func open(on loop: EventLoop) -> Bool { loop.add(self, datagrams: socket.descriptor) != nil }

    // MARK: For subclasses

    /// A datagram came; it may be empty. `datagram` is valid during the call.
    open func received(_ datagram: borrowing ArrivedDatagram, on loop: EventLoop) {}

    /// All that this tick received has been shown.
    open func receivedAll(on loop: EventLoop) {}

    /// A datagram could not be sent (phase `write`), or a connected socket's peer is not there (phase `read`). The socket goes on.
    open func failed(_ error: NetError, on loop: EventLoop) {}

    /// The kernel takes no more for now (`true`), or has taken all that waited.
    open func stalled(_ isStalled: Bool, on loop: EventLoop) {}

    // MARK: Sending

    /// Sends with the end of the tick; without `address` to the peer. False if too much waits already: then it is dropped and counted.
    @discardableResult public final func send(_ bytes: Span<UInt8>, to address: SocketAddress? = nil, on loop: EventLoop) -> Bool {
        guard let address else { return append(bytes, nil, 0, on: loop) }
        var raw = address.raw
        return withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { name in
            append(bytes, name.baseAddress, Int(cl_encode_address(&raw, name.baseAddress)), on: loop)
        }
    }

    /// Sends to whom a datagram came from.
    @discardableResult public final func reply(_ bytes: Span<UInt8>, to datagram: borrowing ArrivedDatagram, on loop: EventLoop) -> Bool {
        append(bytes, datagram.entry, Int(datagram.entry.pointee.name_length), on: loop)
    }

    /// The same for what the kernel had no room for when another thread sent it: `stalled(false)` follows when it has left.
    final func sendLater(_ bytes: Span<UInt8>, to address: SocketAddress?, on loop: EventLoop) {
        guard slot != 0 else { return }
        send(bytes, to: address, on: loop)
        loop.willWrite(slot)
        if state.value.stalledSince == .never { state.value.stalledSince = loop.now }
    }

    /// The form in the output: how many bytes, how long the name; the name; the bytes.
    private static let headerCount = 8

    private func append(_ bytes: Span<UInt8>, _ name: UnsafeRawPointer?, _ nameCount: Int, on loop: EventLoop) -> Bool {
        guard slot != 0, loop[output: slot].count < Self.outputMax else {
            state.value.counters.overflowed &+= 1
            return false
        }
        loop.willWrite(slot)
        let count = bytes.count, whole = Self.headerCount + nameCount + count
        let record = loop[output: slot].reserve(whole)
        record.storeBytes(of: UInt32(truncatingIfNeeded: count), as: UInt32.self)
        record.storeBytes(of: UInt32(truncatingIfNeeded: nameCount), toByteOffset: 4, as: UInt32.self)
        if let name { memcpy(record + Self.headerCount, name, nameCount) }
        if count > 0 { bytes.withUnsafeBufferPointer { _ = memcpy(record + Self.headerCount + nameCount, $0.baseAddress!, count) } }
        loop[output: slot].commit(whole)
        return true
    }

    /// Sends what waits now; answers whether the rest waits for writability. The loop calls it at the end of a tick.
    public final override func flush(on loop: EventLoop) -> Bool {
        let outgoing = DatagramArea.of(loop).outgoing
        var hasRetried = false
        while !loop[output: slot].isEmpty {
            let count = fill(outgoing, from: loop[output: slot].readable, loop[output: slot].count)
            let sent = Int(cl_send_datagrams(socket.descriptor, outgoing, CInt(count)))
            if sent > 0 {
                hasRetried = false
                state.value.counters.sent &+= UInt64(sent)
                // The bytes are a record's end.
                let end = outgoing[sent - 1].bytes! + Int(outgoing[sent - 1].count)
                loop[output: slot].consume(end - loop[output: slot].readable)
            } else if sent == -Int(CL_EAGAIN) || sent == -Int(CL_ENOBUFS) {
                if !giveUp(outgoing[0], on: loop) { return wait(on: loop) }
            } else if sent != -Int(CL_EINTR) {
                // A connected socket tells of an earlier datagram's failure at the next one, which is then not at fault.
                let isLate = socket.peer != nil && !hasRetried
                report(Int32(sent), outgoing[0], isLate: isLate, on: loop)
                guard slot != 0 else { return false }
                if !isLate { drop(outgoing[0], on: loop) }
                hasRetried = isLate
            }
        }
        if state.value.stalledSince != .never {
            state.value.stalledSince = .never
            state.value.retryAt = .never
            stalled(false, on: loop)
        }
        return false
    }

    private func fill(_ outgoing: UnsafeMutablePointer<cl_outgoing_datagram>, from start: UnsafeRawPointer, _ size: Int) -> Int {
        var count = 0, offset = 0
        while offset < size, count < DatagramArea.datagramsMax {
            let byteCount = start.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
            let nameCount = start.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
            let name = start + offset + Self.headerCount
            outgoing[count] = cl_outgoing_datagram(bytes: name + Int(nameCount), name: name, count: byteCount, name_length: nameCount)
            offset += Self.headerCount + Int(nameCount) + Int(byteCount)
            count += 1
        }
        return count
    }

    private func drop(_ datagram: cl_outgoing_datagram, on loop: EventLoop) {
        loop[output: slot].consume(Self.headerCount + Int(datagram.name_length) + Int(datagram.count))
    }

    private func report(_ errno: Int32, _ datagram: cl_outgoing_datagram, isLate: Bool, on loop: EventLoop) {
        if !isLate { state.value.counters.failed &+= 1 }
        let address = datagram.name_length == 0 ? socket.peer : SocketAddress(name: datagram.name, count: datagram.name_length)
        failed(NetError(errno: errno, isLate ? .read : .write, address.map { "\($0)" } ?? "nobody"), on: loop)
    }

    private func wait(on loop: EventLoop) -> Bool {
        if state.value.stalledSince == .never {
            state.value.stalledSince = loop.now
            stalled(true, on: loop)
        }
        // An unconnected Unix socket is writable even if the one receiver that matters is full: time has to tell.
        guard socket.local.kind == .unix, socket.peer == nil else { return true }
        state.value.retryAt = loop.now + .milliseconds(1)
        loop.schedule(self)
        return false
    }

    /// Drops a datagram whose receiver has been full for too long, so that the others get theirs.
    private func giveUp(_ datagram: cl_outgoing_datagram, on loop: EventLoop) -> Bool {
        guard socket.local.kind == .unix, socket.peer == nil, state.value.stalledSince != .never, loop.now - state.value.stalledSince >= Self.patience else {
            return false
        }
        report(-CInt(CL_EAGAIN), datagram, isLate: false, on: loop)
        drop(datagram, on: loop)
        return true
    }

    // MARK: Receiving

    public final override func ready(_ events: UInt32, on loop: EventLoop) {
        if events & UInt32(CL_ERROR) != 0 {
            let error = cl_connect_result(socket.descriptor)
            if error != 0 { failed(NetError(errno: error, .read, peerText), on: loop) }
        }
        guard slot != 0, events & UInt32(CL_READABLE) != 0 else { return }
        let area = DatagramArea.of(loop)
        var left = Self.datagramsPerTick
        while left > 0 {
            let wanted = min(state.value.nextBatch(), left)
            let got = Int(cl_receive_datagrams(socket.descriptor, area.bytes, DatagramArea.stride, limit, area.arrived, CInt(wanted)))
            if got < 0 {
                if got == -Int(CL_EAGAIN) { break }
                if got != -Int(CL_EINTR) { failed(NetError(errno: Int32(got), .read, peerText), on: loop) }
                guard slot != 0 else { return }
                left -= 1
                continue
            }
            show(area, got, on: loop)
            guard slot != 0 else { return }
            left -= got
            state.value.received(got, of: wanted)
            // Fewer than asked for: there was no more, and one is another tick's matter. Level-triggered, so what has come since is another tick's.
            if got < wanted || wanted == 1 || loop.isPaused(slot) { break }
        }
        receivedAll(on: loop)
    }

    private func show(_ area: DatagramArea, _ count: Int, on loop: EventLoop) {
        state.value.counters.received &+= UInt64(count)
        for index in 0..<count {
            let whole = Int(area.arrived[index].count)
            if whole > limit { state.value.counters.truncated &+= 1 }
            received(ArrivedDatagram(base: area.bytes + index * DatagramArea.stride, entry: area.arrived + index, count: min(whole, limit)), on: loop)
            if slot == 0 { return }
        }
    }

    private var peerText: String { "\(socket.peer ?? socket.local)" }

    // MARK: Time and end

    open override var deadline: Instant { state.value.retryAt }

    open override func wake(on loop: EventLoop) {
        guard state.value.retryAt <= loop.now else { return }
        state.value.retryAt = .never
        loop.willWrite(slot)
    }

    /// Sends what waits, as far as the kernel takes it at once, and closes.
    public final func close(on loop: EventLoop) {
        guard slot != 0 else { return }
        _ = flush(on: loop)
        loop.close(self, .finished)
    }

    open override func closed(_ reason: CloseReason, on loop: EventLoop) {
        // Still open, and so still alive to `cl_unlink_socket`.
        if let path = socket.unixPath { _ = unlink(path) }
    }

    /// What has happened so far. A system call.
    public final var counters: DatagramCounters {
        var counters = state.value.counters
        if slot != 0 { counters.dropped = UInt64(max(0, cl_dropped(socket.descriptor))) }
        return counters
    }
}
