import CLinux
public import MartletBytes

/// An open file, closed with its owner. All calls block, are whole (no short writes, no EINTR) and take the offset with them, so that
/// there is no position to agree on. Offsets and counts are in bytes.
///
/// Not here: directories (`Directory`), buffering, and waiting for a file without a thread.
public struct File: ~Copyable, Sendable {
    public enum Access: Sendable {
        case reading
        /// And reading; the file has to be there.
        case writing
        /// And reading; made if it is not there, for this user alone (0600).
        case making
        /// And reading; the file must not be there yet (0600).
        case makingAnew
    }

    /// For calls that are not here; valid as long as this is.
    public let descriptor: Int32
    public let path: String

    public init(_ path: String, _ access: Access) throws(FileError) {
        let flags: Int =
            switch access {
            case .reading: 0
            case .writing: CL_FILE_WRITE
            case .making: CL_FILE_WRITE | CL_FILE_MAKE
            case .makingAnew: CL_FILE_WRITE | CL_FILE_MAKE | CL_FILE_EXCLUSIVE
            }
        descriptor = try File.answer(cl_file_open(path, Int32(flags), 0o600), .open, path)
        self.path = path
    }

    /// What lies below a directory, for reading; whatever the path and links on it say, nothing outside (EXDEV).
    public init(_ path: String, beneath directory: borrowing File) throws(FileError) {
        descriptor = try File.answer(cl_file_open_beneath(directory.descriptor, path), .open, path)
        self.path = path
    }

    public init(directory path: String) throws(FileError) {
        descriptor = try File.answer(cl_file_open(path, Int32(CL_FILE_DIRECTORY), 0), .open, path)
        self.path = path
    }

    deinit { cl_close(descriptor) }

    /// Appends what lies at `offset` to the buffer: `count` bytes, or what there is up to the end of the file. Answers how many.
    @discardableResult public func read(_ count: Int, at offset: Int, into buffer: inout ByteBuffer) throws(FileError) -> Int {
        if count == 0 { return 0 }
        let read = cl_file_read(descriptor, buffer.reserve(count), count, UInt64(offset))
        guard read >= 0 else { throw FileError(.read, path, errno: Int32(read)) }
        buffer.commit(read)
        return read
    }

    /// A file of at most `limit` bytes; of a larger one its beginning.
    public func readAll(upTo limit: Int) throws(FileError) -> [UInt8] {
        var buffer = ByteBuffer()
        try read(min(limit, try size()), at: 0, into: &buffer)
        let bytes = buffer.span
        return [UInt8](unsafeUninitializedCapacity: bytes.count) { target, count in
            bytes.withUnsafeBufferPointer { source in _ = target.initialize(from: source) }
            count = bytes.count
        }
    }

    /// All of the bytes; the file grows if they reach beyond its end. What was written when it fails is unknown.
    public func write(_ bytes: Span<UInt8>, at offset: Int) throws(FileError) {
        let result = bytes.withUnsafeBufferPointer { $0.isEmpty ? 0 : cl_file_write(descriptor, $0.baseAddress, $0.count, UInt64(offset)) }
        _ = try File.answer(result, .write, path)
    }

    public func writeZeros(_ count: Int, at offset: Int) throws(FileError) {
        _ = try File.answer(cl_file_write_zeros(descriptor, UInt64(offset), UInt64(count)), .write, path)
    }

    /// Takes the room on the disk for a range, so that it is in few pieces and a full disk is known now. Does nothing where the
    /// file system has no such call (EOPNOTSUPP).
    public func allocate(_ count: Int, at offset: Int) throws(FileError) {
        let result = cl_file_allocate(descriptor, UInt64(offset), UInt64(count))
        if result == -95 { return }  // EOPNOTSUPP
        _ = try File.answer(result, .allocate, path)
    }

    /// Cuts the file, or lengthens it by zeros that take no room.
    public func truncate(to size: Int) throws(FileError) { _ = try File.answer(cl_file_truncate(descriptor, UInt64(size)), .truncate, path) }

    /// What was written is on the disk, and all that is needed to read it (fdatasync). After a failure what was written is lost: a second
    /// sync that succeeds says nothing of it.
    public func syncData() throws(FileError) { _ = try File.answer(cl_file_sync_data(descriptor), .sync, path) }

    /// As `syncData`, with the file's times and rights; of a directory: its names (fsync).
    public func sync() throws(FileError) { _ = try File.answer(cl_file_sync(descriptor), .sync, path) }

    public func size() throws(FileError) -> Int {
        let size = cl_file_size(descriptor)
        guard size >= 0 else { throw FileError(.examine, path, errno: Int32(size)) }
        return Int(size)
    }

    public enum Kind: Sendable { case file, directory, other }
    /// What the file system says of it.
    public struct State: Sendable {
        public let kind: Kind
        /// Bytes.
        public let size: Int
        public let inode: UInt64
        /// Nanoseconds since 1970.
        public let modified: Int64

        init(_ state: cl_file_state) {
            kind = state.is_file != 0 ? .file : state.is_directory != 0 ? .directory : .other
            (size, inode, modified) = (Int(clamping: state.size), state.inode, state.modified_ns)
        }
    }

    public func state() throws(FileError) -> State {
        var state = cl_file_state()
        _ = try File.answer(cl_file_examine(descriptor, &state), .examine, path)
        return State(state)
    }

    /// Of what lies below a directory, as `init(_:beneath:)` finds it, but not opened: that needs leave to read it.
    public static func state(of path: String, beneath directory: borrowing File) throws(FileError) -> State {
        var state = cl_file_state()
        _ = try answer(cl_file_examine_beneath(directory.descriptor, path, &state), .examine, path)
        return State(state)
    }

    /// Locks the file against every other opening of it, in this process and others; false if one of them has it. The lock ends with
    /// this value, and with the process, however that ends.
    public func lock() throws(FileError) -> Bool {
        let result = cl_file_lock(descriptor)
        if result == -CInt(CL_EAGAIN) { return false }
        _ = try File.answer(result, .lock, path)
        return true
    }

    public enum LockOutcome: Equatable, Sendable {
        case taken
        /// By another, whose number is known if it locked the file by this same call.
        case held(process: Int?)
    }

    /// As `lock`; whoever has it writes its process's number into the file.
    public func lockForProcess() throws(FileError) -> LockOutcome {
        guard try lock() else {
            let text = String(decoding: try readAll(upTo: 20), as: UTF8.self)
            return .held(process: Int(text.prefix { $0 != "\n" }))
        }
        try truncate(to: 0)
        try write(Array("\(cl_process_id())\n".utf8).span, at: 0)
        return .taken
    }

    static func answer(_ result: Int32, _ operation: FileError.Operation, _ path: String) throws(FileError) -> Int32 {
        guard result >= 0 else { throw FileError(operation, path, errno: result) }
        return result
    }
}
