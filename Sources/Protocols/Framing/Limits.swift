/// What one peer may have this side keep in memory while a frame is not whole. Each number has its reason and what others chose.
///
/// Not here: `Framing.fixed`, whose size is the program's own choice, and `Framing.bytes`, which keeps nothing.
public struct FramingLimits: Equatable, Sendable {
    /// The longest line in bytes, without its end. 64 KiB: far above what people and logs write.
    /// (asyncio's StreamReader and Go's bufio.Scanner 64 KiB, Redis' inline commands 64 KiB.)
    public var lineMax = 1 << 16

    /// The longest length-prefixed frame in bytes, without the length. 1 MiB, as MQTT's packets here: files belong into pieces.
    /// (gRPC 4 MiB, Thrift 16 MB, Erlang none.) At most 4 GiB less 16 bytes.
    public var frameMax = 1 << 20

    public init() {}

    /// Both set to `max`.
    public init(max: Int) {
        lineMax = max
        frameMax = max
    }
}
