import MartletAMQP
import MartletLogging

/// Where `martlet amqp …` connects and as whom: the flags that its commands share.
struct AMQPConnectionArguments: Sendable {
    let url: String
    /// `nil`: without TLS, or that of the URL alone.
    let tls: TLSClientOptions?
    /// Only errors that end the command are said.
    let isQuiet: Bool

    static let options: [Command.Option] =
        [.one("--url", value: "URL", about: "amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST] (default: amqp://localhost)")]
        + TLSFlags.amqp + [.flag("--quiet", about: "say nothing but the error that ends the command")]

    init(_ arguments: Arguments, _ command: String) throws(CommandFailure) {
        url = arguments.text("--url") ?? "amqp://localhost"
        let server: AMQPServerURL
        do throws(AMQPError) { server = try AMQPServerURL(url) } catch { throw .usage("\(command): \(error)") }
        tls = try TLSFlags.parse(arguments, of: TLSFlags.amqp, isAsked: server.isSecure)
        if tls != nil, !server.isSecure { throw .usage("\(command): the URL is without TLS: write amqps://, or leave out the flags about TLS") }
        isQuiet = arguments.has("--quiet")
    }

    /// An open channel. What becomes of its connection is said on stderr.
    func withChannel(reconnects: Bool, _ body: (AMQPConnection, AMQPChannel) async throws -> Void) async throws {
        var options = AMQPConnectionOptions()
        options.connectionName = "martlet"
        options.tls = tls
        if !reconnects { options.reconnect = .never }
        try await AMQPConnection.withConnection(to: url, options: options) { connection in
            let states = connection.states
            let watch = isQuiet ? nil : Task { for await state in states { Self.tell(state) } }
            defer { watch?.cancel() }
            try await connection.withChannel { channel in try await body(connection, channel) }
        }
    }

    private static func tell(_ state: AMQPConnectionState) {
        switch state {
        case .reconnecting(let attempt, let wait):
            let seconds = Double(wait.components.seconds) + Double(wait.components.attoseconds) / 1e18
            StandardStream.error.write("martlet: the connection is lost; attempt \(attempt) to connect again in \((seconds * 10).rounded() / 10) s\n")
        case .blocked(let reason): StandardStream.error.write("martlet: the server takes no messages for now: \(reason)\n")
        case .notRecovered(let what, let error): StandardStream.error.write("martlet: after connecting again, \(what): \(error)\n")
        case .connected, .unblocked, .disconnected: break
        }
    }
}

/// How a command of AMQP ended: its exit code, and the sentence on stderr.
enum AMQPEnd {
    static func exitCode(_ name: String, _ command: CommandTask, _ body: () async throws -> Int32) async -> Int32 {
        do {
            return try await body()
        } catch AMQPError.cancelled where command.isTimeUp {
            return say(name, "the time of -W is up", ExitCode.failed)
        } catch AMQPError.cancelled where name == "consume" {
            return ExitCode.ok
        } catch AMQPError.cancelled {
            return say(name, "interrupted before the server had answered", ExitCode.failed)
        } catch let error as AMQPError {
            return say(name, "\(error)", code(of: error))
        } catch {
            return say(name, "\(error)", ExitCode.failed)
        }
    }

    private static func code(of error: AMQPError) -> Int32 {
        if error.isAccessRefused { return ExitCode.notPermitted }
        switch error {
        case .unreachable, .noAnswer: return ExitCode.peerUnreachable
        case .misuse, .urlInvalid: return ExitCode.usage
        default: return ExitCode.failed
        }
    }

    static func say(_ name: String, _ sentence: String, _ code: Int32) -> Int32 {
        StandardStream.error.write("martlet: amqp \(name): \(sentence)\n")
        return code
    }
}
