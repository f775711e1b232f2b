import CLinux
public import MartletBytes
public import MartletFramingProtocol
public import MartletNet

/// A TCP connection with plain blocking calls: each returns when it is done, and the calling thread waits meanwhile. Closed with its owner.
///
/// For threads of the system's own (`main`, pthreads), **never** inside of a task: Swift's cooperative pool has a thread for each processor, a call
/// that waits keeps one of them, and a few such calls stop every task of the process. Tasks use `TCP`.
/// A timeout is for the whole call; without one it waits as long as it takes. Errors are `NetError`s with the peer's address and the time.
public struct BlockingConnection: ~Copyable {
    public let peer: SocketAddress
    private let socket: StreamSocket
    /// Received and not read yet.
    private var input = ByteBuffer()

    /// Takes over a connected descriptor.
    init(_ socket: consuming StreamSocket, peer: SocketAddress) {
        socket.setBlocking(true)
        self.socket = socket
        self.peer = peer
    }

    public var local: SocketAddress? { SocketAddress.local(of: socket.descriptor) }
    /// Who connected to a Unix socket, or listens at it; nil for TCP.
    public var credentials: PeerCredentials? { PeerCredentials(descriptor: socket.descriptor) }

    // MARK: Reading

    /// What is there, waiting for the first byte; nil once the peer has ended its stream. Throws `timedOut`, `reset`.
    public mutating func read(timeout: Duration? = nil) throws(NetError) -> [UInt8]? {
        if input.isEmpty, try !fill(Timer(timeout)) { return nil }
        defer { input.removeAll() }
        return input.span.array
    }

    /// Exactly `count` bytes; nil if the peer has ended its stream before the first. Throws `truncated` if it ends between, `timedOut`, `reset`.
    public mutating func read(exactly count: Int, timeout: Duration? = nil) throws(NetError) -> [UInt8]? {
        let timer = Timer(timeout)
        while input.count < count {
            guard try fill(timer) else {
                if input.isEmpty { return nil }
                throw NetError(.truncated, .read, "\(peer)", elapsed: timer.elapsed)
            }
        }
        defer { input.consume(count) }
        return input.span.extracting(0..<count).array
    }

    /// The next event of a protocol, by the machine that every other model drives too; nil at the end of the stream. What the machine has to answer
    /// is written. Throws the machine's violation, or a `NetError`.
    ///
    /// The machine must be the same one for all of the connection: it may remember how far it has looked.
    public mutating func next<Machine: ProtocolMachine & ~Copyable>(_ machine: inout Machine, timeout: Duration? = nil) throws -> Machine.Event.Owned? {
        let timer = Timer(timeout)
        var output = ByteBuffer()
        while true {
            let event = try event(from: &machine, into: &output)
            if !output.isEmpty { try write(output.span, timer) }
            output.removeAll()
            if let event { return event }
            guard try fill(timer) else {
                try machine.receiveEnd(at: .current, into: &output)
                return nil
            }
            machine.heard(at: .current)
        }
    }

    private mutating func event<Machine: ProtocolMachine & ~Copyable>(
        from machine: inout Machine, into output: inout ByteBuffer
    ) throws(Machine.Violation) -> Machine.Event.Owned? {
        func next(_ bytes: Span<UInt8>) throws(Machine.Violation) -> (event: Machine.Event.Owned, used: Int)? {
            var reader = ByteReader(bytes)
            guard let event = try machine.nextEvent(from: &reader, into: &output) else { return nil }
            return (event.owned(in: bytes), reader.offset)
        }
        guard let (event, used) = try next(input.span) else { return nil }
        input.consume(used)
        return event
    }

    /// The next line without its LF or CR LF, as UTF-8 (repaired where it is not); nil at the end of the stream. Throws `tooLong` above `max` bytes,
    /// `truncated` for a last line without its end, `timedOut`, `reset`.
    public mutating func readLine(max: Int = FramingLimits().lineMax, timeout: Duration? = nil) throws(NetError) -> String? {
        try readFrame(.lines, max: max, timeout: timeout).map { String(decoding: $0, as: UTF8.self) }
    }

    /// The next frame; nil at the end of the stream between two. Throws `tooLong` above `max` bytes, `truncated` for an end in a frame, `timedOut`, `reset`.
    public mutating func readFrame(_ framing: Framing, max: Int? = nil, timeout: Duration? = nil) throws(NetError) -> [UInt8]? {
        let timer = Timer(timeout)
        var machine = FramingMachine(framing, limits: max.map { FramingLimits(max: $0) } ?? FramingLimits())
        do {
            switch try next(&machine, timeout: timeout) {
            case .frame(let bytes)?: return bytes
            case nil: return nil
            }
        } catch let error as NetError { throw error } catch {
            let kind: NetError.Kind = if case FramingViolation.frameTooLong = error { .tooLong } else { .truncated }
            throw NetError(kind, .read, "\(peer)", elapsed: timer.elapsed, detail: "\(error)")
        }
    }

    /// Waits for more bytes. False: the peer has ended its stream.
    private mutating func fill(_ timer: Timer) throws(NetError) -> Bool {
        while true {
            if timer.deadline != .never, socket.wait(forWriting: false, until: timer.deadline) == 0 {
                throw NetError(.timedOut, .read, "\(peer)", elapsed: timer.elapsed)
            }
            let count = socket.read(into: &input, atMost: readSize)
            if count >= 0 { return count > 0 }
            if count != -interrupted { throw NetError(errno: Int32(count), .read, "\(peer)", elapsed: timer.elapsed) }
        }
    }

    // MARK: Writing

    /// All of `bytes`, which the system has when this returns; it waits while the peer does not read. Throws `timedOut` (a part may have left), `reset`.
    public func write(_ bytes: [UInt8], timeout: Duration? = nil) throws(NetError) { try write(bytes.span, Timer(timeout)) }

    /// As `write([UInt8])`, in UTF-8.
    public func write(_ text: String, timeout: Duration? = nil) throws(NetError) { try write(Array(text.utf8), timeout: timeout) }

    private func write(_ bytes: Span<UInt8>, _ timer: Timer) throws(NetError) {
        var offset = 0
        while offset < bytes.count {
            let rest = bytes.extracting(offset..<bytes.count)
            let count = timer.deadline == .never ? socket.write(rest) : socket.writeNow(rest)
            if count >= 0 {
                offset += count
            } else if count == -tryAgain {
                if socket.wait(forWriting: true, until: timer.deadline) == 0 { throw NetError(.timedOut, .write, "\(peer)", elapsed: timer.elapsed) }
            } else if count != -interrupted {
                throw NetError(errno: Int32(count), .write, "\(peer)", elapsed: timer.elapsed)
            }
        }
    }

    /// Ends this side's stream after what was written; the peer's goes on until it ends it.
    public func finishWriting() { socket.finishWriting() }

    /// Closes now. What was written still leaves, unless the peer's bytes lie here unread: then the system resets the connection.
    public consuming func close() {}

    /// A call's time.
    private struct Timer {
        let start = Instant.current
        let deadline: Instant
        init(_ timeout: Duration?) { deadline = timeout.map { Instant.current + $0 } ?? .never }
        var elapsed: Duration { Instant.current - start }
    }
}
