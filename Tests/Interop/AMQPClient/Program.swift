@preconcurrency import Glibc
import MartletAMQP

/// What `Tests/Interop/test_amqp_client.py` runs against a server: one scenario, which prints what it saw, or says on stderr what was wrong.
///
///     interop-amqp-client SCENARIO URL [WORD...]
@main enum Program {
    typealias Scenario = @Sendable (_ url: String, _ words: [String]) async throws -> Void

    static let scenarios: [String: Scenario] = [
        "hello": Hello.run, "topology": Topology.run, "publishing": Publishing.run, "consuming": Consuming.run, "exceptions": Exceptions.run,
        "refused": Exceptions.refused, "storm": Recovery.storm, "recovery": Recovery.topology, "busy": Recovery.busy, "blocked": Recovery.blocked,
        "many": Many.run,
        "pipeline": Throughput.pipeline, "consume": Throughput.consume, "cycles": Throughput.cycles,
    ]

    static func main() async {
        // Whoever reads wants each line at once.
        setvbuf(stdout, nil, _IOLBF, 0)
        let words = CommandLine.arguments
        do {
            guard words.count > 2, let scenario = scenarios[words[1]] else { throw Wrong("no such scenario") }
            try await scenario(words[2], Array(words.dropFirst(3)))
            print("done")
        } catch {
            fputs("\(error)\n", stderr)
            exit(1)
        }
    }
}

struct Wrong: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Ends the scenario unless it holds.
func check(_ holds: Bool, _ what: @autoclosure () -> String, line: Int = #line) throws { if !holds { throw Wrong("line \(line): \(what())") } }
