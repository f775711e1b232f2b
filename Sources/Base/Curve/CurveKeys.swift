import CSodium
import MartletBytes

/// 32 bytes as a value. The comparison takes the same time for equal and unequal ones.
struct CurveWords: Sendable, BitwiseCopyable, Hashable {
    /// Two vectors of 16 bytes: a task's frame is aligned to no more, and what asks for 32 there overwrites what lies behind it (Swift 6.3).
    var words = (SIMD2<UInt64>(), SIMD2<UInt64>())

    init() {}

    init(filledBy fill: (UnsafeMutablePointer<UInt8>) -> Void) {
        withUnsafeMutableBytes(of: &words) { fill($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
    }

    /// `bytes`: 32 of them, or nil.
    init?(_ bytes: Span<UInt8>) {
        guard bytes.count == 32 else { return nil }
        self.init { to in bytes.withUnsafeBufferPointer { to.update(from: $0.baseAddress!, count: 32) } }
    }

    @inline(__always) func withBytes<Result>(_ body: (UnsafePointer<UInt8>) -> Result) -> Result {
        withUnsafeBytes(of: words) { body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
    }

    static func == (a: CurveWords, b: CurveWords) -> Bool { a.withBytes { a in b.withBytes { b in sodium_memcmp(a, b, 32) == 0 } } }

    mutating func wipe() { withUnsafeMutableBytes(of: &words) { sodium_memzero($0.baseAddress!, 32) } }
}

/// A Curve25519 public key: who a peer is (RFC 26).
public struct CurvePublicKey: Sendable, Hashable, BitwiseCopyable {
    let key: CurveWords

    /// 32 bytes, or nil.
    public init?(_ bytes: Span<UInt8>) {
        guard let key = CurveWords(bytes) else { return nil }
        self.key = key
    }

    init(_ key: CurveWords) { self.key = key }

    /// As ZeroMQ's tools write keys: 40 characters (RFC 32), or nil.
    public init?(z85: String) {
        guard let bytes = Z85.decode(z85) else { return nil }
        self.init(bytes.span)
    }

    public var bytes: [UInt8] { key.withBytes { Array(UnsafeBufferPointer(start: $0, count: 32)) } }
    /// 40 characters (RFC 32).
    public var z85: String { Z85.encode(bytes.span) ?? "" }
}

extension CurvePublicKey: CustomStringConvertible {
    public var description: String { z85 }
}

/// A Curve25519 secret key. Its description does not tell it.
public struct CurveSecretKey: Sendable, Equatable, BitwiseCopyable {
    let key: CurveWords

    /// 32 bytes, or nil.
    public init?(_ bytes: Span<UInt8>) {
        guard let key = CurveWords(bytes) else { return nil }
        self.key = key
    }

    init(_ key: CurveWords) { self.key = key }

    /// 40 characters (RFC 32), or nil.
    public init?(z85: String) {
        guard let bytes = Z85.decode(z85) else { return nil }
        self.init(bytes.span)
    }

    public var bytes: [UInt8] { key.withBytes { Array(UnsafeBufferPointer(start: $0, count: 32)) } }
    /// 40 characters (RFC 32).
    public var z85: String { Z85.encode(bytes.span) ?? "" }
}

extension CurveSecretKey: CustomStringConvertible, CustomReflectable {
    public var description: String { "CurveSecretKey" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Both keys of one side.
public struct CurveKeyPair: Sendable, Equatable, BitwiseCopyable {
    public let publicKey: CurvePublicKey
    public let secretKey: CurveSecretKey

    /// The public key is computed.
    public init(_ secretKey: CurveSecretKey) {
        Sodium.begin()
        self.secretKey = secretKey
        publicKey = CurvePublicKey(CurveWords { to in secretKey.key.withBytes { _ = crypto_scalarmult_base(to, $0) } })
    }

    /// Keys that nobody had before, of the kernel's randomness.
    public static func generate() -> CurveKeyPair {
        var seed = CurveSeed.random()
        return CurveKeyPair(drawing: &seed)
    }

    /// The seed's next 32 bytes are the secret key.
    public init(drawing seed: inout CurveSeed) { self.init(CurveSecretKey(seed.draw())) }
}

/// What all randomness of one connection is made of: 32 bytes, and how much was drawn. A machine is given one, so that a test can repeat it.
public struct CurveSeed: Sendable, BitwiseCopyable {
    private var key: CurveWords
    private var drawn: UInt64 = 0

    /// 32 bytes that nobody can guess, or nil. Each seed is for one connection: two with the same one have the same keys.
    public init?(_ bytes: Span<UInt8>) {
        guard let key = CurveWords(bytes) else { return nil }
        Sodium.begin()
        self.key = key
    }

    private init(_ key: CurveWords) { self.key = key }

    /// From the kernel.
    public static func random() -> CurveSeed {
        Sodium.begin()
        return CurveSeed(CurveWords { randombytes_buf($0, 32) })
    }

    mutating func draw() -> CurveWords {
        drawn += 1
        let number = drawn.littleEndian
        return CurveWords { to in
            key.withBytes { key in withUnsafeBytes(of: number) { _ = crypto_generichash(to, 32, $0.baseAddress!, 8, key, 32) } }
        }
    }

    /// 16 bytes for a long nonce.
    public mutating func drawNonce(_ prefix: StaticString) -> CurveNonce {
        let words = draw().words.0
        return CurveNonce(prefix, words[0], words[1])
    }

    /// Overwrites it with zeros.
    public mutating func wipe() { key.wipe() }
}

enum Sodium {
    private static let isReady = sodium_init() >= 0

    /// Before anything else of libsodium's.
    static func begin() { precondition(isReady, "libsodium has no randomness") }
}
