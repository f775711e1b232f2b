import MartletSockets
import MartletTLS

/// `martlet bench tcp|udp|http` as typed, as far as they are the same.
struct EchoBenchOptions: Equatable, Sendable {
    /// "tcp", "udp" or "http".
    let transport: String
    let place: Place
    let connectionCount: Int
    /// Messages in flight on each connection.
    let depth: Int
    /// Bytes of a message.
    let size: Int
    /// Messages of all connections; `nil`: by time.
    let messageCount: Int?
    let seconds: Double
    let warmUpSeconds: Double
    /// Messages a second of all connections; `nil`: as many as go.
    let rate: Double?
    let loopCount: Int
    /// Nil: without TLS.
    let tls: TLSClientOptions?
    let isJSON: Bool
    let isQuiet: Bool
    /// What the report calls a message.
    let text: String

    /// Nothing is lost but with the connection.
    var isReliable: Bool { transport != "udp" }

    static func options(_ transport: String) -> [Command.Option] {
        let (least, most) = sizes(transport)
        return Place.options + [
            .one("-c", "--connections", value: "N", about: "how many (default: 1)"),
            .one("--depth", value: "N", about: "messages in flight on each (default: 1; with --rate: 256)"),
            .one("--size", value: "BYTES", about: "of a message, \(least) to \(most) (default: 64)"),
        ] + pace("messages") + (transport == "tcp" ? TLSArguments.client : [])
    }

    /// How much, how long, how fast, and how it is told.
    static func pace(_ messages: String) -> [Command.Option] {
        [
            .one("--rate", value: "N", about: "\(messages) a second of all connections; latency counts from when each was due"),
            .one("--duration", value: "SECONDS", about: "how long is measured (default: 5)"),
            .one("--count", value: "N", about: "so many \(messages) instead, without a warm-up"),
            .one("--warm-up", value: "SECONDS", about: "before the measuring (default: 0.5)"),
            .one("--loops", value: "N", about: "event loops of the generator, one thread each (default: 1)"),
            .flag("--json", about: "one JSON object instead of the table"),
            .flag("--quiet", about: "no progress"),
        ]
    }

    static let footnote = """
        The server has to echo: what comes back is compared byte by byte. A message's latency is from when it was sent,
        or with --rate from when it was due, until its last byte is back; what --depth holds up counts as late with --rate.

        """

    init(_ arguments: Arguments, transport: String) throws(CommandFailure) {
        let (least, most) = Self.sizes(transport)
        let place = try Place(arguments, of: "bench \(transport)")
        let size = try arguments.integer("--size", in: least...most) ?? 64
        let tls = transport == "tcp" ? try TLSArguments.clientOptions(arguments, for: place) : nil
        try self.init(
            arguments, transport: transport, place, tls, connectionCount: 1, ratedDepth: 256, size: size,
            text: "\(size) bytes")
    }

    /// `connectionCount` and `ratedDepth` (with --rate) are what is not typed.
    init(
        _ arguments: Arguments, transport: String, _ place: Place, _ tls: TLSClientOptions?, connectionCount: Int, ratedDepth: Int, size: Int, text: String
    ) throws(CommandFailure) {
        self.transport = transport
        self.place = place
        self.tls = tls
        self.connectionCount = try arguments.integer("--connections", in: 1...100_000) ?? connectionCount
        rate = try arguments.integer("--rate", in: 1...100_000_000).map(Double.init)
        depth = try arguments.integer("--depth", in: 1...65_536) ?? (rate == nil ? 1 : ratedDepth)
        self.size = size
        if depth * size > 64 << 20 { throw .usage("--depth \(depth), \(size) bytes each: more than 64 MiB in flight on a connection") }
        messageCount = try arguments.integer("--count", in: 1...(1 << 40))
        seconds = try arguments.seconds("--duration") ?? 5
        warmUpSeconds = messageCount == nil ? try arguments.seconds("--warm-up") ?? 0.5 : 0
        loopCount = try arguments.integer("--loops", in: 1...64) ?? 1
        isJSON = arguments.has("--json")
        isQuiet = arguments.has("--quiet")
        self.text = text
    }

    /// A message begins with its number, eight bytes; a datagram has to fit into IPv4.
    private static func sizes(_ transport: String) -> (least: Int, most: Int) { (8, transport == "udp" ? 65_507 : 16 << 20) }
}
