import MartletLogging
import MartletServer
import MartletSettings

/// `martlet serve`: the command line as `ServerConfiguration`. Not here: what the server does with it.
enum ServeCommand {
    static let command = Command(
        path: ["serve"],
        summary: "run the server",
        options: [
            .one("--config", value: "FILE", about: "read settings from a YAML file"),
            .many("--listen", value: "URL", about: "where to listen, such as mqtt://127.0.0.1:1883 or mqtt+unix:///run/martlet.sock"),
            .one("--data", value: "DIR|none", about: "where the journal lies (default: ./martlet-data); `none` keeps everything in memory"),
            .many("--user", value: "NAME:PASSWORD", about: "who may connect; without users, anybody on this machine"),
            .flag("--allow-anonymous", about: "let clients in without credentials, also from other machines"),
            .one("--loops", value: "N", about: "event loops, one thread each (default: one per CPU)"),
            .one("--log-level", value: "LEVEL", about: LogLevel.allCases.map(\.rawValue).joined(separator: ", ") + " (default: info)"),
            .one("--grace", value: "DURATION", about: "how long SIGTERM waits for clients to be told (default: 10s)"),
            .many("--set", value: "KEY=VALUE", about: "any setting, see below"),
            .flag("--check", about: "validate the configuration, print the listeners, and exit"),
        ],
        examples: [
            ("martlet serve", "everything on loopback; what is acknowledged is on disk, in ./martlet-data"),
            ("martlet serve --data none", "in memory alone"),
            ("martlet serve --data /var/lib/martlet --set journal.sync=interval", "acknowledge before the disk has it: a power cut may lose a second"),
            ("martlet serve --listen mqtt://0.0.0.0:1883 --user meter:secret", "for the network, with a password"),
            ("martlet serve --listen 'mqtts://0.0.0.0:8883?cert=server.pem&key=server.key' --user meter:secret", "by TLS; SIGHUP renews the certificate"),
            ("martlet serve --config martlet.yaml --check", "is this file right?"),
            ("MARTLET_MQTT_PACKETSIZEMAX=16MiB martlet serve", "one limit by the environment"),
        ],
        footnote: {
            let rows = ServerConfiguration.declarations.map { ($0.name, $0.initial.isEmpty ? $0.about : "\($0.about) (default: \($0.initial))") }
            return "settings (first wins: --set KEY=VALUE and options, environment MARTLET_KEY with `_` for `.`, --config FILE, default):\n"
                + Help.table(rows)
        },
        run: { arguments throws(CommandFailure) in
            let configuration = try configuration(arguments, environment: ProcessEnvironment.variables)
            guard arguments.has("--check") else { return Server.run(configuration) }
            let listeners = configuration.listeners.map { "listen \($0)\n" }.joined()
            StandardStream.output.write("configuration ok\n\(listeners)")
            return ExitCode.ok
        })

    static func configuration(_ arguments: Arguments, environment: [String: String]) throws(CommandFailure) -> ServerConfiguration {
        var sources = ServerConfiguration.Sources()
        sources.filePath = arguments.text("--config")
        sources.environment = environment
        sources.assignments = arguments.texts("--set")
        let options = [
            ("--listen", "listen"), ("--data", "data"), ("--user", "users"), ("--loops", "loops"), ("--log-level", "logLevel"), ("--grace", "grace"),
        ]
        sources.options = options.map { .init($0.0, sets: $0.1, arguments.texts($0.0)) }
        if arguments.has("--allow-anonymous") { sources.options.append(.init("--allow-anonymous", sets: "allowAnonymous", ["true"])) }
        do { return try ServerConfiguration(sources) } catch { throw .usage("serve: \(error)") }
    }
}
