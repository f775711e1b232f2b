/// What one peer may ask of this side. Each number has its reason and what others chose.
///
/// Not here: limits of whole servers and pools (connections, requests in flight), which are the library's.
public struct HTTPLimits: Equatable, Sendable {
    /// The longest request line or status line in bytes, without its CRLF. 8 KiB, as RFC 9112 section 3 asks for at least 8,000.
    /// (nginx 8 KiB, Apache 8,190, Node 16 KiB with the fields.)
    public var startLineMax = 8 << 10

    /// The most bytes of a message's field lines together with the empty line behind them, and again of its trailers, and of all extensions
    /// of a body's chunks. 32 KiB: cookies may have 4 KiB each. (nginx 32 KiB, Node 16 KiB, Go 1 MiB.)
    public var fieldsBytesMax = 32 << 10

    /// The most field lines. 100 are above what browsers and proxies send. (Apache 100, hyper 100, nginx 1,000 from 1.29.)
    public var fieldsMax = 100

    /// The longest content of a message in bytes, declared or counted. 16 MiB: a form with pictures; who takes more says so.
    /// (nginx 1 MiB, Go and Node none.)
    public var bodyMax: UInt64 = 16 << 20

    /// The longest line in front of a chunk in bytes, without its CRLF: 16 digits and extensions, which nobody uses.
    /// (Go 4 KiB, nginx counts only digits.)
    public var chunkLineMax = 256

    /// From the first byte of a head to its last. 10 s: a head fits into a few segments. (nginx and Node 60 s, Apache 20 to 40 s.)
    public var headTimeout = Duration.seconds(10)

    /// Server: how long a connection may wait for the first byte of a request. 60 s: browsers come back within seconds.
    /// (nginx 75 s, Node 5 s, Apache 5 s, Go none.)
    public var idleTimeout = Duration.seconds(60)

    /// Bytes of content a second, on the average since the head, that a peer has to bring; 0: as slow as it likes. 1 KiB/s: the slowest
    /// mobile link brings more, a thousand drips do not. (Apache 500 B/s, IIS 240 B/s, Kestrel 240 B/s after 5 s.)
    public var bodyRateMin = 1 << 10

    /// How long after the head the rate is not asked for: a link that was just lost and found again.
    public var bodyRateGrace = Duration.seconds(5)

    public init() {}

    /// For a client that reads what it asked for: content of any size and at any speed, because whoever reads it decides.
    public static var client: HTTPLimits {
        var limits = HTTPLimits()
        limits.bodyMax = .max
        limits.bodyRateMin = 0
        return limits
    }
}

/// The limits as a machine keeps them: small, because one exists for each idle connection.
struct HTTPBounds {
    let startLineMax: Int32
    let fieldsBytesMax: Int32
    let fieldsMax: Int32
    let chunkLineMax: Int32
    /// Milliseconds.
    let headTimeout: UInt32
    let idleTimeout: UInt32
    let bodyRateGrace: UInt32
    /// Bytes a second; 0: none.
    let bodyRateMin: UInt32
    let bodyMax: UInt64

    init(_ limits: HTTPLimits) {
        // Far below what ranges can say, far above what anybody wants.
        func size(_ value: Int) -> Int32 { Int32(min(max(value, 1), 1 << 30)) }
        func milliseconds(_ duration: Duration) -> UInt32 {
            let (seconds, attoseconds) = duration.components
            return UInt32(clamping: min(max(seconds, 0), 1 << 32) * 1000 + attoseconds / 1_000_000_000_000_000)
        }
        startLineMax = size(limits.startLineMax)
        fieldsBytesMax = size(limits.fieldsBytesMax)
        fieldsMax = Int32(clamping: max(limits.fieldsMax, 0))
        chunkLineMax = size(limits.chunkLineMax)
        headTimeout = milliseconds(limits.headTimeout)
        idleTimeout = milliseconds(limits.idleTimeout)
        bodyRateGrace = milliseconds(limits.bodyRateGrace)
        bodyRateMin = UInt32(clamping: limits.bodyRateMin)
        bodyMax = limits.bodyMax
    }
    /// How long `bytes` take at that rate.
    static func nanoseconds(for bytes: UInt64, rate: UInt32) -> Int64 {
        let seconds = bytes / UInt64(rate), rest = bytes % UInt64(rate)
        return Int64(clamping: min(seconds, 1 << 32) &* 1_000_000_000 &+ rest &* 1_000_000_000 / UInt64(rate))
    }
}
