/// Why a layer let nothing through, or nothing more.
public struct LayerFailure: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// The peer's certificate is out of date, or not valid yet.
        case certificateExpired
        /// The peer's certificate is for another name or address.
        case certificateWrongHost
        /// Nobody whom this side trusts vouches for the peer's certificate.
        case certificateUntrusted
        /// The peer had to show a certificate and did not; said by whichever side found out.
        case certificateRequired
        /// The two sides did not agree, or one of them does not speak the protocol.
        case handshakeFailed
        /// The server does not go on in the layer's protocol.
        case upgradeRefused
        /// The stream ended without the layer's farewell: what came before may not be all.
        case truncated
        /// What came after the handshake is broken.
        case protocolError
    }
    /// What the layer speaks.
    public enum Layer: Sendable { case security, webSocket }
    public let kind: Kind
    public let layer: Layer
    /// The end of a sentence, in words.
    public let text: String

    public init(_ kind: Kind, _ text: String, of layer: Layer = .security) {
        self.kind = kind
        self.layer = layer
        self.text = text
    }

    /// Trying again does not help until somebody changes a certificate, or what is trusted.
    public var isAboutCertificate: Bool { [.certificateExpired, .certificateWrongHost, .certificateUntrusted, .certificateRequired].contains(kind) }

    public var description: String { text }
}
