import CLinux

/// Says what happens, one line at a time: a label (who speaks), a level, a message and ordered `key=value` metadata.
///
/// Shaped like swift-log's `Logger`, so that moving over is mechanical. A value: copy it, give it metadata, pass it on.
/// Invariant: below `level` neither the message nor the metadata is evaluated; the check is one comparison of two bytes.
/// Not here: where lines go (`LogSink`) and how they look (`LogRecord`).
public struct Logger: Sendable {
    public typealias Metadata = KeyValuePairs<String, String>

    public let label: String
    public var level: LogLevel
    private let sink: any LogSink
    private var context: [(key: String, value: String)] = []

    public init(label: String, level: LogLevel = .info, sink: any LogSink = StandardErrorSink()) {
        self.label = label
        self.level = level
        self.sink = sink
    }

    /// The same logger for one client, listener or queue: every line carries `metadata` before its own.
    public func with(_ metadata: Metadata) -> Logger {
        var copy = self
        copy.context += metadata.map { ($0.key, $0.value) }
        return copy
    }

    /// The same sink and level under another name.
    public func labelled(_ label: String) -> Logger {
        var copy = Logger(label: label, level: level, sink: sink)
        copy.context = context
        return copy
    }

    @inline(__always)
    public func log(_ level: LogLevel, _ message: @autoclosure () -> String, metadata: @autoclosure () -> Metadata = [:]) {
        if level >= self.level { write(level, message(), metadata()) }
    }

    public func trace(_ message: @autoclosure () -> String, metadata: @autoclosure () -> Metadata = [:]) { log(.trace, message(), metadata: metadata()) }
    public func debug(_ message: @autoclosure () -> String, metadata: @autoclosure () -> Metadata = [:]) { log(.debug, message(), metadata: metadata()) }
    public func info(_ message: @autoclosure () -> String, metadata: @autoclosure () -> Metadata = [:]) { log(.info, message(), metadata: metadata()) }
    public func warning(_ message: @autoclosure () -> String, metadata: @autoclosure () -> Metadata = [:]) { log(.warning, message(), metadata: metadata()) }
    public func error(_ message: @autoclosure () -> String, metadata: @autoclosure () -> Metadata = [:]) { log(.error, message(), metadata: metadata()) }

    @inline(never)
    private func write(_ level: LogLevel, _ message: String, _ metadata: Metadata) {
        let own = metadata.map { (key: $0.key, value: $0.value) }
        sink.write(LogRecord(wallMilliseconds: cl_wall_ns() / 1_000_000, level: level, label: label, message: message, metadata: context + own))
    }
}
