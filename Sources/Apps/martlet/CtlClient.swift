import MartletLogging
import MartletServer
import MartletSockets

/// A conversation with a running server over its control socket. Not here: what is said (`CtlServerCommands`).
struct CtlClient: ~Copyable {
    private var connection: BlockingConnection
    private let directory: String
    /// A command that says nothing for so long is given up.
    private static let silence = Duration.seconds(120)

    /// Throws 69 where no server runs on this directory, and 77 where it is another user's.
    init(_ directory: String) throws(CommandFailure) {
        self.directory = directory
        do {
            connection = try Blocking.Unix.connect(to: ControlServer.path(in: directory))
        } catch {
            switch error.kind {
            case .permissionDenied:
                throw CommandFailure(ExitCode.notPermitted, "the server of \(directory) is another user's: only its owner and root may talk to it")
            case .refused: throw CommandFailure(ExitCode.peerUnreachable, "no server runs on \(directory): say which by --data DIR")
            default: throw CommandFailure(ExitCode.peerUnreachable, "\(error)")
            }
        }
    }

    /// Sends one line. `heard` is given the words of every line of the answer but the last, whose words after `ok` are returned.
    mutating func ask(_ request: String, _ heard: ([Substring]) -> Void) throws(CommandFailure) -> [Substring] {
        do {
            try connection.write(request + "\n", timeout: Self.silence)
            while let line = try connection.readLine(timeout: Self.silence) {
                let words = line.split(separator: " ")
                switch words.first {
                case "ok": return Array(words.dropFirst())
                case "error":
                    let code = words.dropFirst().first.flatMap { Int32($0) } ?? ExitCode.failed
                    throw CommandFailure(code, line.split(separator: " ", maxSplits: 2).dropFirst(2).joined())
                default: heard(words)
                }
            }
        } catch let failure as CommandFailure { throw failure } catch {
            throw CommandFailure(ExitCode.failed, "the server of \(directory) stopped answering: \(error)")
        }
        throw CommandFailure(ExitCode.failed, "the server of \(directory) has ended")
    }
}
