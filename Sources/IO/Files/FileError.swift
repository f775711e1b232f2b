import CLinux

/// A call on a file that failed: what was tried, on which path, and why. `description` is one sentence.
public struct FileError: Error, Sendable, Equatable {
    public enum Operation: String, Sendable, CaseIterable {
        case open, make, read, write, sync, allocate, truncate, lock, list, rename, remove, examine
    }

    public let operation: Operation
    public let path: String
    /// The system's number, positive.
    public let errno: Int32

    /// `errno` may have either sign.
    public init(_ operation: Operation, _ path: String, errno: Int32) {
        self.operation = operation
        self.path = path
        self.errno = abs(errno)
    }

    /// The disk or the user's quota is full: ENOSPC, EDQUOT.
    public var isFull: Bool { errno == 28 || errno == 122 }
    /// This process, or the system, has as many files open as it may: EMFILE, ENFILE.
    public var isTooManyFiles: Bool { errno == 24 || errno == 23 }
    /// ENOENT.
    public var isMissing: Bool { errno == 2 }
    /// Something of that name is there already: EEXIST.
    public var isThere: Bool { errno == 17 }
    /// EACCES, EPERM, EROFS.
    public var isForbidden: Bool { errno == 13 || errno == 1 || errno == 30 }

    /// The system's words, in lower case.
    public var reason: String { String(cString: cl_error_text(errno)).lowercased() }
}

extension FileError: CustomStringConvertible {
    /// "cannot open /var/lib/martlet/lock: permission denied; may this user do that?"
    public var description: String {
        let hint =
            switch errno {
            case 13, 1: "; may this user do that?"  // EACCES, EPERM
            case 28: "; free some of its space"  // ENOSPC
            case 30: "; has it been mounted so, or has the disk failed?"  // EROFS
            case 5: "; the disk has failed"  // EIO
            case 24, 23: "; raise the limit of open files"  // EMFILE, ENFILE
            default: ""
            }
        return "cannot \(operation.rawValue) \(path): \(reason)\(hint)"
    }
}
