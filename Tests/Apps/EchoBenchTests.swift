import Testing

@testable import martlet

private func bench(_ words: String...) throws(CommandFailure) -> EchoBenchOptions {
    try EchoBenchOptions(Arguments(words, for: TCPBench.command), transport: "tcp")
}

private func refusal(_ words: String...) -> String {
    do throws(CommandFailure) {
        _ = try EchoBenchOptions(Arguments(words, for: TCPBench.command), transport: "tcp")
        return "accepted"
    } catch { return error.code == ExitCode.usage ? error.sentence : "code \(error.code)" }
}

@Suite struct EchoBenchTests {
    @Test func `the least is one connection with one message in flight`() throws {
        let options = try bench("h:7")
        #expect("\(options.place)" == "h:7")
        #expect((options.connectionCount, options.depth, options.size, options.seconds, options.warmUpSeconds) == (1, 1, 64, 5, 0.5))
        #expect(options.messageCount == nil && options.rate == nil && !options.isJSON)
        let more = try bench("tcp://h:7", "-c", "50", "--depth", "32", "--size", "16384", "--count", "9", "--rate", "5", "--json", "--loops", "2")
        #expect((more.connectionCount, more.depth, more.size, more.messageCount, more.rate, more.loopCount) == (50, 32, 16_384, 9, 5, 2))
        #expect(more.isJSON && more.warmUpSeconds == 0)
        #expect(try bench("h:7", "--rate", "5").depth == 256)
    }

    @Test func `what cannot be is refused with one sentence`() {
        #expect(refusal("h:7", "--size", "7").contains("--size 7"))
        #expect(refusal("h:7", "--size", "16777216", "--depth", "5").contains("more than 64 MiB"))
        #expect(refusal("h:7", "--duration", "x") == "--duration x: seconds from 0 to 86400")
        #expect(refusal("h").contains("say HOST:PORT"))
    }

    @Test func `a pace gives each message its time, and each connection its share of a count`() throws {
        let shares = try [bench("h:7", "--count", "10", "-c", "4")].flatMap { options in (0..<4).map { EchoBenchPace(options, index: $0).left } }
        #expect(shares == [3, 3, 2, 2])
        var pace = EchoBenchPace(try bench("h:7", "--rate", "1000", "-c", "2"), index: 0)
        #expect(pace.nextDue == .max)
        pace.start(at: 1_000_000_000)
        let first = pace.nextDue
        #expect((1_000_000_000..<1_002_000_000).contains(first))
        #expect(pace.sent(due: first) == 0)
        #expect(pace.nextDue == first + 2_000_000 && pace.due(0) == first)
    }
}
