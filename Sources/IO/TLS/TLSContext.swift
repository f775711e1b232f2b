import COpenSSL
public import MartletEventLoop
import Synchronization

/// What the TLS connections of one listener or one client have in common: options, certificates, keys, and the sessions to resume.
/// From any thread.
///
/// Invariant: a connection keeps what it began with; `reload` is for those that come after it.
public final class TLSContext: Sendable {
    private enum Role: Sendable { case client(TLSClientOptions), server(TLSServerOptions) }
    private let role: Role
    private let current: Mutex<OpenSSLContext>
    private let sessions = TLSSessionStore()

    /// Reads the files that `options` name.
    public init(client options: TLSClientOptions) throws(TLSError) {
        role = .client(options)
        current = Mutex(try OpenSSLContext(client: options))
    }

    /// Reads the files that `options` name.
    public init(server options: TLSServerOptions) throws(TLSError) {
        role = .server(options)
        current = Mutex(try OpenSSLContext(server: options))
    }

    /// Reads the files again, for connections that begin from now on. When that fails everything stays as it was.
    public func reload() throws(TLSError) {
        let fresh =
            switch role {
            case .client(let options): try OpenSSLContext(client: options)
            case .server(let options): try OpenSSLContext(server: options)
            }
        current.withLock { $0 = fresh }
        sessions.forgetAll()
    }

    /// The layer of one connection. `serverName`: the name or address that a client connects to; `TLSClientOptions.serverName` goes before it.
    /// A session is resumed with the same name and `port`.
    public func makeLayer(serverName: String? = nil, port: UInt16 = 0) -> StreamLayer {
        let context = current.withLock { $0 }
        switch role {
        case .server: return TLSLayer(context)
        case .client(let options): return TLSLayer(context, options, serverName: options.serverName ?? serverName, port: port, sessions)
        }
    }
}
