import CLinux
import COpenSSL

/// One SSL_CTX, as its options and files were when it was made: never changed afterwards, shared by the connections that began with it.
final class OpenSSLContext: @unchecked Sendable {  // OpenSSL's contexts are counted and locked; nothing here changes after init
    let context: OpaquePointer
    /// ALPN's list as it is on the wire; the server's callback is given its address.
    private let protocols: UnsafeMutableBufferPointer<UInt8>

    init(server options: TLSServerOptions) throws(TLSError) {
        protocols = try Self.encode(options.applicationProtocols)
        context = Self.make(TLS_server_method())
        try configure(options.minimumVersion, options.maximumVersion, groups: "X25519:P-256:P-384")
        try use(options.identity)
        // Tickets hold the session; nothing is kept for those who do not come back.
        co_ctx_set_session_cache_mode(context, Int(SSL_SESS_CACHE_OFF))
        let name: [UInt8] = Array("martlet".utf8)
        SSL_CTX_set_session_id_context(context, name, UInt32(name.count))
        if let path = options.clientTrust {
            try trust(file: path)
            SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(path))
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (options.requiresClientCertificate ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nil)
        }
        guard !protocols.isEmpty else { return }
        SSL_CTX_set_alpn_select_cb(context, selectProtocol, UnsafeMutableRawPointer(mutating: protocols.baseAddress! - Self.lengthSize))
    }

    init(client options: TLSClientOptions) throws(TLSError) {
        protocols = try Self.encode(options.applicationProtocols)
        context = Self.make(TLS_client_method())
        // With P-521, since a server's certificate may lie on it.
        try configure(options.minimumVersion, options.maximumVersion, groups: "X25519:P-256:P-384:P-521")
        if let identity = options.identity { try use(identity) }
        switch options.trust {
        case .system:
            guard SSL_CTX_set_default_verify_paths(context) == 1 else { throw TLSError("cannot use the system's trust store: \(TLSError.takeReason())") }
        case .file(let path): try trust(file: path)
        case .directory(let path):
            try TLSError.checkReadable(path, "the directory of trusted certificates")
            guard SSL_CTX_load_verify_dir(context, path) == 1 else {
                throw TLSError(path: path, "\(path) is no directory of trusted certificates: \(TLSError.takeReason())")
            }
        case .none: break
        }
        SSL_CTX_set_verify(context, options.trust == .none ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nil)
        co_ctx_set_session_cache_mode(context, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
        SSL_CTX_sess_set_new_cb(context, keepSession)
        if !protocols.isEmpty { SSL_CTX_set_alpn_protos(context, protocols.baseAddress, UInt32(protocols.count)) }
    }

    private static func make(_ method: OpaquePointer) -> OpaquePointer {
        precondition(isPrepared, "OpenSSL cannot be used")
        return SSL_CTX_new(method)!
    }

    /// At `exit` OpenSSL would take down what it has while loops still use it.
    private static let isPrepared = OPENSSL_init_ssl(UInt64(OPENSSL_INIT_NO_ATEXIT), nil) == 1

    deinit {
        SSL_CTX_free(context)
        (protocols.baseAddress! - Self.lengthSize).deallocate()
    }

    /// Forward secrecy and authenticated encryption alone. TLS 1.3 has nothing else; of 1.2 that is ECDHE with GCM or ChaCha20.
    private func configure(_ minimum: TLSVersion, _ maximum: TLSVersion, groups: String) throws(TLSError) {
        guard minimum <= maximum else { throw TLSError("the lowest version of TLS is above the highest") }
        SSL_CTX_set_options(context, co_options)
        // A buffer of 16 KiB in each direction is OpenSSL's only while a record is cut.
        co_ctx_set_mode(context, Int(SSL_MODE_RELEASE_BUFFERS))
        co_ctx_set_read_ahead(context)
        guard co_ctx_set_versions(context, minimum.number, maximum.number) == 1,
            SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1,
            co_ctx_set_groups(context, groups) == 1
        else { throw TLSError("OpenSSL does not take the settings: \(TLSError.takeReason())") }
        // An encrypted key is an error, not a question on the terminal.
        SSL_CTX_set_default_passwd_cb(context) { _, _, _, _ in -1 }
    }

    private func trust(file path: String) throws(TLSError) {
        try TLSError.checkReadable(path, "the trusted certificates")
        guard SSL_CTX_load_verify_file(context, path) == 1 else {
            throw TLSError(path: path, "\(path) holds no trusted certificates in PEM: \(TLSError.takeReason())")
        }
    }

    private func use(_ identity: TLSIdentity) throws(TLSError) {
        try TLSError.checkReadable(identity.certificate, "the certificate")
        try TLSError.checkReadable(identity.key, "the key")
        ERR_clear_error()
        guard SSL_CTX_use_certificate_chain_file(context, identity.certificate) == 1 else {
            throw TLSError(path: identity.certificate, "\(identity.certificate) is no certificate in PEM that can be used: \(TLSError.takeReason())")
        }
        guard SSL_CTX_use_PrivateKey_file(context, identity.key, SSL_FILETYPE_PEM) == 1 else { throw Self.keyError(identity) }
        guard SSL_CTX_check_private_key(context) == 1 else { throw Self.mismatch(identity) }
    }

    private static func keyError(_ identity: TLSIdentity) -> TLSError {
        var isEncrypted = false, isMismatch = false
        var error = ERR_get_error()
        let first = error
        while error != 0 {
            let library = co_error_library(error), reason = co_error_reason(error)
            if library == ERR_LIB_PEM, reason == PEM_R_BAD_PASSWORD_READ || reason == PEM_R_BAD_DECRYPT { isEncrypted = true }
            if library == ERR_LIB_X509, reason == X509_R_KEY_VALUES_MISMATCH || reason == X509_R_KEY_TYPE_MISMATCH { isMismatch = true }
            error = ERR_get_error()
        }
        if isMismatch { return mismatch(identity) }
        if isEncrypted {
            return TLSError(
                path: identity.key, "the key \(identity.key) is encrypted: decrypt it (openssl pkey -in \(identity.key) -out FILE) and protect the file instead"
            )
        }
        return TLSError(path: identity.key, "\(identity.key) is no private key in PEM: \(TLSError.words(for: first))")
    }

    private static func mismatch(_ identity: TLSIdentity) -> TLSError {
        ERR_clear_error()
        return TLSError(path: identity.key, "the key \(identity.key) does not belong to the certificate \(identity.certificate)")
    }

    // MARK: ALPN

    private static let lengthSize = 2

    /// RFC 7301 section 3.1, with the length in the two bytes before it.
    private static func encode(_ names: [String]) throws(TLSError) -> UnsafeMutableBufferPointer<UInt8> {
        var bytes: [UInt8] = []
        for name in names {
            guard (1...255).contains(name.utf8.count) else { throw TLSError("\"\(name)\" is no name of an application protocol: 1 to 255 bytes") }
            bytes.append(UInt8(name.utf8.count))
            bytes += Array(name.utf8)
        }
        guard bytes.count <= 65_535 else { throw TLSError("too many application protocols") }
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: lengthSize + bytes.count)
        (memory[0], memory[1]) = (UInt8(bytes.count >> 8), UInt8(truncatingIfNeeded: bytes.count))
        (memory + lengthSize).initialize(from: bytes, count: bytes.count)
        return UnsafeMutableBufferPointer(start: memory + lengthSize, count: bytes.count)
    }
}

extension TLSVersion {
    fileprivate var number: Int32 { self == .tls12 ? TLS1_2_VERSION : TLS1_3_VERSION }
}

/// The server's choice: its dearest of the client's. None in common is the alert no_application_protocol: RFC 7301 section 3.2.
private func selectProtocol(
    _: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?, _ chosenLength: UnsafeMutablePointer<UInt8>?,
    _ offered: UnsafePointer<UInt8>?, _ offeredLength: UInt32, _ list: UnsafeMutableRawPointer?
) -> Int32 {
    guard let list = list?.assumingMemoryBound(to: UInt8.self), let chosenLength else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    var found: UnsafeMutablePointer<UInt8>?
    let outcome = SSL_select_next_proto(&found, chosenLength, list + 2, UInt32(list[0]) << 8 | UInt32(list[1]), offered, offeredLength)
    guard outcome == OPENSSL_NPN_NEGOTIATED else { return SSL_TLSEXT_ERR_ALERT_FATAL }
    chosen?.pointee = found.map { UnsafePointer($0) }
    return SSL_TLSEXT_ERR_OK
}

/// A session that can be resumed: kept by the connection's context. Answers 1 if it is ours now.
private func keepSession(_ ssl: OpaquePointer?, _ session: OpaquePointer?) -> Int32 {
    guard let owner = co_owner(ssl), let session else { return 0 }
    return Unmanaged<TLSLayer>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.keep(session) } ? 1 : 0
}
