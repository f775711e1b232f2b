internal import MartletBytes
public import MartletFramingProtocol
public import MartletNet

/// Whole frames of what a connection receives. One task iterates; bytes behind the last frame that was taken are lost with the iterator.
/// Throws `tooLong` for a frame above the limit and `truncated` when the stream ends inside of one, and what reading throws.
public struct StreamFrames: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = NetError
    let inbound: StreamInbound
    let machine: FramingMachine

    public func makeAsyncIterator() -> Iterator { Iterator(inbound: inbound.makeAsyncIterator(), machine: machine) }

    public struct Iterator: AsyncIteratorProtocol {
        var inbound: StreamInbound.Iterator
        var machine: FramingMachine
        private var bytes: [UInt8] = []
        private var used = 0

        init(inbound: StreamInbound.Iterator, machine: FramingMachine) {
            self.inbound = inbound
            self.machine = machine
        }

        public mutating func next() async throws(NetError) -> [UInt8]? { try await nextFrame() }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(NetError) -> [UInt8]? { try await nextFrame() }

        private mutating func nextFrame() async throws(NetError) -> [UInt8]? {
            while true {
                do throws(FramingViolation) {
                    if let frame = try cut() { return frame }
                } catch {
                    throw failure(error)
                }
                bytes.removeFirst(used)
                used = 0
                guard let more = try await inbound.next() else {
                    do throws(FramingViolation) { try end() } catch { throw failure(error) }
                    return nil
                }
                if bytes.isEmpty { bytes = more } else { bytes += more }
            }
        }

        private mutating func cut() throws(FramingViolation) -> [UInt8]? {
            let bytes = bytes
            var input = ByteReader(bytes.span, offset: used), output = ByteBuffer()
            let event = try machine.nextEvent(from: &input, into: &output)
            used = input.offset
            guard case .frame(let range)? = event else { return nil }
            return input.bytes.at(range).array
        }

        private mutating func end() throws(FramingViolation) {
            var output = ByteBuffer()
            try machine.receiveEnd(at: .never, into: &output)
        }

        private func failure(_ violation: FramingViolation) -> NetError {
            inbound.core.error(violation == .endedInFrame ? .truncated : .tooLong, .read, detail: "\(violation)")
        }
    }
}

/// Lines as text: without their ends (LF, or CR and LF), bytes that are no UTF-8 replaced. Otherwise as `StreamFrames`.
public struct StreamLines: AsyncSequence, Sendable {
    public typealias Element = String
    public typealias Failure = NetError
    let frames: StreamFrames

    public func makeAsyncIterator() -> Iterator { Iterator(frames: frames.makeAsyncIterator()) }

    public struct Iterator: AsyncIteratorProtocol {
        var frames: StreamFrames.Iterator

        public mutating func next() async throws(NetError) -> String? { try await frames.next().map { String(decoding: $0, as: UTF8.self) } }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(NetError) -> String? {
            try await frames.next().map { String(decoding: $0, as: UTF8.self) }
        }
    }
}

extension StreamInbound {
    /// Lines of at most `max` bytes. A last line without its end throws `truncated`.
    public func lines(max: Int = FramingLimits().lineMax) -> StreamLines {
        StreamLines(frames: StreamFrames(inbound: self, machine: FramingMachine(.lines, limits: FramingLimits(max: max))))
    }

    /// Frames of at most `max` bytes, each behind its length, which is big-endian and does not count itself.
    public func frames(prefix: Framing.PrefixWidth, max: Int = FramingLimits().frameMax) -> StreamFrames {
        StreamFrames(inbound: self, machine: FramingMachine(.lengthPrefixed(width: prefix), limits: FramingLimits(max: max)))
    }

    /// Frames of `size` bytes, at least one.
    public func frames(size: Int) -> StreamFrames { StreamFrames(inbound: self, machine: FramingMachine(.fixed(size))) }
}

extension StreamConnection {
    /// Writes a frame behind its length. Throws `tooLong` if the prefix cannot say it, and as `write` does.
    public func write(frame: [UInt8], prefix: Framing.PrefixWidth, timeout: Duration? = nil) async throws(NetError) {
        var machine = FramingMachine(.lengthPrefixed(width: prefix), limits: FramingLimits(max: Int(UInt32.max) - 16))
        var output = ByteBuffer()
        do throws(FramingMisuse) { try machine.send(frame.span, into: &output) } catch { throw core.error(.tooLong, .write, detail: "\(frame.count) bytes") }
        try await write(output.span.array, timeout: timeout)
    }
}
