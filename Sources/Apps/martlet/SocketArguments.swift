import MartletLogging
import MartletSockets

/// What `tcp connect`, `tcp listen` and their like for UDP have in common.
enum SocketArguments {
    static let pipeOptions: [Command.Option] = [
        .flag("--no-half-close", about: "do not pass the end of stdin on to the peer"),
        .one("-W", "--idle", value: "SECONDS", about: "give up when nothing came or went for so long"),
    ]

    static let pipeFootnote = """
        The end of stdin is passed on (half-close), and the answer awaited: the command ends when both sides have ended.
        At a terminal it ends with the peer.

        """

    static func pipe(_ arguments: Arguments) throws(CommandFailure) -> StandardPipe.Options {
        var options = StandardPipe.Options()
        options.halfCloses = !arguments.has("--no-half-close")
        options.idleMax = try arguments.seconds("-W").map { .seconds($0) }
        return options
    }

    /// `--bind`; for `-4` and `-6` alone that family's address for all: a socket bound to one family reaches no other.
    static func bindAddress(_ arguments: Arguments) throws(CommandFailure) -> String? {
        let address = arguments.text("--bind")
        switch (arguments.has("-4"), arguments.has("-6")) {
        case (true, true): throw .usage("-4 and -6 exclude each other: without both, whichever answers first is taken")
        case (true, false) where address == nil: return "0.0.0.0"
        case (false, true) where address == nil: return "::"
        case (false, false): return address
        default: throw .usage("--bind says the family by its address: leave out -4 and -6")
        }
    }
}

/// How a command about a socket ended: its exit code, and the sentence on stderr.
enum SocketEnd {
    static func exitCode(_ name: String, _ body: () async throws -> Int32) async -> Int32 {
        do {
            return try await body()
        } catch let error as NetError {
            return error.kind == .cancelled ? ExitCode.ok : say(name, "\(error)", code(of: error))
        } catch is CancellationError {
            return ExitCode.ok
        } catch {
            return say(name, "\(error)", ExitCode.failed)
        }
    }

    /// 69: no connection came about, or none to the one who was meant. 77: this user may not.
    static func code(of error: NetError) -> Int32 {
        switch (error.kind, error.phase) {
        case (.permissionDenied, _): ExitCode.notPermitted
        case (_, .resolve), (.unresolvable, _), (.refused, _), (.unreachable, _), (_, .handshake): ExitCode.peerUnreachable
        case (.timedOut, .connect), (.reset, .connect): ExitCode.peerUnreachable
        case (.certificateExpired, _), (.certificateWrongHost, _), (.certificateUntrusted, _), (.certificateRequired, _): ExitCode.peerUnreachable
        default: ExitCode.failed
        }
    }

    static func isIdle(_ name: String, _ options: StandardPipe.Options) -> Int32 {
        say(name, "nothing came or went for \(TCPReport.seconds(options.idleMax ?? .zero)) s (-W)", ExitCode.failed)
    }

    static func say(_ name: String, _ sentence: String, _ code: Int32) -> Int32 {
        StandardStream.error.write("martlet: \(name): \(sentence)\n")
        return code
    }
}
