import MartletLogging
import Synchronization
import Testing

private final class Notebook: LogSink {
    let lines = Mutex<[String]>([])
    func write(_ record: LogRecord) { lines.withLock { $0.append(record.line) } }
}

@Suite struct LoggingTests {
    @Test func `a line has time, level, label, message and metadata`() {
        let record = LogRecord(
            wallMilliseconds: 1_795_246_262_123, level: .info, label: "mqtt", message: "client connected",
            metadata: [("client", "meter-7"), ("address", "127.0.0.1:5000")])
        #expect(record.line == "2026-11-21T07:31:02.123Z info  mqtt  client connected client=meter-7 address=127.0.0.1:5000")
    }

    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00.000Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"), (951_868_799_999, "2000-02-29T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"), (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
    ])
    func `the calendar knows leap years`(milliseconds: Int64, expected: String) {
        let line = LogRecord(wallMilliseconds: milliseconds, level: .warning, label: "server", message: "m").line
        #expect(line == "\(expected) warn  server m")
    }

    @Test func `a client's name cannot forge a line`() {
        let record = LogRecord(
            wallMilliseconds: 0, level: .error, label: "mqtt", message: "bad\nclient",
            metadata: [("client", "a\n2026 error x"), ("reason", "said \"no\""), ("empty", ""), ("esc", "\u{1B}[2J")])
        #expect(
            record.line
                == #"1970-01-01T00:00:00.000Z error mqtt  bad\nclient client="a\n2026 error x" reason="said \"no\"" empty="" esc="\u{1b}[2J""#)
    }

    @Test func `below the level nothing is evaluated`() {
        let notebook = Notebook()
        var evaluated = 0
        func count(_ text: String) -> String {
            evaluated += 1
            return text
        }
        var logger = Logger(label: "test", level: .info, sink: notebook)
        logger.debug(count("hidden"), metadata: ["k": count("v")])
        #expect(evaluated == 0)
        logger.info(count("seen"))
        #expect(evaluated == 1)
        logger.level = .error
        logger.warning(count("hidden"))
        #expect(evaluated == 1)
        #expect(notebook.lines.withLock { $0.count } == 1)
    }

    @Test func `metadata of the logger precedes that of the line`() {
        let notebook = Notebook()
        let logger = Logger(label: "mqtt", sink: notebook).with(["client": "c1"]).labelled("amqp")
        logger.info("left", metadata: ["reason": "normal"])
        #expect(notebook.lines.withLock { $0[0].hasSuffix("info  amqp  left client=c1 reason=normal") })
    }

    @Test func `many threads write whole lines`() async {
        let notebook = Notebook()
        let logger = Logger(label: "t", sink: notebook)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask { for line in 0..<100 { logger.info("line", metadata: ["id": "\(task)-\(line)"]) } }
            }
        }
        #expect(notebook.lines.withLock { Set($0.map { $0.split(separator: " ").last }).count } == 800)
    }

    @Test func `levels are ordered`() {
        #expect(LogLevel.allCases == LogLevel.allCases.sorted())
    }
}
