import MartletMQTT
import MartletMQTTProtocol
import Testing

@testable import martlet

private func bench(_ words: String...) throws(CommandFailure) -> MQTTBenchOptions { try MQTTBenchOptions(Arguments(words, for: MQTTBenchOptions.command)) }

private func refusal(_ words: String...) -> String {
    do throws(CommandFailure) {
        _ = try MQTTBenchOptions(Arguments(words, for: MQTTBenchOptions.command))
        return "accepted"
    } catch { return error.code == ExitCode.usage ? error.sentence : "code \(error.code)" }
}

@Suite struct MQTTBenchTests {
    @Test func `the least is one publisher and one subscriber`() throws {
        let options = try bench("mqtt://h:7")
        #expect((options.server.host, options.server.port) == ("h", 7))
        #expect((options.load.publisherCount, options.load.receiverCount, options.topicCount, options.qos, options.load.payloadSize) == (1, 1, 1, 0, 64))
        #expect(options.load.messageCount == nil && options.load.rate == nil && options.load.seconds == 5 && options.load.warmUpSeconds == 1)
        let more = try bench(
            "--publishers", "50", "mqtt://u:p@h", "--subscribers", "10", "-q", "2", "--count", "9", "--rate", "5", "--window", "3", "--json", "-V", "311")
        #expect((more.load.publisherCount, more.load.receiverCount, more.topicCount, more.qos, more.load.messageCount) == (50, 10, 10, 2, 9))
        #expect(more.load.rate == 5 && more.window == 3 && more.load.isJSON && more.version == .v3_1_1 && more.load.warmUpSeconds == 0)
    }

    @Test func `what cannot be is refused with one sentence`() {
        #expect(refusal().contains("say one server"))
        #expect(refusal("mqtt://a", "mqtt://b").contains("say one server"))
        #expect(refusal("http://a").contains("not a scheme"))
        #expect(refusal("mqtt://a/topic").contains("names a topic"))
        #expect(refusal("mqtt://a", "--size", "8").contains("--size 8"))
        #expect(refusal("mqtt://a", "--duration", "x").contains("--duration x"))
    }

    @Test func `percentiles are within two hundredths of what was counted`() throws {
        var histogram = LatencyHistogram()
        #expect(histogram.microseconds(at: 0.5) == nil)
        for microseconds in 1...100_000 { histogram.add(nanoseconds: Int64(microseconds) * 1_000) }
        for (part, expected) in [(0.5, 50_000.0), (0.99, 99_000), (0.999, 99_900), (1, 100_000), (0.00001, 1)] {
            let found = try #require(histogram.microseconds(at: part))
            #expect(abs(found - expected) <= expected * 0.02, "\(part): \(found)")
        }
        var other = LatencyHistogram()
        for extreme in [0, 1, 63, 64, 65, Int64.max, -5] { other.add(nanoseconds: extreme) }
        histogram.add(other)
        #expect(histogram.count == 100_007)
        #expect((histogram.microseconds(at: 1) ?? 0) > 9e15)
    }

    @Test func `numbers are grouped`() {
        #expect([0, 7, 999, 1_000, 1_234_567].map { BenchFigures.grouped($0) } == ["0", "7", "999", "1,000", "1,234,567"])
    }
}
