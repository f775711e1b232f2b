import CLinux
import COpenSSL

/// Why a context cannot be made: a file that is missing, unreadable, of another kind, or does not fit the others.
public struct TLSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The file at fault, if it is one's.
    public let path: String?
    /// One sentence, with the path in it.
    public let description: String

    init(path: String? = nil, _ description: String) {
        self.path = path
        self.description = description
    }

    /// OpenSSL's own words for what went wrong first in the call that failed; empties the thread's list.
    static func takeReason() -> String {
        let error = ERR_get_error()
        ERR_clear_error()
        return error == 0 ? "no reason given" : words(for: error)
    }

    /// The last error of libssl, or else of libcrypto; 0 if there is none. Empties the thread's list.
    static func takeError() -> UInt {
        var last: UInt = 0
        while true {
            let error = ERR_get_error()
            if error == 0 { return last }
            if last == 0 || co_error_library(error) == ERR_LIB_SSL || co_error_library(last) != ERR_LIB_SSL { last = error }
        }
    }

    static func words(for error: UInt) -> String {
        ERR_reason_error_string(error).map { String(cString: $0) } ?? "error \(String(error, radix: 16))"
    }

    /// Throws if the file cannot be read: OpenSSL's words for that are worse.
    static func checkReadable(_ path: String, _ what: String) throws(TLSError) {
        let descriptor = cl_open_file(path)
        guard descriptor >= 0 else {
            throw TLSError(path: path, "cannot read \(what) \(path): \(String(cString: cl_error_text(-descriptor)).lowercased())")
        }
        cl_close(descriptor)
    }
}
