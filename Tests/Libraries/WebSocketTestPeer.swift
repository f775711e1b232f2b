import MartletBytes
import MartletSockets
import MartletWebSocket
import Synchronization
import Testing

/// A server of WebSockets on a free port for one test: `body` is given its URL, and the server ends in good order behind it.
func withWebSocketServer<Result: Sendable>(
    options: WebSocketServerOptions = WebSocketServerOptions(), on address: String = "ws://127.0.0.1:0", events: WebSocketEvents? = nil,
    _ handler: @escaping WebSocketHandler = { _ in }, _ body: @escaping @Sendable (String) async throws -> Result
) async throws -> Result {
    let (places, source) = AsyncStream.makeStream(of: String.self)
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask {
            defer { source.finish() }
            let ready: @Sendable (SocketAddress) -> Void = { source.yield("\($0)") }
            if let events {
                try await WebSocketConnection.serve(on: address, options: options, ready: ready, events: events)
            } else {
                try await WebSocketConnection.serve(on: address, options: options, ready: ready, handler)
            }
            return nil
        }
        var result: Result?
        for await place in places {
            result = try await body("\(address.prefix { $0 != ":" })://\(place)/")
            break
        }
        group.cancelAll()
        try await group.waitForAll()
        return try #require(result)
    }
}

/// Sends back what comes.
let webSocketEcho: WebSocketHandler = { connection in for try await message in connection.messages { try await connection.send(message) } }
let webSocketEchoEvents = WebSocketEvents { peer, kind, content in peer.send(kind, content) }

func webSocketOptions(_ change: (inout WebSocketServerOptions) -> Void) -> WebSocketServerOptions {
    var options = WebSocketServerOptions()
    change(&options)
    return options
}

func webSocketClient(_ change: (inout WebSocketClientOptions) -> Void) -> WebSocketClientOptions {
    var options = WebSocketClientOptions()
    change(&options)
    return options
}

/// A client that says what it is told, frame by frame, and reads only when it is asked to.
final class RawWebSocket: Sendable {
    struct Frame: Equatable {
        let first: UInt8
        let payload: [UInt8]
        var text: String { String(decoding: payload, as: UTF8.self) }
        /// A Close's.
        var code: Int { payload.count < 2 ? 1005 : Int(payload[0]) << 8 | Int(payload[1]) }
        var reason: String { String(decoding: payload.dropFirst(2), as: UTF8.self) }
    }
    let connection: TCPConnection
    private let unread = Mutex<[UInt8]>([])
    let head: String

    /// Shakes hands; the server has to agree.
    init(_ connection: TCPConnection, target: String = "/", fields: [String] = []) async throws {
        self.connection = connection
        try await connection.write(Self.request(target, fields))
        var text: [UInt8] = []
        let end = Array("\r\n\r\n".utf8)
        while true {
            let piece = try await connection.read(timeout: .seconds(20))
            text += try #require(piece)
            if let mark = text.firstRange(of: end) {
                unread.withLock { $0 = Array(text[mark.upperBound...]) }
                head = String(decoding: text[..<mark.upperBound], as: UTF8.self)
                break
            }
        }
        #expect(head.hasPrefix("HTTP/1.1 101 "), "\(head)")
    }

    static func request(_ target: String = "/", _ fields: [String] = [], version: String = "13") -> String {
        let all =
            [
                "GET \(target) HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: \(version)",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ] + fields
        return all.joined(separator: "\r\n") + "\r\n\r\n"
    }

    static func frame(_ first: UInt8, _ payload: [UInt8]) -> [UInt8] {
        let mask: [UInt8] = [0x37, 0xFA, 0x21, 0x3D], count = payload.count
        let length: [UInt8] =
            count < 126
            ? [0x80 | UInt8(count)]
            : count < 65536 ? [0x80 | 126, UInt8(count >> 8), UInt8(count & 255)] : [0x80 | 127] + (0..<8).map { UInt8(count >> (56 - 8 * $0) & 255) }
        return [first] + length + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }
    static func text(_ text: String) -> [UInt8] { frame(0x81, Array(text.utf8)) }
    static func close(_ code: Int, _ reason: String = "") -> [UInt8] { frame(0x88, [UInt8(code >> 8), UInt8(code & 255)] + Array(reason.utf8)) }

    func send(_ frames: [UInt8]...) async throws { try await connection.write(Array(frames.joined())) }

    /// The server's next frame; nil at the end of the stream.
    func next() async throws -> Frame? {
        while true {
            let found = unread.withLock { bytes -> Frame? in
                guard bytes.count >= 2 else { return nil }
                var count = Int(bytes[1]), start = 2
                #expect(count < 128, "a server's frame is not masked")
                if count == 126 { (count, start) = bytes.count < 4 ? (.max / 2, 4) : (Int(bytes[2]) << 8 | Int(bytes[3]), 4) }
                if count == 127 { (count, start) = bytes.count < 10 ? (.max / 2, 10) : (bytes[2..<10].reduce(0) { $0 << 8 | Int($1) }, 10) }
                guard bytes.count >= start + count else { return nil }
                defer { bytes.removeFirst(start + count) }
                return Frame(first: bytes[0], payload: Array(bytes[start..<(start + count)]))
            }
            if let found { return found }
            guard let piece = try await connection.read(timeout: .seconds(20)) else { return nil }
            unread.withLock { $0 += piece }
        }
    }
}

/// What was told, in its order.
final class Told<Item: Sendable>: Sendable {
    private let items = Mutex<[Item]>([])
    func add(_ item: Item) { items.withLock { $0.append(item) } }
    var all: [Item] { items.withLock { $0 } }

    /// Waits until there are so many.
    func wait(for count: Int) async throws {
        let end = ContinuousClock.now + .seconds(30)
        while items.withLock({ $0.count }) < count {
            try #require(.now < end, "\(all.count) of \(count): \(all)")
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

/// Waits until it holds.
func eventually(_ what: String = "", _ holds: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while try await !holds() {
        try #require(.now < end, "\(what)")
        try await Task.sleep(for: .milliseconds(5))
    }
}
