/// Where records go; a test puts its own in the place of `StandardErrorSink`. May be called from any thread.
public protocol LogSink: Sendable {
    func write(_ record: LogRecord)
}

/// One record, one line, one `write`: lines of several threads never mix.
public struct StandardErrorSink: LogSink {
    public init() {}
    public func write(_ record: LogRecord) { StandardStream.error.write(record.line + "\n") }
}
