import CLinux
import Glibc

/// What is done with names: a directory's list, files made, renamed and removed. Nothing of it is on the disk before `sync`.
public enum Directory {
    /// Makes a directory for this user alone (0700); its parent has to be there. False if there is something of that name already.
    @discardableResult public static func make(_ path: String) throws(FileError) -> Bool {
        let result = cl_make_directory(path, 0o700)
        if result == -17 { return false }  // EEXIST
        _ = try File.answer(result, .make, path)
        return true
    }

    /// The names in it, in no order, without `.` and `..`.
    public static func list(_ path: String) throws(FileError) -> [String] {
        let descriptor = try File.answer(cl_file_open(path, Int32(CL_FILE_DIRECTORY), 0), .list, path)
        defer { cl_close(descriptor) }
        return try list(descriptor, path)
    }

    /// The same of one that is open.
    public static func list(_ directory: borrowing File) throws(FileError) -> [String] { try list(directory.descriptor, directory.path) }

    private static func list(_ descriptor: Int32, _ path: String) throws(FileError) -> [String] {
        let names = Names()
        let result = cl_list_directory(
            descriptor, { context, name in Unmanaged<Names>.fromOpaque(context!).takeUnretainedValue().all.append(String(cString: name!)) },
            Unmanaged.passUnretained(names).toOpaque())
        _ = try File.answer(result, .list, path)
        return names.all
    }

    private final class Names { var all: [String] = [] }

    /// Makes last which names there are in it: files made, renamed and removed.
    public static func sync(_ path: String) throws(FileError) { try File(directory: path).sync() }

    /// Gives a file another name, in one step; a file that had it is gone.
    public static func rename(_ path: String, to name: String) throws(FileError) { _ = try File.answer(cl_rename(path, name), .rename, path) }

    public static func remove(_ path: String) throws(FileError) { _ = try File.answer(cl_unlink(path), .remove, path) }

    /// The process's working directory, which relative paths begin at.
    public static func current() throws(FileError) -> String {
        guard let name = getcwd(nil, 0) else { throw FileError(.examine, ".", errno: errno) }
        defer { free(name) }
        return String(cString: name)
    }

    /// The volume that a path lies on: all its bytes, and those that this user may still take.
    public static func volume(of path: String) throws(FileError) -> (size: UInt64, available: UInt64) {
        var size: UInt64 = 0
        var available: UInt64 = 0
        _ = try File.answer(cl_volume(path, &size, &available), .examine, path)
        return (size, available)
    }
}
