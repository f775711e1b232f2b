// What Autobahn|Testsuite and the benches drive: an echo server by tasks or by callbacks, and a client that runs a server's cases.
//
// `serve ADDRESS [--callbacks] [--plain] [--loops N]`: echo on every path but /room, where what one says all hear; `drive URL AGENT`: the cases of
// Autobahn's fuzzing server at URL, one after the other.
import Glibc
import MartletLogging
import MartletWebSocket

@main struct Program {
    static func main() async {
        let words = CommandLine.arguments.dropFirst()
        do {
            switch words.first {
            case "serve": try await serve(Array(words.dropFirst()))
            case "drive": try await drive(Array(words.dropFirst()))
            default:
                StandardStream.error.write("usage: interop-websocket-echo serve ADDRESS [--callbacks] [--plain] [--loops N] | drive URL AGENT\n")
                exit(64)
            }
        } catch {
            StandardStream.error.write("\(error)\n")
            exit(1)
        }
    }

    /// Autobahn sends messages of 16 MiB, and any number of fragments.
    private static func widen(_ options: inout WebSocketOptions) {
        options.limits.messageMax = 32 << 20
        options.limits.fragmentsMax = 1 << 20
    }

    private static func serve(_ words: [String]) async throws {
        guard let address = words.first else { exit(64) }
        var options = WebSocketServerOptions()
        widen(&options.webSocket)
        if words.contains("--plain") { options.webSocket.deflate = nil }
        if let at = words.firstIndex(of: "--loops"), at + 1 < words.count { options.http.loops = Int(words[at + 1]) ?? 1 }
        let room = WebSocketRoom(slow: .disconnect(bytesMax: 64 << 20))
        let ready: @Sendable (SocketAddress) -> Void = { StandardStream.output.write("listening \($0)\n") }
        if words.contains("--callbacks") {
            let rooms = WebSocketEndpoint(
                options: options.webSocket, events: WebSocketEvents(opened: { peer, _ in room.join(peer) }) { room.broadcast($1, $2) })
            let echoes = WebSocketEndpoint(options: options.webSocket, events: WebSocketEvents { $0.send($1, $2) })
            try await HTTPServer.serve(on: address.replacing("ws", with: "http", maxReplacements: 1), options: options.http, ready: ready) { request in
                try (request.path == "/room" ? rooms : echoes).respond(to: request)
            }
        } else {
            try await WebSocketConnection.serve(on: address, options: options, ready: ready) { connection in
                if connection.target == "/room" {
                    await room.join(connection)
                    for try await message in connection.messages { room.broadcast(message) }
                } else {
                    for try await message in connection.messages { try await connection.send(message) }
                }
            }
        }
    }

    private static func drive(_ words: [String]) async throws {
        guard words.count == 2 else { exit(64) }
        let (url, agent) = (words[0], words[1])
        var options = WebSocketClientOptions()
        widen(&options.webSocket)
        let count = try await WebSocketConnection.withConnection(to: "\(url)/getCaseCount", options: options) { connection in
            Int(try await connection.receive()?.text ?? "") ?? 0
        }
        for number in 1...max(1, count) {
            do {
                try await WebSocketConnection.withConnection(to: "\(url)/runCase?case=\(number)&agent=\(agent)", options: options) { connection in
                    for try await message in connection.messages { try await connection.send(message) }
                }
            } catch {
                // Many cases end so.
                StandardStream.error.write("case \(number): \(error)\n")
            }
        }
        try await WebSocketConnection.withConnection(to: "\(url)/updateReports?agent=\(agent)", options: options) { _ in }
    }
}
