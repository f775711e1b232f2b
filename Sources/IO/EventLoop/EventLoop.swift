import CLinux
public import MartletBytes
import MartletCollections
import Synchronization

/// Waits for descriptors, timers and mail, and calls the channels they belong to; at the end of each tick, everything that the
/// tick produced for a connection leaves in one write.
///
/// One thread runs it (`start`, or a test that calls `tick`), and every call but `execute`, `post`, `enqueue` and `stop` belongs to that thread.
/// The order of a tick: what is ready, mail, timers, tasks' jobs, the tenant's `tickEnded`, flush. Invariants: a descriptor's events reach only the
/// registration they were meant for (generations); a channel is released at the end of the tick that closed it.
/// Not here: sockets (Net), protocols, and any sharing of connections between loops.
public final class EventLoop: @unchecked Sendable {  // everything mutable is the loop thread's alone; mail goes through `Mailbox`
    public let number: Int
    public let limits: EventLoopLimits
    let kernel: Kernel
    let mailbox = Mailbox()
    let thread = Atomic<UInt64>(0)
    private let events: UnsafeMutablePointer<cl_event>
    /// `headroom` bytes, then the read area: the kept bytes of a cut frame are put in front of the new ones, which never move.
    let readArea: UnsafeMutableRawPointer
    /// The same for what a layer unseals: touched only if there is one.
    let plainArea: UnsafeMutableRawPointer
    let slots: UnsafeMutablePointer<Slot>
    /// What each slot's connection will be sent: beside the slots, since a delivery touches little else.
    public let outputs: OutputTable
    private var slotEnd = 1, freeSlot: UInt32 = 0
    public internal(set) var connectionCount = 0
    /// Touched at every write of a tick: behind pointers, as a class field would be checked for exclusive access.
    let dirty = Pinned<[UInt32]>([])
    /// Of these, how many have left.
    var flushed = 0
    let pool = Pinned(BufferPool())
    var released: [Unmanaged<Channel>] = []
    /// Rows that have something to show their channel before the tick ends.
    var arrivals: [(slot: UInt32, generation: UInt32)] = []
    var timers = MinHeap<Timer>()
    /// Timers above which those of closed channels are thrown out: they are never more than half, but for the last few.
    var timersMax = 1024
    private var mail = Mailbox.Contents()
    let jobs = Pinned(JobQueue())
    /// What tasks of the loop's connections prefer (`LoopTasks`).
    public let tasks = LoopTasks()
    private var stopAt: Instant?
    /// A channel was called during the flush, after the tenant's `tickEnded`: what that led to wants another tick at once.
    var isTickOwed = false

    /// When the current tick began.
    public private(set) var now: Instant
    /// Who lives on this loop and wants its mail; set by `start`'s body or by `settle`.
    public private(set) var tenant: (any LoopTenant)?
    /// Where the loop's datagram channels receive, one after the other: made by the first of them.
    public let datagramArea = Pinned<AnyObject?>(nil)
    /// What happened so far; read on the loop.
    public var counters: EventLoopCounters { tally.value }
    /// Behind a pointer, as `dirty` is.
    let tally = Pinned(EventLoopCounters())

    public init(number: Int = 0, kernel: Kernel = LinuxKernel(), limits: EventLoopLimits = EventLoopLimits()) {
        self.number = number
        self.kernel = kernel
        self.limits = limits
        events = .allocate(capacity: Self.eventsPerTick)
        readArea = cl_reserve(Self.areaSize)!
        plainArea = cl_reserve(Self.areaSize)!
        slots = cl_reserve(limits.connectionsMax * MemoryLayout<Slot>.stride)!.bindMemory(to: Slot.self, capacity: limits.connectionsMax)
        outputs = OutputTable(
            base: cl_reserve(limits.connectionsMax * MemoryLayout<ByteBuffer>.stride)!.bindMemory(to: ByteBuffer.self, capacity: limits.connectionsMax))
        now = kernel.now()
        tasks.serve(self)
    }

    deinit {
        for slot in 1..<slotEnd where slots[slot].channel != nil || slots[slot].descriptor >= 0 {
            if slots[slot].descriptor >= 0 { kernel.close(slots[slot].descriptor) }
            slots[slot].channel?.release()
            slots[slot].layer?.release()
            (slots + slot).deinitialize(count: 1)
            (outputs.base + slot).deinitialize(count: 1)
        }
        events.deallocate()
        cl_release(readArea, Self.areaSize)
        cl_release(plainArea, Self.areaSize)
        cl_release(slots, limits.connectionsMax * MemoryLayout<Slot>.stride)
        cl_release(outputs.base, limits.connectionsMax * MemoryLayout<ByteBuffer>.stride)
    }

    static let eventsPerTick = 512
    /// One read, and the largest cut frame that is moved in front of it. 64 KiB beat 256 in the measured loads (cache).
    static let readSize = 65536, headroom = 65536
    private static let areaSize = headroom + readSize + StreamLayer.heldMax

    public func wallTime() -> WallTime { kernel.wallTime() }

    // MARK: Connections

    /// Takes over a connected stream's descriptor, or answers nil (and closes it) when the table is full.
    @discardableResult public func add(_ channel: Channel, descriptor: Int32) -> UInt32? { add(channel, descriptor, .stream, interest: Self.readable) }

    /// Takes over a connected stream with its layer and with what was received: the channel is shown that before the tick ends.
    @discardableResult public func add(_ channel: Channel, _ transport: Transport) -> UInt32? {
        guard let slot = add(channel, descriptor: transport.descriptor) else { return nil }
        if !transport.unread.isEmpty {
            slots[Int(slot)].unread.append(transport.unread.span)
            arrive(slot)
        }
        if !transport.unsent.isEmpty {
            willWrite(slot)
            outputs[slot].append(transport.unsent.span)
        }
        if let layer = transport.layer { begin(layer, slot) }
        return slot
    }

    /// Takes over any other descriptor: `channel.ready` is called with its events.
    @discardableResult public func add(_ channel: Channel, events descriptor: Int32, interest: UInt32) -> UInt32? {
        add(channel, descriptor, .events, interest: interest)
    }

    /// A channel that only has a deadline.
    @discardableResult public func add(clock channel: Channel) -> UInt32? { add(channel, -1, .events, interest: 0) }

    func add(_ channel: Channel, _ descriptor: Int32, _ kind: Slot.Kind, interest: UInt32) -> UInt32? {
        var slot = freeSlot
        if slot != 0 {
            freeSlot = slots[Int(slot)].next
        } else {
            guard slotEnd < limits.connectionsMax else { kernel.close(descriptor); return nil }
            slot = UInt32(slotEnd)
            slotEnd += 1
        }
        let generation = slots[Int(slot)].generation  // zero in untouched memory, kept by `free` otherwise
        (slots + Int(slot)).initialize(to: Slot(.passRetained(channel), generation: generation, descriptor: descriptor, kind: kind))
        (outputs.base + Int(slot)).initialize(to: ByteBuffer())
        channel.slot = slot
        channel.scheduled = .never
        if descriptor >= 0 {
            connectionCount += 1
            _ = kernel.watch(descriptor, CInt(CL_ADD), interest, token: token(slot))
        }
        schedule(channel)
        return slot
    }

    private func token(_ slot: UInt32) -> UInt64 { UInt64(slots[Int(slot)].generation) << 32 | UInt64(slot) }

    static let readable = UInt32(CL_READABLE) | UInt32(CL_PEER_CLOSED)

    /// The channel of a row, if it has one.
    public func channel(at slot: UInt32) -> Channel? { slots[Int(slot)].channel?.takeUnretainedValue() }

    /// All channels of a kind. For closing down, not for the hot path.
    public func channels<Kind: Channel>(of kind: Kind.Type) -> [Kind] { (1..<UInt32(slotEnd)).compactMap { channel(at: $0) as? Kind } }

    /// Whether its owner has stopped reading from a connection.
    public func isPaused(_ slot: UInt32) -> Bool { slots[Int(slot)].flags.contains(.paused) }

    /// Closes a descriptor that nobody here wants.
    public func discard(_ descriptor: Int32) { kernel.close(descriptor) }

    /// Stops or resumes reading from a connection: back-pressure by its owner.
    public func pauseReading(_ slot: UInt32, _ paused: Bool) {
        guard slots[Int(slot)].flags.contains(.paused) != paused else { return }
        if paused { slots[Int(slot)].flags.insert(.paused) } else { slots[Int(slot)].flags.remove(.paused) }
        updateInterest(slot)
    }

    /// Closes now; what was not yet written is lost.
    public func close(_ channel: Channel, _ reason: CloseReason) {
        let slot = channel.slot
        guard slot != 0, let owner = slots[Int(slot)].channel else { return }
        detach(channel, owner, reason)
        free(slot)
    }

    /// Closes after the output has left: the channel is gone at once, the descriptor lingers until the peer has ended too
    /// (so that a farewell is not destroyed by a reset) or for two seconds.
    public func finish(_ channel: Channel, _ reason: CloseReason) {
        let slot = channel.slot
        guard slot != 0, let owner = slots[Int(slot)].channel, slots[Int(slot)].kind == .stream else { return close(channel, reason) }
        detach(channel, owner, reason)
        slots[Int(slot)].flags.formUnion(.lingering)
        slots[Int(slot)].flags.remove(.paused)
        slots[Int(slot)].unread.release()
        // Its timers were the channel's: a new generation leaves them behind.
        slots[Int(slot)].generation &+= 1
        updateInterest(slot)
        timers.insert(Timer(at: now + limits.linger, slot: slot, generation: slots[Int(slot)].generation))
        willWrite(slot)
    }

    private func detach(_ channel: Channel, _ owner: Unmanaged<Channel>, _ reason: CloseReason) {
        slots[Int(channel.slot)].channel = nil
        isTickOwed = true
        channel.closed(reason, on: self)
        channel.slot = 0
        released.append(owner)
    }

    func free(_ slot: UInt32) {
        let row = slots + Int(slot)
        if row.pointee.descriptor >= 0 {
            kernel.close(row.pointee.descriptor)
            connectionCount -= 1
        }
        row.pointee.descriptor = -1
        row.pointee.generation &+= 1
        row.pointee.flags.formIntersection(.dirty)
        outputs[slot].release()
        row.pointee.unread.release()
        row.pointee.layer?.release()
        row.pointee.layer = nil
        row.pointee.next = freeSlot
        freeSlot = slot
    }

    func updateInterest(_ slot: UInt32) {
        let row = slots + Int(slot)
        guard row.pointee.descriptor >= 0 else { return }
        var interest: UInt32 = row.pointee.flags.contains(.awaitsChange) ? Kernel.onceForEachChange : 0
        if row.pointee.flags.isDisjoint(with: limits.readsWhileBlocked ? [.ended, .paused] : [.blocked, .ended, .paused]) { interest |= Self.readable }
        if row.pointee.flags.contains(.awaitsWritable) { interest |= UInt32(CL_WRITABLE) }
        _ = kernel.watch(row.pointee.descriptor, CInt(CL_MODIFY), interest, token: token(slot))
    }

    func fail(_ slot: UInt32, errno: Int32) {
        guard let owner = slots[Int(slot)].channel else { return free(slot) }
        owner._withUnsafeGuaranteedRef { close($0, .failed(errno)) }
    }

    // MARK: The tick

    /// Runs until `stop`.
    func run() {
        thread.store(cl_thread_id(), ordering: .relaxed)
        while stopAt == nil { tick() }
        while connectionCount > 0, let stopAt, now < stopAt { tick(until: stopAt) }
        tenant = nil
    }

    /// One turn. `until` bounds the wait (tests and simulations pass `now`).
    public func tick(until latest: Instant = .never) {
        thread.store(cl_thread_id(), ordering: .relaxed)
        let deadline = jobs.value.waiting.isEmpty && dirty.value.isEmpty && !isTickOwed ? min(latest, timers.first?.at ?? .never) : now
        let count = kernel.wait(events, capacity: Self.eventsPerTick, until: deadline, now: now)
        now = kernel.now()
        tenant?.tickBegan(on: self)
        var handledCount = 0  // since tasks had their turn
        for index in 0..<count {
            let token = events[index].data, slot = Int(truncatingIfNeeded: token & 0xFFFF_FFFF)
            guard slot != 0, slots[slot].generation == UInt32(truncatingIfNeeded: token >> 32), slots[slot].descriptor >= 0 else { continue }
            handle(events[index].events, UInt32(truncatingIfNeeded: slot))
            handledCount += 1
            if handledCount >= limits.flushBatch, !jobs.value.waiting.isEmpty {
                handledCount = 0
                runJobs()
                flushBatch()
            } else if dirty.value.count >= limits.flushBatch {
                flushBatch()
            }
        }
        readMail()
        fireTimers()
        runJobs()
        if !arrivals.isEmpty { showArrivals() }
        isTickOwed = false
        tenant?.tickEnded(on: self)
        flushBatch()
        if !released.isEmpty {
            let gone = released
            released.removeAll(keepingCapacity: true)
            for channel in gone { channel.release() }
        }
        noteTick()
    }

    private func handle(_ events: UInt32, _ slot: UInt32) {
        let row = slots + Int(slot)
        if row.pointee.kind == .events || row.pointee.kind == .datagrams && events != UInt32(CL_WRITABLE) {
            row.pointee.channel?._withUnsafeGuaranteedRef { channel in
                channel.ready(events, on: self)
                if channel.slot != 0 { schedule(channel) }
            }
        } else if events & ~UInt32(CL_WRITABLE) != 0 {
            read(slot)
        }
        if events & UInt32(CL_WRITABLE) != 0, row.pointee.kind != .events, row.pointee.descriptor >= 0, !row.pointee.flags.contains(.dirty) { flush(slot) }
    }

    private func readMail() {
        guard mailbox.empty(into: &mail) else { return }
        for letter in mail.letters {
            let bytes = Span<UInt8>(_unsafeStart: UnsafeRawPointer(letter.base + letter.offset).assumingMemoryBound(to: UInt8.self), count: letter.count)
            tenant?.receive(letter: bytes, from: letter.sender, on: self)
            mailbox.letterBytes.wrappingSubtract(letter.count, ordering: .relaxed)
            var buffer = ByteBuffer(adopting: letter.base, capacity: letter.capacity)
            pool.value.takeBack(&buffer)
        }
        mail.letters.removeAll(keepingCapacity: true)
        for call in mail.calls { call(self) }
        mail.calls.removeAll(keepingCapacity: true)
        jobs.value.waiting += mail.jobs
        mail.jobs.removeAll(keepingCapacity: true)
    }

    /// Gives the loop its tenant. On the loop's thread, before its first tick that matters.
    public func settle(_ tenant: any LoopTenant) { self.tenant = tenant }

    func beginStopping(_ grace: Duration) { stopAt = now + grace }
}
