import MartletBytes

/// What one peer may ask of this side. Each number has its reason and what others chose.
///
/// Not here: limits of whole servers, how long a handshake may take (HTTP's), and how much output may wait (the driver's).
public struct WebSocketLimits: Equatable, Sendable {
    /// The longest message in bytes: what came over the wire, and what it is when inflated. 1 MiB; memory for it is taken as it comes, not when it is
    /// announced. (websockets 1 MiB, uWebSockets 16 KiB to 16 MiB, ws 100 MiB.)
    public var messageMax = 1 << 20

    /// The longest payload of one frame in bytes. None but the message's: a peer may say all in one frame. (As others.)
    public var frameMax = Int.max

    /// The most frames of one message. A fragment costs no memory of its own, for messages are put together as they come, so this ends only who never
    /// ends: 65,536 are 16 bytes each of a message of 1 MiB. (ws 131,072, others none.)
    public var fragmentsMax = 65_536

    /// How many times longer than it came a message may be when inflated; deflate can do 1,032. Not asked for up to `inflationFloor` bytes, where the
    /// message's limit is enough. (Others none.)
    public var inflationRatioMax = 256

    /// Inflated bytes up to which `inflationRatioMax` is not asked for.
    public var inflationFloor = 1 << 20

    /// The most pings and pongs a second. 1,000: each asks for an answer and carries nothing. (Others none.)
    public var controlFramesPerSecondMax = 1_000

    /// How often the peer is pinged; nil: never. 20 s, below what middleboxes forget idle connections after. (websockets 20 s, uWebSockets 120 s.)
    public var pingInterval: Duration? = .seconds(20)

    /// How long nothing at all may come after a ping. 20 s. (websockets 20 s.)
    public var pongTimeout = Duration.seconds(20)

    /// How long the peer's Close may take after this side's. 10 s, as websockets; a browser's handler may be busy.
    public var closeTimeout = Duration.seconds(10)

    public init() {}
}

/// The limits as a machine keeps them: small, because one exists for each idle connection.
struct WebSocketBounds {
    let messageMax: UInt32
    let frameMax: UInt32
    let fragmentsMax: UInt32
    let inflationRatioMax: UInt32
    let inflationFloor: UInt32
    let controlFramesPerSecondMax: UInt32
    /// Milliseconds; 0: never.
    let pingInterval: UInt32
    let pongTimeout: UInt32
    let closeTimeout: UInt32

    init(_ limits: WebSocketLimits) {
        // A buffer holds 4 GiB at most, and grows by doubling.
        func size(_ value: Int) -> UInt32 { UInt32(min(max(value, 0), 1 << 30)) }
        func milliseconds(_ duration: Duration) -> UInt32 {
            let (seconds, attoseconds) = duration.components
            return UInt32(clamping: min(max(seconds, 0), 1 << 32) * 1000 + attoseconds / 1_000_000_000_000_000)
        }
        messageMax = size(limits.messageMax)
        frameMax = size(limits.frameMax)
        fragmentsMax = size(limits.fragmentsMax)
        inflationRatioMax = size(limits.inflationRatioMax)
        inflationFloor = size(limits.inflationFloor)
        controlFramesPerSecondMax = size(limits.controlFramesPerSecondMax)
        pingInterval = limits.pingInterval.map { max(1, milliseconds($0)) } ?? 0
        pongTimeout = milliseconds(limits.pongTimeout)
        closeTimeout = milliseconds(limits.closeTimeout)
    }

    /// How long a message of `count` deflated bytes may be.
    func inflatedMax(_ count: Int) -> Int {
        min(Int(messageMax), max(Int(inflationFloor), count * Int(inflationRatioMax)))
    }
}

extension Instant {
    func advanced(byMilliseconds milliseconds: UInt32) -> Instant {
        let (sum, isOver) = nanoseconds.addingReportingOverflow(Int64(milliseconds) * 1_000_000)
        return isOver ? .never : Instant(nanoseconds: sum)
    }
}
