import MartletFiles
import MartletLogging
import MartletZMQ

/// `martlet zmq keygen`: keys for CURVE, as the certificates of ZeroMQ's other libraries have them.
enum ZMQKeygen {
    static let command = Command(
        path: ["zmq", "keygen"],
        summary: "make keys for CURVE: to stdout, or to NAME.key (public) and NAME.key_secret (both, for this user alone)",
        words: "[NAME]",
        options: [.flag("--json", about: "one JSON object on stdout")],
        examples: [
            ("martlet zmq keygen server", "server.key for its clients, server.key_secret for --curve-keys"),
            ("martlet zmq pull --bind tcp://*:5557 --curve-keys server.key_secret --curve-clients any", "a server"),
            ("martlet zmq push --connect tcp://localhost:5557 --curve-server server.key -m hello", "a client, whose keys are made up"),
        ],
        run: { arguments throws(CommandFailure) in
            guard arguments.words.count <= 1 else { throw .usage("zmq keygen: say one NAME, or none") }
            let keys = CurveKeyPair.generate()
            if let name = arguments.words.first { try write(keys, name) }
            if arguments.has("--json") {
                StandardStream.output.write("{\"public_key\":\"\(keys.publicKey.z85)\",\"secret_key\":\"\(keys.secretKey.z85)\"}\n")
            } else if arguments.words.isEmpty {
                StandardStream.output.write("public-key = \"\(keys.publicKey.z85)\"\nsecret-key = \"\(keys.secretKey.z85)\"\n")
            }
            return ExitCode.ok
        })

    /// Never over keys that are there.
    private static func write(_ keys: CurveKeyPair, _ name: String) throws(CommandFailure) {
        let publicLine = "    public-key = \"\(keys.publicKey.z85)\"\n"
        try write("#   ZeroMQ CURVE public certificate\n\nmetadata\ncurve\n\(publicLine)", to: "\(name).key")
        try write(
            "#   ZeroMQ CURVE **secret** certificate: show it to nobody\n\nmetadata\ncurve\n\(publicLine)    secret-key = \"\(keys.secretKey.z85)\"\n",
            to: "\(name).key_secret")
    }

    private static func write(_ text: String, to path: String) throws(CommandFailure) {
        do throws(FileError) {
            let file = try File(path, .makingAnew), bytes = Array(text.utf8)
            try file.write(bytes.span, at: 0)
        } catch { throw CommandFailure(ExitCode.failed, "zmq keygen: \(error)") }
    }
}
