import CLinux

/// A file, or stdin, read from front to end by a thread that may wait (`StandardStream`'s counterpart). Not on an event loop.
public struct InputFile: ~Copyable, Sendable {
    private let descriptor: Int32
    private let stop: InputStop

    /// stdin. Not closed.
    public static func standardInput(until stop: InputStop = InputStop()) -> InputFile { InputFile(descriptor: 0, stop: stop) }

    /// A person types it.
    public static var isStandardInputTerminal: Bool { cl_is_terminal(0) == 1 }

    public init(path: String) throws(InputFailure) {
        let descriptor = cl_open_file(path)
        guard descriptor >= 0 else { throw InputFailure(place: path, errno: descriptor) }
        self.init(descriptor: descriptor, stop: InputStop())
    }

    private init(descriptor: Int32, stop: InputStop) {
        self.descriptor = descriptor
        self.stop = stop
    }

    deinit { if descriptor > 2 { cl_close(descriptor) } }

    /// Waits for the next bytes, at most `count`; empty at the end.
    public func read(atMost count: Int) throws(InputFailure) -> [UInt8] {
        var result = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            result = cl_read_file(descriptor, stop.eventfd, buffer.baseAddress, count)
            initialized = max(0, result)
        }
        guard result >= 0 else { throw InputFailure(place: descriptor == 0 ? "stdin" : "the file", errno: Int32(result)) }
        return bytes
    }
}

/// Ends the waits of an `InputFile` from another thread: from then on it is at its end.
public final class InputStop: Sendable {
    let eventfd = cl_eventfd()
    public init() {}
    deinit { cl_close(eventfd) }
    public func signal() { cl_eventfd_signal(eventfd) }
}

/// A file that could not be read.
public struct InputFailure: Error, Sendable, CustomStringConvertible {
    let place: String
    let errno: Int32
    public var description: String { "cannot read \(place): \(String(cString: cl_error_text(errno)).lowercased())" }
}
