import MartletBytes
import MartletEventLoop
import MartletHTTP
import MartletLogging
import MartletWebSocket

/// `martlet bench ws` as typed, and what runs it.
struct WSBench: Sendable {
    enum Mode: String, CaseIterable { case echo, broadcast, idle }

    let mode: Mode
    let url: HTTPURL
    let kind: WebSocketMessageKind
    let deflate: WebSocketDeflateOptions?
    let subprotocols: [String]
    /// Of the server, on this machine: its memory is looked at.
    let process: Int?
    let load: EchoBenchOptions

    static let command = Command(
        path: ["bench", "ws"],
        summary: "load a WebSocket server and measure it",
        words: "URL",
        options: [
            .one("--mode", value: "MODE", about: "echo, broadcast or idle (default: echo)"),
            .one("-c", "--connections", value: "N", about: "how many; with broadcast those that listen (default: 1; broadcast: 100, idle: 1000)"),
            .one("--depth", value: "N", about: "messages in flight on each; with broadcast in all (default: 1; with --rate: 256)"),
            .one("--size", value: "BYTES", about: "of a message, 16 or more (default: 64)"),
            .flag("--text", about: "text messages, not binary ones"),
            .flag("--deflate", about: "offer permessage-deflate, with contexts, and deflate what is sent"),
            .one("-s", "--subprotocol", value: "NAME", about: "a subprotocol to offer"),
            .one("--server-pid", value: "PID", about: "a server on this machine, for what its memory grew by (--mode idle)"),
        ] + EchoBenchOptions.pace("messages") + TLSArguments.clientOfURL,
        examples: [
            ("martlet bench ws ws://localhost:8765", "one connection, one message at a time, to martlet ws serve echo"),
            ("martlet bench ws ws://localhost:8765 -c 50 --depth 16", "50 connections with 16 messages in flight on each"),
            ("martlet bench ws ws://localhost:8765 --mode broadcast -c 1000 --text", "one says, a thousand hear, with martlet ws serve chat"),
            ("martlet bench ws ws://localhost:8765 --mode idle -c 10000 --server-pid 4711", "what idle connections cost in memory"),
        ],
        footnote: {
            """
            echo: what comes back is compared. broadcast: one connection more says what all others have to hear; text that the
            server puts in front is not looked at. A message's latency is from when it was sent, or with --rate from when it was
            due, until it is back, or a listener has it.

            """
        },
        run: { arguments throws(CommandFailure) in try WSBench(arguments).run() })

    init(_ arguments: Arguments) throws(CommandFailure) {
        guard let word = arguments.words.first, arguments.words.count == 1 else { throw .usage("bench ws: say one URL: ws[s]://HOST[:PORT][/PATH]") }
        let whole = word.contains("://") ? word : "ws://" + (word.hasPrefix(":") ? "localhost" : "") + word
        guard whole.hasPrefix("ws") else { throw .usage("bench ws: \(word): a URL is ws://HOST[:PORT][/PATH], wss://… or ws+unix:///PATH:/TARGET") }
        do throws(HTTPClientError) { url = try HTTPURL("http" + whole.dropFirst(2)) } catch { throw .usage("bench ws: \(error)") }
        guard let mode = Mode(rawValue: arguments.text("--mode") ?? "echo") else {
            throw .usage("--mode \(arguments.text("--mode") ?? ""): the modes are \(Mode.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self.mode = mode
        kind = arguments.has("--text") ? .text : .binary
        deflate = arguments.has("--deflate") ? .client : nil
        subprotocols = arguments.texts("-s")
        process = try arguments.integer("--server-pid", in: 1...Int(Int32.max))
        if process != nil, mode != .idle { throw .usage("bench ws: --server-pid goes with --mode idle") }
        let size = try arguments.integer("--size", in: 16...(16 << 20)) ?? 64
        let place: Place = url.origin.isUnix ? .unix(url.origin.host) : .internet(host: url.origin.host, port: url.origin.port)
        load = try EchoBenchOptions(
            arguments, transport: "ws", place, try Self.tls(arguments, url, place), connectionCount: mode == .echo ? 1 : mode == .broadcast ? 100 : 1000,
            ratedDepth: 256, size: size, text: "\(size) bytes\(deflate == nil ? "" : ", deflated")")
    }

    private static func tls(_ arguments: Arguments, _ url: HTTPURL, _ place: Place) throws(CommandFailure) -> TLSClientOptions? {
        let typed = try TLSArguments.clientOptions(arguments, for: place)
        guard url.origin.isSecure else {
            if typed != nil { throw .usage("bench ws: the URL is without TLS: write wss://, or leave out the flags about TLS") }
            return nil
        }
        var options = typed ?? TLSClientOptions()
        options.applicationProtocols = ["http/1.1"]
        return options
    }

    private func run() throws(CommandFailure) -> Int32 {
        let bench = self
        switch mode {
        case .echo:
            return StreamBench.run(load) { opened, index in
                let connection = WSBenchEcho(bench, index: index, now: opened.loop.now)
                opened.loop.add(connection, opened.transport)
                connection.begin(on: opened.loop)
                return connection
            }
        case .idle: return try WSBenchIdle(bench).run()
        case .broadcast:
            if case .unix = load.place { throw .usage("bench ws: --mode broadcast goes with HOST:PORT") }
            let messages = BenchLoad(
                publisherCount: 1, receiverCount: load.connectionCount, payloadSize: load.size, messageCount: load.messageCount, seconds: load.seconds,
                warmUpSeconds: load.warmUpSeconds, rate: load.rate, loopCount: load.loopCount, isJSON: load.isJSON, isQuiet: load.isQuiet,
                copies: load.connectionCount)
            let flight = WSBenchFlight(depth: load.depth, copies: load.connectionCount)
            let text = "1 to \(load.connectionCount), \(load.depth) in flight, \(load.text)"
            return BenchRun.command("bench ws", messages, text) { () throws(CommandFailure) in
                let listeners = (0..<bench.load.connectionCount).map { _ -> BenchRun.Opening in { WSBenchListener(bench, flight, now: $0.now) } }
                let speaker: BenchRun.Opening = { WSBenchSpeaker(bench, messages, flight, now: $0.now) }
                return (
                    try BenchRun(
                        messages, host: bench.url.origin.host, port: bench.url.origin.port,
                        layers: BenchRun.secured(by: bench.load.tls, for: bench.url.origin.host)), [listeners, [speaker]]
                )
            }
        }
    }
}

/// A client's end without tasks: the handshake, then the machine.
struct WSBenchPeer: ~Copyable {
    enum Failure: Error { case refused(String) }

    private let bench: WSBench
    private let handshake: WebSocketClientHandshake
    private let compression: WebSocketCompression?
    private let start: Instant
    var machine: WebSocketMachine?

    init(_ bench: WSBench, now: Instant) {
        self.bench = bench
        var generator = SystemRandomNumberGenerator()
        handshake = WebSocketClientHandshake(nonce: (generator.next(), generator.next()), subprotocols: bench.subprotocols, deflate: bench.deflate)
        compression = bench.deflate.map { WebSocketCompression($0) }
        start = now
    }

    var request: [UInt8] {
        let lines = handshake.fields.map { "\($0.name): \($0.value)\r\n" }.joined()
        return Array("GET \(bench.url.target) HTTP/1.1\r\nHost: \(bench.url.origin.authority)\r\nConnection: Upgrade\r\n\(lines)\r\n".utf8)
    }

    /// Reads the answer; how many bytes it had, 0 if it is not whole.
    mutating func open(_ bytes: Span<UInt8>) throws(Failure) -> Int {
        var end = 0
        while let found = bytes.first(0x0A, from: end) {
            if found >= 3, bytes[found - 2] == 0x0A { break }
            end = found + 1
        }
        guard end < bytes.count, end > 0 else { return 0 }
        let head = bytes.extracting(first: end).text
        let lines = head.split(separator: "\r\n")
        guard let status = lines.first, status.hasPrefix("HTTP/1.1 101") else { throw .refused("the server answered \"\(lines.first ?? "")\"") }
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        let agreement: WebSocketAgreement
        do throws(WebSocketHandshakeFailure) {
            agreement = try handshake.agree(
                accept: fields["sec-websocket-accept"], subprotocol: fields["sec-websocket-protocol"], extensions: fields["sec-websocket-extensions"])
        } catch { throw .refused(error.rawValue) }
        var limits = WebSocketLimits(), generator = SystemRandomNumberGenerator()
        limits.messageMax = 64 << 20
        limits.pingInterval = nil
        let secret = (generator.next(), generator.next())
        if let parameters = agreement.deflate, let compression {
            machine = WebSocketMachine(
                client: limits, secret: secret, deflation: WebSocketDeflation(parameters, isClient: true, sharing: compression), now: start)
        } else {
            machine = WebSocketMachine(client: limits, secret: secret, now: start)
        }
        return end + 2
    }
}

/// A number in so many hexadecimal digits, so that a message is text.
enum WSBenchNumber {
    static func write(_ number: UInt64, to message: inout [UInt8]) {
        for index in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: number >> UInt64(60 - 4 * index) & 15)
            message[index] = digit < 10 ? 0x30 + digit : 0x57 + digit
        }
    }

    static func read(_ bytes: Span<UInt8>, at start: Int) -> UInt64? {
        guard start >= 0, start + 16 <= bytes.count else { return nil }
        var number: UInt64 = 0
        for index in start..<(start + 16) {
            let byte = bytes[index], digit = byte &- 0x30 < 10 ? byte &- 0x30 : byte &- 0x57
            guard digit < 16 else { return nil }
            number = number << 4 | UInt64(digit)
        }
        return number
    }

    static func message(_ size: Int) -> [UInt8] { (0..<size).map { UInt8(ascii: "a") + UInt8($0 % 26) } }
}
