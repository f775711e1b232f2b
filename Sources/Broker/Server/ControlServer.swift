import Glibc
public import MartletLogging
public import MartletSockets
import Synchronization

/// What a running server can be told over its control socket. Called on threads of the system's own, which may wait.
public struct ControlCommands: Sendable {
    /// Numbers by name, in the order in which they are shown.
    public var status: @Sendable () -> [(name: String, value: UInt64)]
    /// Makes a copy of the journal in a directory and answers what was copied. `progress` is told bytes done and all; false: nobody waits any more.
    public var backup: @Sendable (_ target: String, _ progress: (Int, Int) -> Bool) throws(ControlFailure) -> ControlBackup

    public init(
        status: @escaping @Sendable () -> [(name: String, value: UInt64)],
        backup: @escaping @Sendable (_ target: String, _ progress: (Int, Int) -> Bool) throws(ControlFailure) -> ControlBackup
    ) {
        self.status = status
        self.backup = backup
    }
}

/// What a backup consists of.
public struct ControlBackup: Sendable, Equatable {
    public let segments: Int
    public let bytes: Int
    public init(segments: Int, bytes: Int) {
        self.segments = segments
        self.bytes = bytes
    }
}

/// Why a command was not carried out: the exit code of `martlet ctl`, and one sentence.
public struct ControlFailure: Error, Sendable, Equatable {
    public let code: Int32
    public let sentence: String
    public init(_ code: Int32, _ sentence: String) {
        self.code = code
        self.sentence = sentence
    }
}

/// The control socket of a running server, `DIR/ctl.sock`: lines of text, for its owner and root alone.
///
/// A request is a line, `status` or `backup PATH`. The answer is lines `value NAME NUMBER` and `progress DONE ALL`, and at last `ok`, after a backup
/// `ok SEGMENTS BYTES`, or `error CODE SENTENCE`. Each client has a thread, so a backup does not hold up who asks for the status.
public final class ControlServer: Sendable {
    public let path: String
    private let listener: BlockingListener
    private let commands: ControlCommands
    private let log: Logger
    private let isStopping = Atomic<Bool>(false)
    private static let lineMax = 8192, silence = Duration.seconds(60)

    /// Where the server of a data directory is talked to.
    public static func path(in directory: String) -> String { directory + "/ctl.sock" }

    /// Listens, with file mode 0600. A file that a dead server left behind is replaced. Throws `addressInUse`, `permissionDenied`, `tooLong`.
    public init(path: String, commands: ControlCommands, log: Logger) throws(NetError) {
        var options = StreamOptions()
        options.isOwnerOnly = true
        listener = try Blocking.Unix.listen(on: path, options: options)
        self.path = path
        self.commands = commands
        self.log = log
    }

    /// Begins to answer.
    public func start() {
        let error = DetachedThread.start(stackSize: 256 << 10) { [self] in serveNext() }
        if error != 0 { log.error("no thread for the control socket", metadata: ["errno": "\(-error)"]) }
    }

    /// Takes nobody any more, and removes the file. Who is being answered is not waited for.
    public func stop() {
        isStopping.store(true, ordering: .relaxed)
        // Wakes the thread that waits in `accept`.
        _ = try? Blocking.Unix.connect(to: path, timeout: .seconds(1))
        listener.removeFile()
    }

    private func serveNext() {
        while !isStopping.load(ordering: .relaxed) {
            do throws(NetError) {
                var client = try listener.accept()
                guard !isStopping.load(ordering: .relaxed) else { return }
                start()
                // A client that goes away needs no answer.
                try? serve(&client)
                return
            } catch {
                log.error("the control socket cannot accept", metadata: ["reason": "\(error)"])
                DetachedThread.sleep(.seconds(1))
            }
        }
    }

    private func serve(_ client: inout BlockingConnection) throws(NetError) {
        guard let peer = client.credentials, peer.user == geteuid() || peer.user == 0 else {
            // Unread bytes would turn the close into a reset, and the sentence would be lost.
            _ = try? client.readLine(max: Self.lineMax, timeout: .seconds(1))
            return try client.write("error 77 only the server's owner and root may\n", timeout: Self.silence)
        }
        while let line = try client.readLine(max: Self.lineMax, timeout: Self.silence) {
            let (name, argument) = Self.split(line)
            log.info("control command", metadata: ["command": line, "pid": "\(peer.process)", "user": "\(peer.user)"])
            switch name {
            case "status":
                let lines = commands.status().map { "value \($0.name) \($0.value)\n" }.joined()
                try client.write(lines + "ok\n", timeout: Self.silence)
            case "backup" where !argument.isEmpty:
                try client.write(backup(to: argument, for: client), timeout: Self.silence)
            default: try client.write("error 64 unknown command \"\(name)\"\n", timeout: Self.silence)
            }
        }
    }

    /// The last line of the answer.
    private func backup(to target: String, for client: borrowing BlockingConnection) -> String {
        do throws(ControlFailure) {
            let made = try commands.backup(target) { done, all in
                do { try client.write("progress \(done) \(all)\n", timeout: Self.silence) } catch { return false }
                return true
            }
            return "ok \(made.segments) \(made.bytes)\n"
        } catch { return "error \(error.code) \(error.sentence)\n" }
    }

    private static func split(_ line: String) -> (name: String, argument: String) {
        guard let space = line.firstIndex(of: " ") else { return (line, "") }
        return (String(line[..<space]), String(line[line.index(after: space)...]))
    }
}
