public import CLinux
public import MartletBytes

/// What a loop asks of the machine it runs on. `LinuxKernel` is epoll and sockets; `PipeKernel` (module Pipe) is memory and a
/// virtual clock, so that everything above the loop runs in a test or a simulation without a socket.
///
/// Results are as the system calls': a count, 0 at the end of the stream, or a negative errno (`-CL_EAGAIN`: not now).
open class Kernel {
    /// With what is watched: told of a change, not as long as it lasts (EPOLLET).
    static let onceForEachChange: UInt32 = 1 << 31

    public init() {}

    open func now() -> Instant { .never }
    /// As of up to some milliseconds ago, where that costs less.
    open func roughNow() -> Instant { now() }
    open func wallTime() -> WallTime { .never }

    /// Fills `events` with what is ready; waits until `deadline` for the first.
    open func wait(_ events: UnsafeMutablePointer<cl_event>, capacity: Int, until deadline: Instant, now: Instant) -> Int { 0 }

    /// Ends a wait early. The one call that may come from any thread.
    open func wake() {}

    open func watch(_ descriptor: Int32, _ operation: Int32, _ interest: UInt32, token: UInt64) -> Int32 { 0 }
    open func read(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int { 0 }
    open func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int { 0 }
    /// Bytes of a file, without this process seeing them. Not everywhere: -EOPNOTSUPP.
    open func sendFile(_ descriptor: Int32, _ file: Int32, _ offset: Int, _ count: Int) -> Int { -95 }
    open func shutdownWrite(_ descriptor: Int32) {}
    /// Whether the other side has ended its stream; what it sent before may be unread.
    open func hasPeerEnded(_ descriptor: Int32) -> Bool { false }
    /// Bytes written, and an end, that the peer's machine has not confirmed yet.
    open func unconfirmedCount(_ descriptor: Int32) -> Int { 0 }
    /// The errno with which the connection has failed since it was last asked for; 0: none.
    open func takeError(_ descriptor: Int32) -> Int32 { 0 }
    /// Closing will throw away what has not left, and reset the connection.
    open func resetAtClose(_ descriptor: Int32) {}
    open func close(_ descriptor: Int32) {}
}

/// epoll, level-triggered: one set a loop, woken through an eventfd that is edge-triggered and therefore never read.
public final class LinuxKernel: Kernel {
    let epoll: Int32
    let eventfd: Int32

    /// Traps if no descriptor is left.
    public override convenience init() {
        var error: Int32 = 0
        self.init(orErrno: &error)!
    }

    /// Nil if no descriptor is left: `errno` says why.
    public init?(orErrno errno: inout Int32) {
        epoll = cl_epoll_create()
        eventfd = cl_eventfd()
        super.init()
        errno = -min(epoll, eventfd, 0)
        // `deinit` closes the one that there is.
        guard errno == 0 else { return nil }
        _ = cl_epoll_control(epoll, CInt(CL_ADD), eventfd, UInt32(CL_READABLE) | Self.onceForEachChange, 0)
    }

    deinit {
        for descriptor in [epoll, eventfd] where descriptor >= 0 { cl_close(descriptor) }
    }

    public override func now() -> Instant { Instant(nanoseconds: cl_monotonic_ns()) }
    public override func roughNow() -> Instant { Instant(nanoseconds: cl_monotonic_rough_ns()) }
    public override func wallTime() -> WallTime { WallTime(milliseconds: cl_wall_ns() / 1_000_000) }

    public override func wait(_ events: UnsafeMutablePointer<cl_event>, capacity: Int, until deadline: Instant, now: Instant) -> Int {
        let timeout = deadline == .never ? -1 : max(0, deadline.nanoseconds - now.nanoseconds)
        return max(0, Int(cl_epoll_wait(epoll, events, CInt(capacity), timeout)))
    }

    public override func wake() { cl_eventfd_signal(eventfd) }

    public override func watch(_ descriptor: Int32, _ operation: Int32, _ interest: UInt32, token: UInt64) -> Int32 {
        cl_epoll_control(epoll, operation, descriptor, interest, token)
    }
    public override func read(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int { cl_read(descriptor, bytes, count) }
    public override func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int { cl_write(descriptor, bytes, count) }
    public override func sendFile(_ descriptor: Int32, _ file: Int32, _ offset: Int, _ count: Int) -> Int {
        cl_send_file(descriptor, file, UInt64(offset), count)
    }
    public override func shutdownWrite(_ descriptor: Int32) { _ = cl_shutdown_write(descriptor) }
    public override func hasPeerEnded(_ descriptor: Int32) -> Bool { cl_has_peer_ended(descriptor) != 0 }
    public override func unconfirmedCount(_ descriptor: Int32) -> Int { max(0, Int(cl_unacknowledged(descriptor))) }
    public override func takeError(_ descriptor: Int32) -> Int32 { abs(cl_connect_result(descriptor)) }
    public override func resetAtClose(_ descriptor: Int32) { _ = cl_set_linger(descriptor, 0) }
    public override func close(_ descriptor: Int32) { cl_close(descriptor) }
}
