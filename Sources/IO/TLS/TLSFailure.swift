import COpenSSL
import MartletEventLoop

/// OpenSSL's errors in our kinds, and in words that say what to look at.
enum TLSFailure {
    /// What has just failed; empties OpenSSL's list of errors.
    static func current(of ssl: OpaquePointer, serverName: String?, isOpen: Bool) -> LayerFailure {
        let error = TLSError.takeError()
        let reason = co_error_library(error) == ERR_LIB_SSL ? co_error_reason(error) : 0
        if reason >= SSL_AD_REASON_OFFSET, reason < SSL_AD_REASON_OFFSET + 256 { return alert(reason - SSL_AD_REASON_OFFSET, isOpen: isOpen) }
        switch reason {
        case SSL_R_CERTIFICATE_VERIFY_FAILED: return certificate(SSL_get_verify_result(ssl), serverName)
        case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return LayerFailure(.certificateRequired, "the peer showed no certificate")
        case SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST: return LayerFailure(.handshakeFailed, "the peer speaks HTTP without TLS")
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_PACKET_LENGTH_TOO_LONG, SSL_R_UNEXPECTED_MESSAGE, SSL_R_RECORD_LENGTH_MISMATCH, SSL_R_BAD_PACKET,
            SSL_R_RECORD_TOO_SMALL:
            if !isOpen { return LayerFailure(.handshakeFailed, "the peer does not speak TLS (\(TLSError.words(for: error)))") }
        case SSL_R_NO_APPLICATION_PROTOCOL: return LayerFailure(.handshakeFailed, "the peer asks for other application protocols (ALPN) alone")
        case SSL_R_UNSUPPORTED_PROTOCOL, SSL_R_VERSION_TOO_LOW:
            return LayerFailure(.handshakeFailed, "the peer speaks other versions of TLS alone (\(TLSError.words(for: error)))")
        case SSL_R_NO_SHARED_CIPHER: return LayerFailure(.handshakeFailed, "the peer knows other ciphers alone")
        default: break
        }
        let words = error == 0 ? "no reason given" : TLSError.words(for: error)
        return isOpen ? LayerFailure(.protocolError, "TLS is broken: \(words)") : LayerFailure(.handshakeFailed, "the TLS handshake failed: \(words)")
    }

    /// RFC 8446 section 6.2: what the peer has said.
    private static func alert(_ number: Int32, isOpen: Bool) -> LayerFailure {
        let words = alerts[number] ?? "alert \(number)"
        switch number {
        case 42, 43, 44, 46, 48: return LayerFailure(.certificateUntrusted, "the peer refused our certificate: \(words)")
        case 45: return LayerFailure(.certificateExpired, "the peer refused our certificate: \(words)")
        case 41, 116: return LayerFailure(.certificateRequired, "the peer wants a certificate from us")
        default: return LayerFailure(isOpen ? .protocolError : .handshakeFailed, "the peer ended TLS: \(words)")
        }
    }

    private static let alerts: [Int32: String] = [
        10: "unexpected message", 20: "bad record", 21: "it could not decrypt", 22: "record overflow", 40: "no common parameters (handshake failure)",
        41: "no certificate", 42: "bad certificate", 43: "unsupported certificate", 44: "certificate revoked", 45: "certificate expired",
        46: "certificate not accepted", 47: "illegal parameter", 48: "it does not know who issued it (unknown CA)", 49: "access denied",
        50: "it could not decode a message", 51: "a signature or hash is wrong (decrypt error)", 70: "no common version of TLS",
        71: "insufficient security", 80: "internal error", 86: "inappropriate fallback", 90: "cancelled", 100: "no renegotiation", 109: "missing extension",
        110: "unsupported extension", 112: "it does not know this server name", 113: "bad certificate status", 115: "unknown pre-shared key",
        116: "certificate required", 120: "no common application protocol (ALPN)",
    ]

    /// RFC 5280 section 6: why the path to somebody trusted does not hold.
    private static func certificate(_ result: Int, _ serverName: String?) -> LayerFailure {
        let words = X509_verify_cert_error_string(result).map { String(cString: $0) } ?? "error \(result)"
        switch Int32(truncatingIfNeeded: result) {
        case X509_V_ERR_CERT_HAS_EXPIRED: return LayerFailure(.certificateExpired, "the peer's certificate has expired")
        case X509_V_ERR_CERT_NOT_YET_VALID: return LayerFailure(.certificateExpired, "the peer's certificate is not valid yet (is a clock wrong?)")
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
            return LayerFailure(.certificateWrongHost, "the peer's certificate is not for \(serverName ?? "this host")")
        default: return LayerFailure(.certificateUntrusted, "the peer's certificate is not trusted: \(words)")
        }
    }
}
