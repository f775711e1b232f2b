import Glibc
import MartletLogging
import MartletServer

/// `martlet`: one executable for the server and for what people type at a terminal.
///
/// stdout is data, stderr is progress and diagnostics. Not here: what a command does (`ServeCommand`, `MQTTCommands`, …).
@main
struct Martlet {
    static let version = RunningServer.version

    /// Every command there is; `--help` and the suggestions read it.
    static let commands: [Command] = [
        ServeCommand.command,
        MQTTCommands.publish, MQTTCommands.subscribe, MQTTCommands.request,
        AMQPPublishOptions.command, AMQPConsumeOptions.command, AMQPGetOptions.command,
        AMQPTopologyCommands.declare, AMQPTopologyCommands.delete, AMQPTopologyCommands.bind, AMQPTopologyCommands.unbind, AMQPTopologyCommands.purge,
        HTTPServeCommand.command, HTTPCommand.command,
        WSConnectCommand.command, WSServeCommand.echo, WSServeCommand.chat,
        TCPEcho.command, TCPConnectCommand.command, TCPListenCommand.command,
        UDPEcho.command, UDPConnectCommand.command, UDPListenCommand.command,
        CtlServerCommands.status, CtlServerCommands.backup, CtlJournalCommands.check, CtlJournalCommands.stats, CtlJournalCommands.compact,
        ZMQCommands.req, ZMQCommands.rep, ZMQCommands.dealer, ZMQCommands.router, ZMQCommands.pub, ZMQCommands.sub, ZMQCommands.xpub, ZMQCommands.xsub,
        ZMQCommands.push, ZMQCommands.pull, ZMQCommands.pair, ZMQCommands.stream, ZMQCommands.client, ZMQCommands.server, ZMQCommands.radio, ZMQCommands.dish,
        ZMQProxyOptions.command, ZMQKeygen.command,
        MQTTBenchOptions.command, AMQPBenchOptions.command, HTTPBenchOptions.command, WSBench.command, ZMQBench.command, TCPBench.command, UDPBench.command,
        ModelsBenchOptions.command,
    ]

    static func main() { exit(run(CommandLine.arguments.dropFirst().map { $0 })) }

    /// The exit code. An error is one sentence on stderr.
    static func run(_ words: [String]) -> Int32 {
        do throws(CommandFailure) {
            switch try Invocation(words, commands: commands) {
            case .help(let text):
                StandardStream.output.write(text)
                return ExitCode.ok
            case .run(let command, let arguments): return try command.run(arguments)
            }
        } catch {
            StandardStream.error.write("martlet: \(error.sentence)\n")
            return error.code
        }
    }
}

/// What a command's end means; sysexits.h's numbers where it has them.
enum ExitCode {
    static let ok: Int32 = 0
    static let failed: Int32 = 1
    static let usage: Int32 = 64
    static let peerUnreachable: Int32 = 69
    static let notPermitted: Int32 = 77
}

/// Why a command ends without success: what was tried, what came back and what to do, in one sentence.
struct CommandFailure: Error, Equatable {
    let code: Int32
    let sentence: String

    init(_ code: Int32, _ sentence: String) {
        self.code = code
        self.sentence = sentence
    }
    static func usage(_ sentence: String) -> CommandFailure { CommandFailure(ExitCode.usage, sentence) }
}
