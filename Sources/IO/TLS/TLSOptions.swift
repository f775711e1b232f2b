/// The versions of TLS that are spoken here.
public enum TLSVersion: Sendable, Equatable, Comparable {
    /// RFC 5246.
    case tls12
    /// RFC 8446.
    case tls13
}

/// Who one side says it is: files in PEM, read when a context is made and at each `TLSContext.reload`.
public struct TLSIdentity: Sendable, Equatable {
    /// The certificate, followed by those that vouch for it up to the root.
    public var certificate: String
    /// The certificate's private key, not encrypted.
    public var key: String

    public init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}

/// What a client asks of TLS. The defaults are those of a browser: TLS 1.2 or newer, the system's trust store, names checked.
public struct TLSClientOptions: Sendable, Equatable {
    /// Whom to believe about the server's certificate.
    public enum Trust: Sendable, Equatable {
        /// Those whom the system trusts (OpenSSL's default file and directory; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others).
        case system
        /// Those whose certificates are in a PEM file.
        case file(String)
        /// Those whose certificates are in a directory that `openssl rehash` has prepared.
        case directory(String)
        /// Anybody: nothing is checked, and whoever is in between can read and change everything.
        case none
    }
    public var trust = Trust.system
    /// The name or IP address that the certificate must be for, and that a name server is asked for (SNI); `nil`: the host that is connected to.
    public var serverName: String?
    /// False: the certificate may be for any name, as long as it is trusted.
    public var checksServerName = true
    /// Names for ALPN (RFC 7301), the dearest first; at most 255 bytes each. None: no word about it.
    public var applicationProtocols: [String] = []
    /// For servers that want to know who comes.
    public var identity: TLSIdentity?
    public var minimumVersion = TLSVersion.tls12
    public var maximumVersion = TLSVersion.tls13

    public init() {}
}

/// What a server offers by TLS.
public struct TLSServerOptions: Sendable, Equatable {
    public var identity: TLSIdentity
    /// A PEM file with those who vouch for clients. `nil`: clients are not asked for a certificate.
    public var clientTrust: String?
    /// With `clientTrust`: who shows no certificate is not let in. One that is shown must be good in any case.
    public var requiresClientCertificate = true
    /// Names for ALPN (RFC 7301), the dearest first: the first that the client knows too is taken. A client that asks for others alone is refused;
    /// one that does not speak of it is not. None: nothing is taken and nobody refused.
    public var applicationProtocols: [String] = []
    public var minimumVersion = TLSVersion.tls12
    public var maximumVersion = TLSVersion.tls13

    public init(identity: TLSIdentity) { self.identity = identity }
}
