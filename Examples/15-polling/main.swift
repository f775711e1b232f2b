// What the course says of polling, measured: one source of news, and three clients that want them soon. The first asks every two seconds, the second asks
// and is kept waiting until there is something, the third has a WebSocket. Each goes through a relay that counts its bytes. `--seconds N`: how long.
import ExampleArguments
import MartletSockets
import MartletWebSocket
import Synchronization

let seconds = Arguments.value(of: "--seconds").flatMap(Int.init) ?? 20
let news = News(), clock = ContinuousClock(), room = WebSocketRoom()
let live = WebSocketEndpoint { connection in
    await room.join(connection)
    for try await _ in connection.messages {}
}
var router = HTTPRouter()
router.get("/news/{after}") { request in .text(news.since(request.integer("after") ?? 0)) }
router.get("/news/{after}/wait") { request in .text(await news.next(after: request.integer("after") ?? 0)) }
router.get("/live") { request in try live.respond(to: request) }

let (places, source) = AsyncStream.makeStream(of: String.self)
let server = Task { [router] in
    defer { source.finish() }
    try await HTTPServer.serve(on: "http://127.0.0.1:0", ready: { source.yield("\($0)") }, router)
}
guard let place = await places.first(where: { _ in true }) else {
    Arguments.fail(await server.result)
}
let end = clock.now + .seconds(seconds)
async let polling = measure("polling, every 2 s") { place, seen in
    while clock.now < end {
        seen.take(try await HTTPClient.shared.get("http://\(place)/news/\(seen.last)").text())
        try await Task.sleep(for: .seconds(2))
    }
}
async let long = measure("long polling") { place, seen in
    while clock.now < end { seen.take(try await HTTPClient.shared.get("http://\(place)/news/\(seen.last)/wait").text()) }
}
async let socket = measure("WebSocket") { place, seen in
    try await WebSocketConnection.withConnection(to: "ws://\(place)/live") { connection in
        while clock.now < end, let message = try await connection.receive() {
            seen.requests = 0
            seen.take(message.text)
        }
    }
}
try await Task.sleep(for: .milliseconds(200))
while clock.now < end {
    room.broadcast(.text(news.add()))
    try await Task.sleep(for: .milliseconds(Int.random(in: 200...800)))
}
for _ in 0..<2 {
    room.broadcast(.text(news.add()))
    try await Task.sleep(for: .milliseconds(100))
}
print("way                   news  requests   bytes   mean delay   longest")
for row in try await [polling, long, socket] { print(row) }
server.cancel()
try await server.value

/// One way of asking, through a relay of its own.
func measure(_ name: String, _ ask: @escaping @Sendable (String, inout Seen) async throws -> Void) async throws -> String {
    let bytes = ByteCount(), target = place
    let (relays, relay) = AsyncStream.makeStream(of: String.self)
    let relaying = Task {
        try await TCP.listen(on: "127.0.0.1:0", ready: { relay.yield("\($0)") }) { client in
            try await TCP.withConnection(to: target) { server in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for (from, to) in [(client, server), (server, client)] {
                        group.addTask {
                            for try await chunk in from.inbound {
                                bytes.add(chunk.count)
                                try await to.write(chunk)
                            }
                            try await to.finishWriting()
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }
    var seen = Seen()
    if let place = await relays.first(where: { _ in true }) { try await ask(place, &seen) }
    relaying.cancel()
    let columns = ["\(seen.count)", "\(seen.requests)", "\(bytes.count)", "\(seen.mean) ms", "\(seen.longest) ms"]
    return name.padded(20) + zip(columns, [6, 10, 8, 13, 10]).map { $0.padded(-$1) }.joined()
}

final class ByteCount: Sendable {
    private let sum = Atomic(0)
    var count: Int { sum.load(ordering: .relaxed) }
    func add(_ count: Int) { sum.wrappingAdd(count, ordering: .relaxed) }
}

/// What a client has heard: lines of a number and when it was new.
struct Seen {
    var requests = 0
    private(set) var last = 0, count = 0, longest = 0
    private var sum = 0
    var mean: Int { count > 0 ? sum / count : 0 }

    mutating func take(_ text: String) {
        requests += 1
        for line in text.split(separator: "\n") {
            let numbers = line.split(separator: " ").compactMap { Int($0) }, delay = News.now - numbers[1]
            (last, count, sum, longest) = (numbers[0], count + 1, sum + delay, max(longest, delay))
        }
    }
}

/// Numbers, each with the time that it came at in milliseconds.
final class News: Sendable {
    private let items = Mutex<[String]>([])
    private static let start = ContinuousClock.now
    static var now: Int { Int((ContinuousClock.now - start) / .milliseconds(1)) }

    func add() -> String {
        items.withLock { items in
            items.append("\(items.count + 1) \(Self.now)\n")
            return items[items.count - 1]
        }
    }

    func since(_ number: Int) -> String { items.withLock { $0.dropFirst(number).joined() } }

    /// Waits for something, at most 30 s.
    func next(after number: Int) async -> String {
        for _ in 0..<3000 where since(number).isEmpty { try? await Task.sleep(for: .milliseconds(10)) }
        return since(number)
    }
}

extension String {
    /// To so many columns; to the right with a negative count.
    func padded(_ width: Int) -> String {
        let blanks = String(repeating: " ", count: max(0, abs(width) - count))
        return width < 0 ? blanks + self : self + blanks
    }
}
