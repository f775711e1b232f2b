import CLinux
import COpenSSL
import MartletBytes
public import MartletEventLoop

/// TLS 1.2 and 1.3 over one connection, by OpenSSL.
///
/// Nothing is copied for OpenSSL's sake: its BIO reads the bytes that the loop has just received where they lie, and writes into `sealed`.
/// OpenSSL itself keeps a cut record. Not here: certificates and options (`TLSContext`), and how long a handshake may take (the channel).
public final class TLSLayer: StreamLayer {
    private struct Input { var bytes: UnsafeRawPointer?, count = 0 }

    private let ssl: OpaquePointer
    /// Keeps alive what the callbacks of its SSL_CTX are given.
    private let context: OpenSSLContext
    private let isServer: Bool
    /// Whom a client's certificate check and its session are about.
    private let serverName: String?
    private let sessions: TLSSessionStore?
    /// Under which they are kept.
    private let sessionKey: String
    private let input = Pinned(Input())

    /// The server's side.
    init(_ context: OpenSSLContext) {
        self.context = context
        isServer = true
        serverName = nil
        sessions = nil
        sessionKey = ""
        ssl = SSL_new(context.context)!
        super.init()
        SSL_set_accept_state(ssl)
        attach()
    }

    /// The client's side.
    init(_ context: OpenSSLContext, _ options: TLSClientOptions, serverName: String?, port: UInt16, _ sessions: TLSSessionStore) {
        self.context = context
        isServer = false
        self.serverName = serverName
        self.sessions = sessions
        sessionKey = "\(serverName ?? ""):\(port)"
        ssl = SSL_new(context.context)!
        super.init()
        SSL_set_connect_state(ssl)
        attach()
        if let serverName { name(serverName, isChecked: options.checksServerName && options.trust != .none) }
        if serverName == nil, options.checksServerName, options.trust != .none {
            failure = LayerFailure(.certificateWrongHost, "there is no server name to check the certificate against")
        }
        if serverName != nil, let entry = sessions[sessionKey] { SSL_set_session(ssl, entry.session) }
    }

    deinit {
        // Without this OpenSSL takes the session of a connection that was cut for a bad one, and does not resume it.
        if failure.map({ $0.kind == .truncated }) ?? true { SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        SSL_free(ssl)
    }

    private func attach() {
        let owner = Unmanaged.passUnretained(self).toOpaque()
        let bio = BIO_new(TLSBIO.method)!
        BIO_set_data(bio, owner)
        BIO_set_init(bio, 1)
        SSL_set_bio(ssl, bio, bio)
        co_set_owner(ssl, owner)
    }

    private func name(_ serverName: String, isChecked: Bool) {
        let parameters = SSL_get0_param(ssl)
        // An address is not a name: RFC 6066 section 3.
        let isAddress = X509_VERIFY_PARAM_set1_ip_asc(parameters, serverName) == 1
        if isAddress {
            if !isChecked { X509_VERIFY_PARAM_set1_ip(parameters, nil, 0) }
            return
        }
        ERR_clear_error()
        let name = serverName.hasSuffix(".") ? String(serverName.dropLast()) : serverName
        let isTaken = co_set_server_name(ssl, name) == 1
        guard isChecked else { return }
        SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
        if !isTaken || SSL_set1_host(ssl, name) != 1 {
            failure = LayerFailure(.certificateWrongHost, "\"\(serverName)\" is no name that a certificate can be for")
        }
    }

    /// What was agreed on; `nil` before the handshake is done. On the connection's loop.
    public var session: TLSSession? { isOpen ? TLSSession(ssl) : nil }

    // MARK: StreamLayer

    public override func start() {
        Self.forgetErrors()
        if !isServer, failure == nil { shakeHands() }
    }

    public override func unseal(_ bytes: UnsafeRawPointer, count: Int, into plain: UnsafeMutableRawPointer) -> Int {
        guard failure == nil, !hasEnded else { return 0 }
        Self.forgetErrors()
        input.value = Input(bytes: bytes, count: count)
        defer { input.value = Input() }
        if !isOpen { shakeHands() }
        guard isOpen else { return 0 }
        var written = 0
        let room = count + StreamLayer.heldMax
        repeat {
            var read = 0
            if SSL_read_ex(ssl, plain + written, room - written, &read) != 1 {
                if !wantsMore { end() }
                break
            }
            written += read
        } while input.value.count > 0 || SSL_has_pending(ssl) == 1
        return written
    }

    public override func seal(_ plain: UnsafeRawPointer, count: Int) {
        Self.forgetErrors()
        var written = 0
        if SSL_write_ex(ssl, plain, count, &written) != 1 { end() }
    }

    public override func sealEnd() {
        if SSL_shutdown(ssl) < 0 { ERR_clear_error() }
    }

    public override func receiveEnd() {
        failure =
            isOpen
            ? LayerFailure(.truncated, "the peer cut the connection off without saying TLS's farewell (close_notify)")
            : LayerFailure(.handshakeFailed, "the peer closed the connection in the TLS handshake")
    }

    /// OpenSSL tells failures by its thread's list of errors, where somebody else's may lie. Looking is much cheaper than clearing.
    private static func forgetErrors() {
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    /// Why a call did not succeed: it had read everything. In a handshake OpenSSL says so even when it failed.
    private var wantsMore: Bool { co_is_reading(ssl) != 0 && ERR_peek_error() == 0 }

    private func shakeHands() {
        if SSL_do_handshake(ssl) == 1 {
            isOpen = true
        } else if !wantsMore {
            end()
        }
    }

    /// The peer's farewell, or a failure.
    private func end() {
        if SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0, isOpen, ERR_peek_error() == 0 {
            hasEnded = true
        } else {
            failure = TLSFailure.current(of: ssl, serverName: serverName, isOpen: isOpen)
            if !isOpen { sessions?.forget(sessionKey) }
        }
    }

    // MARK: OpenSSL's calls

    /// A client's new session: true if it is kept.
    func keep(_ session: OpaquePointer) -> Bool {
        guard let sessions, serverName != nil else { return false }
        sessions.keep(TLSSessionStore.Entry(session), for: sessionKey)
        return true
    }

    fileprivate func take(_ count: Int, into bytes: UnsafeMutableRawPointer) -> Int {
        let taken = min(count, input.value.count)
        guard taken > 0, let source = input.value.bytes else { return 0 }
        memcpy(bytes, source, taken)
        input.value = Input(bytes: source + taken, count: input.value.count - taken)
        return taken
    }
}

/// What OpenSSL takes for its socket.
private enum TLSBIO {
    nonisolated(unsafe) static let method: OpaquePointer = {  // written here once, and only read afterwards
        let method = BIO_meth_new(BIO_get_new_index() | Int32(BIO_TYPE_SOURCE_SINK), "martlet")!
        BIO_meth_set_read(method) { bio, bytes, count in
            guard let bio, let bytes, let owner = BIO_get_data(bio) else { return -1 }
            co_bio_clear(bio)
            let taken = Unmanaged<TLSLayer>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.take(Int(count), into: bytes) }
            if taken > 0 { return Int32(taken) }
            co_bio_want_read(bio)
            return -1
        }
        BIO_meth_set_write(method) { bio, bytes, count in
            guard let bio, let bytes, let owner = BIO_get_data(bio) else { return -1 }
            Unmanaged<TLSLayer>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.sealed.value.append(bytes, count: Int(count)) }
            return count
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return method
    }()
}
