import COpenSSL
import Glibc
public import MartletEventLoop

/// What two sides have agreed on, and who the peer is.
public struct TLSSession: Sendable, Equatable {
    /// `TLSv1.2` or `TLSv1.3`.
    public let version: String
    /// OpenSSL's name, such as `TLS_AES_256_GCM_SHA384`.
    public let cipher: String
    /// What ALPN has chosen.
    public let applicationProtocol: String?
    /// The name that the client asked for (SNI); an address is not asked for.
    public let serverName: String?
    /// `nil`: the peer showed none.
    public let peerCertificate: TLSCertificate?
    /// No certificate was sent, since both knew each other from an earlier connection.
    public let wasResumed: Bool

    init(_ ssl: OpaquePointer) {
        version = SSL_get_version(ssl).map { String(cString: $0) } ?? ""
        cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)).map { String(cString: $0) } ?? ""
        var name: UnsafePointer<UInt8>?
        var count: UInt32 = 0
        SSL_get0_alpn_selected(ssl, &name, &count)
        applicationProtocol = name.map { String(decoding: UnsafeBufferPointer(start: $0, count: Int(count)), as: UTF8.self) }
        serverName = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
        wasResumed = SSL_session_reused(ssl) == 1
        peerCertificate = SSL_get0_peer_certificate(ssl).map { TLSCertificate($0) }
    }
}

/// What a certificate says of its owner.
public struct TLSCertificate: Sendable, Equatable {
    /// By RFC 4514: `CN=localhost,O=Example`.
    public let subject: String
    public let issuer: String
    /// Seconds since 1970.
    public let notBefore: Int64
    /// Seconds since 1970.
    public let notAfter: Int64
    /// The whole of it, in DER.
    public let der: [UInt8]

    init(_ certificate: OpaquePointer) {
        subject = Self.text(X509_get_subject_name(certificate))
        issuer = Self.text(X509_get_issuer_name(certificate))
        notBefore = Self.seconds(X509_get0_notBefore(certificate))
        notAfter = Self.seconds(X509_get0_notAfter(certificate))
        var bytes: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509(certificate, &bytes)
        der = Array(UnsafeBufferPointer(start: bytes, count: max(0, Int(count))))
        CRYPTO_free(bytes, nil, 0)
    }

    private static func text(_ name: OpaquePointer?) -> String {
        guard let name, let memory = BIO_new(BIO_s_mem()) else { return "" }
        defer { BIO_free(memory) }
        X509_NAME_print_ex(memory, name, 0, co_name_flags)
        var bytes: UnsafeMutablePointer<CChar>?
        let count = co_memory(memory, &bytes)
        guard let bytes else { return "" }
        return bytes.withMemoryRebound(to: UInt8.self, capacity: count) { String(decoding: UnsafeBufferPointer(start: $0, count: count), as: UTF8.self) }
    }

    private static func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int64 {
        var parts = tm()
        return ASN1_TIME_to_tm(time, &parts) == 1 ? Int64(timegm(&parts)) : 0
    }
}

extension EventLoop {
    /// What TLS has agreed on for a connection; `nil` without TLS, and before `Channel.secured`.
    public func tlsSession(of slot: UInt32) -> TLSSession? {
        let layer = layer(of: slot)
        return (((layer as? StackedLayer)?.bottom ?? layer) as? TLSLayer)?.session
    }
}
