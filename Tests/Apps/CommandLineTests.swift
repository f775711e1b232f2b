import MartletLogging
import MartletServer
import Testing

@testable import martlet

/// What `martlet` with these words would do.
private func outcome(_ words: String...) -> String {
    do throws(CommandFailure) {
        switch try Invocation(words, commands: Martlet.commands) {
        case .help(let text): return "help " + (text.split(separator: "\n").first.map(String.init) ?? "")
        case .run(let command, _): return "run \(command.name)"
        }
    } catch { return "\(error.code) \(error.sentence)" }
}

private func arguments(_ words: [String]) throws(CommandFailure) -> Arguments {
    let command = Command(
        path: ["test"], summary: "",
        options: [
            .one("-m", "--message", value: "TEXT", about: ""), .many("-t", "--topic", value: "FILTER", about: ""), .flag("-v", "--verbose", about: ""),
            .one("-q", "--qos", value: "N", about: ""),
        ],
        examples: [], run: { _ in 0 })
    return try Arguments(words, for: command)
}

private func refusal(_ words: String...) -> String {
    do throws(CommandFailure) {
        _ = try arguments(words)
        return "accepted"
    } catch { return "\(error.code) \(error.sentence)" }
}

@Suite struct CommandLineTests {
    @Test func `options are found by any name, with = and repeated`() throws {
        let arguments = try arguments(["-t", "a/+", "--topic=b=c", "--message", "--verbose", "-v", "-q", "1", "-q", "2"])
        #expect(arguments.texts("--topic") == ["a/+", "b=c"])
        #expect(arguments.text("-m") == "--verbose")
        #expect(arguments.has("--verbose"))
        #expect(try arguments.integer("--qos", in: 0...2) == 2)
        #expect(try arguments.integer("-x", in: 0...2) == nil)
    }

    @Test func `a value may be empty or look like an option`() throws {
        #expect(try arguments(["--message="]).text("-m") == "")
        #expect(try arguments(["-m", "-5"]).text("-m") == "-5")
        #expect(try arguments(["-m", "--help"]).text("-m") == "--help")
        #expect(try arguments(["-v", "--help", "--nonsense"]).wantsHelp)
    }

    @Test func `mistakes are one sentence with exit code 64`() {
        #expect(refusal("--mesage", "x") == "64 test: unknown option \"--mesage\"; did you mean \"--message\"?")
        #expect(refusal("-z") == "64 test: unknown option \"-z\"; see `martlet test --help`")
        #expect(refusal("-m") == "64 test: -m needs a value: -m TEXT")
        #expect(refusal("--verbose=yes") == "64 test: --verbose takes no value")
        #expect(refusal("word") == "64 test: unexpected \"word\"; see `martlet test --help`")
        #expect(refusal("-") == "64 test: unexpected \"-\"; see `martlet test --help`")
        #expect(throws: CommandFailure.usage("-q 3: not a whole number from 0 to 2")) { try arguments(["-q", "3"]).integer("-q", in: 0...2) }
    }

    @Test func `commands are found, helped and suggested`() {
        #expect(outcome("serve") == "run serve")
        #expect(outcome("serve", "--loops", "2", "--help") == "help usage: martlet serve [OPTION]…")
        #expect(outcome("mqtt", "pub", "-m", "--help") == "run mqtt pub")
        #expect(outcome("mqtt", "--help") == "help usage: martlet COMMAND [OPTION]…")
        #expect(outcome("--help") == "help usage: martlet COMMAND [OPTION]…")
        #expect(outcome("--version") == "help martlet \(Martlet.version)")
        #expect(outcome("serv") == "64 unknown command \"serv\"; did you mean \"serve\"?")
        #expect(outcome("mqtt", "sbu") == "64 unknown command \"mqtt sbu\"; did you mean \"mqtt sub\"?")
        #expect(outcome("mqtt") == "64 a command is missing; one of: mqtt pub, mqtt sub, mqtt rr; see `martlet --help`")
        #expect(outcome("help", "me").hasPrefix("64 unknown command"))
        #expect(outcome().hasPrefix("64 a command is missing"))
    }

    @Test(arguments: Martlet.commands.map(\.name))
    func `the help of every command shows all its options and an example`(name: String) throws {
        let command = try #require(Martlet.commands.first { $0.name == name })
        let help = Help.text(of: command)
        for option in command.options.flatMap(\.names) { #expect(help.contains(option)) }
        #expect(!command.examples.isEmpty)
        for example in command.examples { #expect(help.contains("  \(example.line)\n")) }
        #expect(help.split(separator: "\n").allSatisfy { $0.count <= 120 }, "\(help)")
        #expect(Set(command.options.flatMap(\.names)).count == command.options.flatMap(\.names).count, "a name stands twice")
    }

    @Test func `the flags of serve set their keys`() throws {
        let words = [
            "--listen", "mqtt://127.0.0.1:0", "--listen", "mqtt+unix:///tmp/m", "--user", "a:b", "--allow-anonymous", "--loops", "3", "--log-level", "error",
            "--grace", "1s", "--set", "mqtt.connectTimeout=2s", "--data", "none",
        ]
        let configuration = try ServeCommand.configuration(Arguments(words, for: ServeCommand.command), environment: ["MARTLET_LOOPS": "9"])
        #expect(configuration.listeners.map(\.description) == ["mqtt://127.0.0.1:0", "mqtt+unix:///tmp/m"])
        #expect(configuration.users == [.init(name: "a", password: "b")])
        #expect(configuration.allowAnonymous)
        #expect(configuration.loops == 3)
        #expect(configuration.logLevel == .error)
        #expect(configuration.grace == .seconds(1))
        #expect(configuration.mqtt.connectTimeout == .seconds(2))
    }

    @Test func `a wrong value of serve names its option and ends with 64`() throws {
        let arguments = try Arguments(["--loops", "0"], for: ServeCommand.command)
        #expect(throws: CommandFailure.usage("serve: --loops: \"0\" is not a whole number from 1 to 64")) {
            try ServeCommand.configuration(arguments, environment: [:])
        }
    }
}
