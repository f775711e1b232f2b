import CLinux
import Glibc
import MartletBytes
import MartletFiles
import MartletTestSupport
import Synchronization
import Testing

@Suite struct FilesTests {
    @Test func `what is written is read, at its place, and no further than the end`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/a"
        let file = try File(path, .makingAnew)
        let bytes = [UInt8](1...200)
        try file.write(bytes.span, at: 1_000)
        #expect(try file.size() == 1_200)
        var buffer = ByteBuffer()
        buffer.append(7 as UInt8)
        #expect(try file.read(500, at: 1_150, into: &buffer) == 50)
        #expect(buffer.count == 51 && buffer.span[0] == 7 && buffer.span[1] == 151 && buffer.span[50] == 200)
        #expect(try file.read(10, at: 5_000, into: &buffer) == 0)
        var untouched = ByteBuffer()
        #expect(try file.read(0, at: 0, into: &untouched) == 0)
        try file.writeZeros(2_500_000, at: 1_100)
        #expect(try file.size() == 2_501_100)
        #expect(try Array(file.readAll(upTo: 1_101).suffix(2)) == [100, 0])
        try file.syncData()
        try file.sync()
        try file.truncate(to: 1_002)
        try file.allocate(100, at: 2_000)
        let size = try file.size()
        #expect(size == 2_100 || size == 1_002)  // 1,002 where the file system cannot allocate
        #expect(try File(path, .reading).readAll(upTo: 1_002).suffix(3) == [0, 1, 2])
    }

    @Test func `files and directories are this user's alone`() throws {
        let directory = try TemporaryDirectory()
        #expect(try Directory.make(directory.path + "/d"))
        #expect(try !Directory.make(directory.path + "/d"))
        _ = try File(directory.path + "/f", .making)
        #expect(mode(directory.path + "/d") == 0o700)
        #expect(mode(directory.path + "/f") == 0o600)
    }

    @Test func `names are listed, changed and removed`() throws {
        let directory = try TemporaryDirectory()
        for name in ["a", "b"] { _ = try File("\(directory.path)/\(name)", .making) }
        try Directory.rename(directory.path + "/a", to: directory.path + "/c")
        try Directory.rename(directory.path + "/c", to: directory.path + "/b")
        try Directory.sync(directory.path)
        #expect(try Directory.list(directory.path) == ["b"])
        try Directory.remove(directory.path + "/b")
        #expect(try Directory.list(directory.path) == [])
        let open = try File(directory: directory.path)
        _ = try File(directory.path + "/c", .making)
        #expect(try (Directory.list(open), Directory.list(open)) == (["c"], ["c"]))
        let volume = try Directory.volume(of: directory.path)
        #expect(volume.size > 0 && volume.available <= volume.size)
    }

    @Test func `what lies below a directory is examined without being opened, and nothing outside`() throws {
        let directory = try TemporaryDirectory()
        try Directory.make(directory.path + "/below")
        try File(directory.path + "/below/f", .making).write([1, 2, 3].span, at: 0)
        let root = try File(directory: directory.path), below = try File(directory: directory.path + "/below")
        let file = try File.state(of: "below/f", beneath: root)
        #expect(file.kind == .file && file.size == 3)
        #expect(try File.state(of: "below", beneath: root).kind == .directory)
        #expect(throws: FileError(.examine, "../below/f", errno: 18)) { try File.state(of: "../below/f", beneath: below) }
        #expect(throws: FileError(.examine, "g", errno: 2)) { try File.state(of: "g", beneath: root) }
    }

    @Test func `an error says what was tried, on which path, and why`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/missing"
        let missing = #expect(throws: FileError.self) { _ = try File(path, .writing) }
        #expect(missing == FileError(.open, path, errno: -2))
        #expect(missing?.isMissing == true)
        #expect("\(missing!)" == "cannot open \(path): no such file or directory")
        _ = try File(path, .makingAnew)
        #expect(#expect(throws: FileError.self) { _ = try File(path, .makingAnew) }?.isThere == true)
        #expect(throws: FileError(.write, path, errno: 9)) { try File(path, .reading).writeZeros(1, at: 0) }
        #expect(throws: FileError(.list, path, errno: 20)) { try Directory.list(path) }
        #expect(throws: FileError(.make, path + "/x", errno: 20)) { try Directory.make(path + "/x") }
        #expect("\(FileError(.open, "/x", errno: 13))" == "cannot open /x: permission denied; may this user do that?")
        for operation in FileError.Operation.allCases { #expect("\(FileError(operation, "/x", errno: 5))".hasPrefix("cannot \(operation.rawValue) /x: ")) }
    }

    @Test func `a full disk is told from other failures`() throws {
        let full = #expect(throws: FileError.self) { try File("/dev/full", .writing).writeZeros(10, at: 0) }
        #expect(full?.isFull == true)
        #expect("\(full!)" == "cannot write /dev/full: no space left on device; free some of its space")
        #expect(!FileError(.write, "/x", errno: 5).isFull)
        #expect(FileError(.write, "/x", errno: 122).isFull)
    }

    @Test func `a lock is one opening's, within a process too, and ends with it`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/lock"
        let first = try File(path, .making)
        let second = try File(path, .making)
        #expect(try first.lock())
        #expect(try !second.lock())
        _ = consume first
        #expect(try isLocked(second))
    }

    @Test func `a lock holds against another process, and ends with the process, however that ends`() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/lock"
        let held = try File(path, .making)
        #expect(try held.lock())
        await #expect(processExitsWith: .success) { [path = path as String] in
            let other = try File(path, .making)
            #expect(try !other.lock())
        }
        _ = consume held
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let other = try File(path, .making)
            #expect(try other.lock())
            kill(getpid(), SIGKILL)
        }
        let again = try File(path, .making)
        #expect(try isLocked(again))
    }

    @Test func `a signal is never lost, and wakes a thread that sleeps`() throws {
        let ping = Signal()
        let pong = Signal()
        let box = Counter()
        let thread = try WorkerThread("ping") {
            for _ in 0..<20_000 {
                ping.wait()
                box.count.add(1, ordering: .relaxed)
                pong.raise()
            }
        }
        for _ in 0..<20_000 {
            ping.raise()
            pong.wait()
        }
        thread.join()
        #expect(box.count.load(ordering: .relaxed) == 20_000)
        ping.raise()
        ping.raise()
        #expect(ping.wait(atMost: .milliseconds(1)))
        #expect(!ping.wait(atMost: .milliseconds(1)))
    }

    /// Another test may be starting a process just now, which has our descriptors until it becomes another program.
    private func isLocked(_ file: borrowing File) throws -> Bool {
        for _ in 0..<10_000 {
            if try file.lock() { return true }
            usleep(1_000)
        }
        return false
    }

    private final class Counter: Sendable { let count = Atomic<Int>(0) }

    private func mode(_ path: String) -> UInt32 {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }
}
