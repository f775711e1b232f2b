import CLinux
import MartletBytes
public import MartletEventLoop

/// One client's machine and what it has to say: what a model without an event loop does once it has waited, in whatever way.
///
/// Not here: the socket. The event loop has its own buffers and does the same in `EventLoop.drive`.
struct Conversation<Machine: ProtocolMachine & ~Copyable>: ~Copyable {
    private var machine: Machine
    private let handle: Service<Machine>.Handler
    private var unread = UnreadBytes()
    /// To be written.
    var output = ByteBuffer()
    /// Why nothing more is read, once that is so. The output still leaves.
    private(set) var ending: CloseReason?

    init(_ service: Service<Machine>) {
        machine = service.makeMachine()
        handle = service.handle
    }

    var deadline: Instant { machine.deadline }

    mutating func receive(_ bytes: Span<UInt8>) {
        machine.heard(at: .current)
        do { try Self.take(bytes, &unread, &machine, &output, handle) } catch { ending = CloseReason(ending: error) }
    }

    /// Every event of the bytes, with what was kept before them.
    private static func take(
        _ bytes: Span<UInt8>, _ unread: inout UnreadBytes, _ machine: inout Machine, _ output: inout ByteBuffer, _ handle: Service<Machine>.Handler
    ) throws {
        var used = 0
        do {
            let all = unread.show(bytes)
            var input = ByteReader(all)
            while let event = try machine.nextEvent(from: &input, into: &output) { try handle(event, all, &machine, &output) }
            used = input.offset
        }
        unread.keep(bytes, used: used)
    }

    mutating func receiveEnd() {
        ending = .ended
        do { try machine.receiveEnd(at: .current, into: &output) } catch { ending = CloseReason(ending: error) }
    }

    mutating func wake() {
        do { try machine.wake(at: .current, into: &output) } catch { ending = CloseReason(ending: error) }
    }
}

extension CloseReason {
    /// What a violation, or a handler's error, ends a client with.
    @usableFromInline init(ending error: any Error) { self = error is Goodbye ? .finished : .refused("\(error)") }
}

extension Instant {
    static var current: Instant { Instant(nanoseconds: cl_monotonic_ns()) }
}
