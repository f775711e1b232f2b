import Synchronization

/// Where records go; a test puts its own in the place of `StandardErrorSink`. May be called from any thread.
public protocol LogSink: Sendable {
    func write(_ record: LogRecord)
}

/// One record, one line, one `write`: lines of several threads never mix.
///
/// Never waits: a line that stderr cannot take now (a pipe that nobody reads) is dropped, and the next one that gets through says how many were.
public struct StandardErrorSink: LogSink {
    private static let dropped = Atomic<Int>(0)

    public init() {}

    public func write(_ record: LogRecord) {
        let before = Self.dropped.load(ordering: .relaxed)
        let text = (before > 0 ? "\(before) log lines were dropped: nobody read them\n" : "") + record.line + "\n"
        if StandardStream.error.writeNow(text) {
            if before > 0 { Self.dropped.wrappingSubtract(before, ordering: .relaxed) }
        } else {
            Self.dropped.wrappingAdd(1, ordering: .relaxed)
        }
    }
}
