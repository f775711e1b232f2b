import CSodium
public import MartletBytes

/// The 24 bytes that make each box another (RFC 26): a prefix that says what for, and a number or 16 random bytes.
public struct CurveNonce: Sendable, BitwiseCopyable {
    /// As they lie in memory.
    private var words: (UInt64, UInt64, UInt64)

    /// A short nonce: `prefix` of 16 bytes, and a number that is sent.
    @inline(__always) public init(_ prefix: StaticString, _ number: UInt64) {
        precondition(prefix.utf8CodeUnitCount == 16)
        let bytes = prefix.bytes
        words = (bytes.word(at: 0).littleEndian, bytes.word(at: 8).littleEndian, number.bigEndian)
    }

    /// A long nonce: `prefix` of 8 bytes, and the 16 that `sent` holds.
    public init?(_ prefix: StaticString, _ sent: Span<UInt8>) {
        guard sent.count == 16 else { return nil }
        self.init(prefix, sent.word(at: 0).littleEndian, sent.word(at: 8).littleEndian)
    }

    init(_ prefix: StaticString, _ first: UInt64, _ second: UInt64) {
        precondition(prefix.utf8CodeUnitCount == 8)
        words = (prefix.bytes.word(at: 0).littleEndian, first, second)
    }

    /// What of a long nonce is sent: its last 16 bytes.
    public func appendSent(into output: inout ByteBuffer) { withBytes { output.append($0 + 8, count: 16) } }

    @inline(__always) func withBytes<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result {
        withUnsafeBytes(of: words) { body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
    }
}

/// The key of the boxes between two key pairs (X25519, XSalsa20, Poly1305: NaCl's crypto_box): a box is 16 bytes of authenticator and what is secret.
///
/// Invariant: what does not open was not written by who has the other secret key, and nothing of it is shown.
/// Not here: nonces that are used once (the caller's), and the wire's commands (the protocol's).
public struct CurveBoxKey: Sendable, BitwiseCopyable {
    /// Bytes of authenticator in front of what is sealed.
    public static var overhead: Int { 16 }

    private var key: CurveWords

    /// Between a peer's public and our secret key; nil for a public key of small order, which shares nothing.
    public init?(_ publicKey: CurvePublicKey, _ secretKey: CurveSecretKey) {
        Sodium.begin()
        var isShared = false
        key = CurveWords { to in
            publicKey.key.withBytes { publicKey in secretKey.key.withBytes { isShared = crypto_box_beforenm(to, publicKey, $0) == 0 } }
        }
        guard isShared else { return nil }
    }

    /// A key that only this side has.
    public init(drawing seed: inout CurveSeed) { key = seed.draw() }

    /// Seals the buffer's last `count` bytes where they are; the authenticator goes into the 16 before them, which the caller has left for it.
    @inline(__always)
    public func seal(last count: Int, of buffer: inout ByteBuffer, _ nonce: CurveNonce) {
        precondition(count >= 0 && count + Self.overhead <= buffer.count)
        let start = (buffer.reserve(0) - count).assumingMemoryBound(to: UInt8.self)
        key.withBytes { key in nonce.withBytes { _ = crypto_box_detached_afternm(start, start - 16, start, UInt64(count), $0, key) } }
    }

    /// Opens a box behind what `buffer` holds. False, and nothing is appended, when it does not open.
    @inline(__always)
    public func open(_ box: Span<UInt8>, into buffer: inout ByteBuffer, _ nonce: CurveNonce) -> Bool {
        let count = box.count - Self.overhead
        guard count >= 0 else { return false }
        let end = buffer.reserve(count).assumingMemoryBound(to: UInt8.self)
        let isOpen = box.withUnsafeBufferPointer { box in
            let start = box.baseAddress!
            return key.withBytes { key in nonce.withBytes { crypto_box_open_detached_afternm(end, start + 16, start, UInt64(count), $0, key) == 0 } }
        }
        if isOpen { buffer.commit(count) }
        return isOpen
    }

    /// Overwrites it with zeros.
    public mutating func wipe() { key.wipe() }
}

extension ByteBuffer {
    /// 32 bytes.
    public mutating func append(_ key: CurvePublicKey) { key.key.withBytes { append($0, count: 32) } }

    /// 32 bytes, to be sealed at once.
    public mutating func append(_ key: CurveSecretKey) { key.key.withBytes { append($0, count: 32) } }
}
