import Glibc
import MartletCore
import MartletEventLoop
import MartletLogging
import MartletMetrics
import MartletServer
import MartletShard
import Testing

@Suite struct ServerMetricTests {
    /// The rows of Documentation/metrics.md's table.
    private func documented() throws -> [[String]] {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let file = try #require(fopen("/\(root)/Documentation/metrics.md", "r"))
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("| `martlet_") || $0.hasPrefix("| `process_") }.map { row in
            row.split(separator: "|").map { $0.trimmingPrefix(" ").filter { $0 != "`" } }.map { String($0.reversed().drop { $0 == " " }.reversed()) }
        }
    }

    @Test func `Documentation/metrics.md lists every metric as it is sent`() throws {
        let sent = ServerMetric.all.map { [$0.name, $0.kind.rawValue, $0.labels.joined(separator: ", "), $0.meaning.filter { $0 != "`" }] }
        let rows = try documented()
        for metric in sent { #expect(rows.contains(metric), "\(metric) is not in the table") }
        #expect(rows.map { $0[0] } == sent.map { $0[0] })
    }

    @Test func `names are Prometheus' own kind of names`() {
        let names = ServerMetric.all.map(\.name)
        #expect(Set(names).count == names.count)
        for metric in ServerMetric.all {
            let isCounter = metric.name.hasSuffix("_total")
            #expect(isCounter == (metric.kind == .counter), "\(metric.name)")
            // OpenMetrics calls a counter by its name without the end.
            #expect(!isCounter || !names.contains(String(metric.name.dropLast("_total".count))), "\(metric.name)")
            #expect(metric.name.hasPrefix("martlet_") || metric.name.hasPrefix("process_"), "\(metric.name)")
            #expect((metric.labels + [metric.name]).allSatisfy { $0.allSatisfy { $0 == "_" || $0.isASCII && $0.isLowercase } }, "\(metric.name)")
            #expect(metric.kind != .histogram || metric.name.hasSuffix("_seconds"), "\(metric.name)")
            #expect(metric.meaning.hasSuffix("."), "\(metric.name)")
        }
    }

    @Test func `of many queues those that hold most are kept`() {
        var largest = LargestQueues(max: 3)
        for (number, messages) in [5, 0, 9, 7, 7, 1, 8].enumerated() { largest.offer(UInt64(number), messages: messages) }
        #expect(Set(largest.numbers) == [2, 6, 4] && largest.leftOut == 4)
        var none = LargestQueues(max: 0)
        none.offer(1, messages: 1)
        #expect(none.numbers.isEmpty && none.leftOut == 1)
    }

    @Test func `a name that is no text has digits instead`() {
        let sample = QueueSample("amqp", namespace: [0x2F], name: [0x61, 0xFF, 0x0A], depth: (1, 2), bytes: 3, consumers: 4)
        #expect(sample.name == "0x61ff0a" && sample.namespace == "/" && sample.messages == 3)
    }

    @Test(.timeLimit(.minutes(10))) func `a loop that does not answer is missing, and waited for no longer than that`() async {
        let loops = (0..<2).map { EventLoop(number: $0) }, router = Router()
        let thread = loops[1].start { Shard(on: $0, of: loops, router: router, log: Logger(label: "test", level: .error)) }
        #expect(await Survey(loops: loops).figures(within: .milliseconds(100)).map(\.loop) == [1])
        #expect(Survey(loops: loops).take(within: .milliseconds(100)).map(\.loop) == [1])
        #expect(await Survey(loops: [loops[1]]).figures(within: .seconds(3600)).map(\.loop) == [1])
        loops[1].stop()
        thread.join()
    }
}
