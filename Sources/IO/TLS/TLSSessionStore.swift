import COpenSSL
import Synchronization

/// The newest session with each server of one client context, so that the next connection to it need not begin anew.
final class TLSSessionStore: Sendable {
    /// One SSL_SESSION, released with its last holder.
    final class Entry: @unchecked Sendable {  // OpenSSL counts and locks its sessions
        let session: OpaquePointer
        init(_ session: OpaquePointer) { self.session = session }
        deinit { SSL_SESSION_free(session) }
    }
    /// Servers remembered; beyond it any one is forgotten.
    static let countMax = 256
    private let entries = Mutex<[String: Entry]>([:])

    subscript(server: String) -> Entry? { entries.withLock { $0[server] } }

    func keep(_ entry: Entry, for server: String) {
        entries.withLock { entries in
            if entries.count >= Self.countMax, entries[server] == nil { entries.remove(at: entries.startIndex) }
            entries[server] = entry
        }
    }

    func forget(_ server: String) { _ = entries.withLock { $0.removeValue(forKey: server) } }
    func forgetAll() { entries.withLock { $0 = [:] } }
}
