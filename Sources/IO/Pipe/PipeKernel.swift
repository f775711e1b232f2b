public import CLinux
public import MartletBytes
public import MartletEventLoop

/// The in-memory twin of the machine below a loop: streams that are pairs of byte queues, and a clock that only `advance` moves.
///
/// One network can serve several loops (one `PipeKernel` each), ticked by one thread in any order. A stream's capacity and the
/// size of one read are settable, so that partial reads and writes, a full buffer and half-close can be provoked.
public final class PipeNetwork {
    /// One direction of a stream.
    fileprivate struct Flow {
        var bytes: [UInt8] = []
        var ended = false
    }
    fileprivate struct End {
        var peer: Int32
        var incoming = Flow()
        var interest: UInt32 = 0
        var token: UInt64 = 0
        var kernel: ObjectIdentifier?
        var isOpen = true
        /// Reading and writing fail.
        var isReset = false
    }

    public var now = Instant(nanoseconds: 0)
    public var wallTime = WallTime(milliseconds: 1_700_000_000_000)
    /// Bytes a direction holds before its writer is told to wait.
    public var capacity = 1 << 16
    /// The most bytes one read gives: 1 is the law tests' drip.
    public var readSizeMax = Int.max
    fileprivate var ends: [End] = []

    public init() {}

    /// A connected pair of descriptors.
    public func makeStream() -> (Int32, Int32) {
        let first = Int32(ends.count)
        ends.append(End(peer: first + 1))
        ends.append(End(peer: first))
        return (first, first + 1)
    }

    public func advance(by duration: Duration) {
        now = now + duration
        wallTime.milliseconds += Int64(duration / .milliseconds(1))
    }

    // The far end of a stream for a test that has no loop: plain reads and writes.

    public func write(_ bytes: [UInt8], to descriptor: Int32) { ends[Int(ends[Int(descriptor)].peer)].incoming.bytes += bytes }
    public func read(from descriptor: Int32) -> [UInt8] {
        defer { ends[Int(descriptor)].incoming.bytes = [] }
        return ends[Int(descriptor)].incoming.bytes
    }
    public func end(_ descriptor: Int32) { ends[Int(ends[Int(descriptor)].peer)].incoming.ended = true }
    /// The connection breaks for the other side: what it has not read is lost, and it can neither read nor write.
    public func reset(_ descriptor: Int32) {
        let peer = Int(ends[Int(descriptor)].peer)
        ends[peer].incoming = Flow(bytes: [], ended: true)
        ends[peer].isReset = true
    }
    /// Whether the other side has ended its stream or closed.
    public func hasEnded(_ descriptor: Int32) -> Bool { ends[Int(descriptor)].incoming.ended }

    /// Whether everything the other side has sent has been read.
    public func isDrained(_ descriptor: Int32) -> Bool { ends[Int(descriptor)].incoming.bytes.isEmpty }

    fileprivate func readiness(_ descriptor: Int) -> UInt32 {
        let end = ends[descriptor]
        var ready: UInt32 = 0
        if !end.incoming.bytes.isEmpty || end.incoming.ended { ready |= UInt32(CL_READABLE) }
        if ends[Int(end.peer)].incoming.bytes.count < capacity || !ends[Int(end.peer)].isOpen { ready |= UInt32(CL_WRITABLE) }
        return ready & end.interest
    }
}

/// One loop's view of a `PipeNetwork`.
public final class PipeKernel: Kernel {
    private let network: PipeNetwork

    public init(_ network: PipeNetwork) {
        self.network = network
        super.init()
    }

    public override func now() -> Instant { network.now }
    public override func hasPeerEnded(_ descriptor: Int32) -> Bool { network.hasEnded(descriptor) }
    public override func wallTime() -> WallTime { network.wallTime }

    /// Never waits: time moves only by `PipeNetwork.advance`.
    public override func wait(_ events: UnsafeMutablePointer<cl_event>, capacity: Int, until deadline: Instant, now: Instant) -> Int {
        var count = 0
        for descriptor in network.ends.indices where network.ends[descriptor].kernel == ObjectIdentifier(self) && count < capacity {
            let ready = network.readiness(descriptor)
            if ready != 0 {
                events[count] = cl_event(events: ready, data: network.ends[descriptor].token)
                count += 1
            }
        }
        return count
    }

    public override func watch(_ descriptor: Int32, _ operation: Int32, _ interest: UInt32, token: UInt64) -> Int32 {
        network.ends[Int(descriptor)].interest = interest
        network.ends[Int(descriptor)].token = token
        network.ends[Int(descriptor)].kernel = operation == CInt(CL_REMOVE) ? nil : ObjectIdentifier(self)
        return 0
    }

    public override func read(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
        if network.ends[Int(descriptor)].isReset { return -Int(CL_ECONNRESET) }
        let available = network.ends[Int(descriptor)].incoming.bytes
        if available.isEmpty { return network.ends[Int(descriptor)].incoming.ended ? 0 : -Int(CL_EAGAIN) }
        let count = min(count, available.count, network.readSizeMax)
        available.withUnsafeBytes { bytes.copyMemory(from: $0.baseAddress!, byteCount: count) }
        network.ends[Int(descriptor)].incoming.bytes.removeFirst(count)
        return count
    }

    public override func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
        let peer = Int(network.ends[Int(descriptor)].peer)
        guard network.ends[peer].isOpen, !network.ends[Int(descriptor)].isReset else { return -Int(CL_EPIPE) }
        let room = network.capacity - network.ends[peer].incoming.bytes.count
        guard room > 0 else { return -Int(CL_EAGAIN) }
        let count = min(count, room)
        network.ends[peer].incoming.bytes += UnsafeRawBufferPointer(start: bytes, count: count)
        return count
    }

    public override func shutdownWrite(_ descriptor: Int32) {
        network.ends[Int(network.ends[Int(descriptor)].peer)].incoming.ended = true
    }

    public override func close(_ descriptor: Int32) {
        guard descriptor >= 0 else { return }
        network.ends[Int(descriptor)].isOpen = false
        network.ends[Int(descriptor)].kernel = nil
        shutdownWrite(descriptor)
    }
}
