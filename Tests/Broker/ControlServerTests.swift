import Glibc
import MartletLogging
import MartletServer
import MartletSockets
import Synchronization
import Testing

private let patience = Duration.seconds(10)

/// A control server with commands of the test's own, in a directory of its own.
private final class Controlled: Sendable {
    let directory: String
    let server: ControlServer

    init(backup: @escaping @Sendable (String, (Int, Int) -> Bool) throws(ControlFailure) -> ControlBackup) throws {
        directory = "/tmp/martlet-control-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        mkdir(directory, 0o700)
        let commands = ControlCommands(status: { [("connections", 3), ("published", 12)] }, backup: backup)
        server = try ControlServer(path: ControlServer.path(in: directory), commands: commands, log: Logger(label: "control", level: .error))
        server.start()
    }

    deinit {
        server.stop()
        rmdir(directory)
    }

    /// The lines of the answer to one request.
    func ask(_ request: String) throws -> [String] {
        var client = try Blocking.Unix.connect(to: server.path, timeout: patience)
        return try Self.ask(request, &client)
    }

    static func ask(_ request: String, _ client: inout BlockingConnection) throws -> [String] {
        try client.write(request + "\n", timeout: patience)
        var lines: [String] = []
        while let line = try client.readLine(timeout: patience) {
            lines.append(line)
            if line.hasPrefix("ok") || line.hasPrefix("error") { break }
        }
        return lines
    }
}

private func refusing(_ target: String, _ progress: (Int, Int) -> Bool) throws(ControlFailure) -> ControlBackup {
    throw ControlFailure(1, "\(target) is not empty")
}

@Suite struct ControlServerTests {
    @Test func `the file is the owner's, and gone afterwards`() throws {
        var path = ""
        do {
            let controlled = try Controlled(backup: refusing)
            path = controlled.server.path
            var status = stat()
            #expect(lstat(path, &status) == 0 && status.st_mode & 0o777 == 0o600 && status.st_mode & S_IFMT == S_IFSOCK)
            controlled.server.stop()
            #expect(access(path, F_OK) != 0)
        }
        #expect(throws: NetError.self) { _ = try Blocking.Unix.connect(to: path, timeout: patience) }
    }

    @Test func `several commands on one connection, and what is unknown`() throws {
        let controlled = try Controlled(backup: refusing)
        var client = try Blocking.Unix.connect(to: controlled.server.path, timeout: patience)
        #expect(try Controlled.ask("status", &client) == ["value connections 3", "value published 12", "ok"])
        #expect(try Controlled.ask("restart now", &client) == ["error 64 unknown command \"restart\""])
        #expect(try Controlled.ask("backup", &client) == ["error 64 unknown command \"backup\""])
        #expect(try Controlled.ask("backup /tmp/a b", &client) == ["error 1 /tmp/a b is not empty"])
    }

    @Test func `a backup tells how far it is, and holds up nobody`() throws {
        let go = Mutex(false), here = Mutex(false)
        let controlled = try Controlled { target, progress throws(ControlFailure) in
            _ = progress(1, 10)
            here.withLock { $0 = true }
            while !go.withLock({ $0 }) { DetachedThread.sleep(.milliseconds(1)) }
            return ControlBackup(segments: target.utf8.count, bytes: 10)
        }
        var client = try Blocking.Unix.connect(to: controlled.server.path, timeout: patience)
        try client.write("backup /b\n", timeout: patience)
        while !here.withLock({ $0 }) { DetachedThread.sleep(.milliseconds(1)) }
        #expect(try controlled.ask("status").last == "ok")
        go.withLock { $0 = true }
        let lines = try [client.readLine(timeout: patience), client.readLine(timeout: patience)]
        #expect(lines == ["progress 1 10", "ok 2 10"])
    }

    @Test func `a backup that nobody waits for is told so`() throws {
        let isAlone = Mutex(false)
        let controlled = try Controlled { _, progress throws(ControlFailure) in
            for step in 0..<10_000 where !progress(step, 10_000) {
                isAlone.withLock { $0 = true }
                break
            }
            throw ControlFailure(1, "given up")
        }
        do {
            let client = try Blocking.Unix.connect(to: controlled.server.path, timeout: patience)
            try client.write("backup /b\n", timeout: patience)
        }
        for _ in 0..<5000 where !isAlone.withLock({ $0 }) { DetachedThread.sleep(.milliseconds(1)) }
        #expect(isAlone.withLock { $0 })
    }

    @Test func `a line without an end is not collected for ever`() throws {
        let controlled = try Controlled(backup: refusing)
        var client = try Blocking.Unix.connect(to: controlled.server.path, timeout: patience)
        try client.write([UInt8](repeating: 120, count: 9000), timeout: patience)
        #expect(throws: NetError.self) { if try client.readLine(timeout: patience) == nil { throw NetError(.reset, .read, "") } }
        #expect(try controlled.ask("status").last == "ok")
    }
}
