import Glibc
import MartletHTTP
import MartletWebSocket

/// For `Benchmarks/websocket.py`: `bench-websocket callbacks|handlers PORT` serves an echo at /ws and a room at /chat, where what one sends goes to all
/// others, on one loop of 127.0.0.1. Nothing is deflated, as by the peers it is measured beside; `handlers` has a task for each connection.
/// `bench-websocket machine [ROUNDS]` measures the machine alone.
@main struct BenchWebSocket {
    static func main() async throws {
        let words = CommandLine.arguments
        if words.count > 1, words[1] == "machine" { return MachineCost.show(rounds: words.count > 2 ? Int(words[2]) ?? 5 : 5) }
        guard words.count == 3, let port = UInt16(words[2]) else { exit(64) }
        var web = WebSocketOptions()
        web.limits.messageMax = 16 << 20
        let room = WebSocketRoom()
        let echo: WebSocketEndpoint
        let chat: WebSocketEndpoint
        switch words[1] {
        case "callbacks":
            echo = WebSocketEndpoint(options: web, events: WebSocketEvents { $0.send($1, $2) })
            let all = WebSocketEvents(opened: { peer, _ in room.join(peer) }) { room.broadcast($1, $2, except: $0) }
            chat = WebSocketEndpoint(options: web, events: all)
        case "handlers":
            echo = WebSocketEndpoint(options: web) { connection in
                for try await message in connection.messages { try await connection.send(message) }
            }
            chat = WebSocketEndpoint(options: web) { connection in
                await room.join(connection)
                for try await message in connection.messages { room.broadcast(message, except: connection) }
            }
        default: exit(64)
        }
        var options = HTTPServerOptions()
        options.loops = 1
        options.requestsMax = .max
        try await HTTPServer.serve(on: "http://127.0.0.1:\(port)", options: options) { request in
            try request.path == "/chat" ? chat.respond(to: request) : echo.respond(to: request)
        }
    }
}
