import MartletSockets

/// `martlet bench models` as typed.
struct ModelsBenchOptions: Equatable, Sendable {
    let models: [ServerModel]
    let clientCounts: [Int]
    /// So many of them talk, the others are connected and silent.
    let busyMax: Int
    /// Bytes of a message.
    let size: Int
    /// Of each measurement.
    let seconds: Double
    let isJSON: Bool
    let isQuiet: Bool
    /// Where the plot goes.
    let svgPath: String?

    static let options: [Command.Option] = [
        .one("--models", value: "LIST", about: "some of \(ServerModel.allCases.map(\.rawValue).joined(separator: ",")) (default: all)"),
        .one("--clients", value: "LIST", about: "how many connect at once (default: 1,10,100,1000,10000)"),
        .one("--busy", value: "N|all", about: "how many of them talk, the others are connected and silent (default: 100)"),
        .one("--size", value: "BYTES", about: "of a message (default: 64)"),
        .one("--duration", value: "SECONDS", about: "how long each is measured (default: 2)"),
        .one("--svg", value: "FILE", about: "write a plot"),
        .flag("--json", about: "one JSON object instead of the table"),
        .flag("--quiet", about: "no progress"),
    ]

    static let command = Command(
        path: ["bench", "models"],
        summary: "compare the four I/O models on this machine: throughput, latency, processor, memory",
        options: options,
        examples: [
            ("martlet bench models", "all models, 1 to 10,000 clients; a minute and a half"),
            ("martlet bench models --svg models.svg", "with a plot"),
            ("martlet bench models --models threads,loop --clients 100,1000 --duration 5 --json", "two of them, for a script"),
        ],
        footnote: {
            """
            Each model serves as a process of its own, `martlet tcp echo --model …`. A client that talks sends a message, waits
            for the echo and sends the next; the load comes from an event loop in this process. As on real servers, most of many
            clients are silent: with --busy all every one talks. "served" counts the talking clients that were answered:
            blocking serves one at a time.

            """
        },
        run: { arguments throws(CommandFailure) in try ModelsBench(ModelsBenchOptions(arguments)).run() })

    init(_ arguments: Arguments) throws(CommandFailure) {
        models = try Self.list(arguments, "--models", ServerModel.allCases) { ServerModel(rawValue: $0) }
        clientCounts = try Self.list(arguments, "--clients", [1, 10, 100, 1_000, 10_000]) { Int($0).flatMap { (1...50_000).contains($0) ? $0 : nil } }
        busyMax = arguments.text("--busy") == "all" ? .max : try arguments.integer("--busy", in: 1...50_000) ?? 100
        size = try arguments.integer("--size", in: 1...65_536) ?? 64
        seconds = try arguments.seconds("--duration") ?? 2
        if seconds <= 0 { throw .usage("bench models: --duration has to be above 0") }
        isJSON = arguments.has("--json")
        isQuiet = arguments.has("--quiet")
        svgPath = arguments.text("--svg")
    }

    private static func list<Value>(_ arguments: Arguments, _ name: String, _ all: [Value], _ value: (String) -> Value?) throws(CommandFailure) -> [Value] {
        guard let text = arguments.text(name) else { return all }
        var values: [Value] = []
        for part in text.split(separator: ",") {
            guard let value = value(String(part)) else { throw .usage("bench models: \(name) \(text): \"\(part)\" is none") }
            values.append(value)
        }
        if values.isEmpty { throw .usage("bench models: \(name) is empty") }
        return values
    }
}
