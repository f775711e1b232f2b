import Glibc
import MartletNet
import MartletZMQ

/// One socket of a pattern that Debian's libzmq and pyzmq do not have, or of STREAM, for Tests/Interop:
///
///     interop-zmq-roles ROLE --bind|--connect ENDPOINT [--group GROUP]...
///
/// `stream` answers each request that ends in an empty line with a page, and closes. `server` sends back what comes; `client` sends 1 to 100 and prints the
/// answers. `radio` sends 1 to 100 to each group once somebody has joined them all; `dish` joins and prints, until a message says "end". ENDPOINT is printed.
@main struct ZMQRoles {
    static func main() async throws {
        ProcessSetup.prepare()
        let words = Array(CommandLine.arguments.dropFirst())
        guard words.count >= 3 else { exit(64) }
        let groups = try words.indices.dropLast().filter { words[$0] == "--group" }.map { try ZMQGroup(words[$0 + 1]) }
        switch words[0] {
        case "stream": try await open(.stream, words) { try await serve($0) }
        case "server": try await open(.server, words) { for try await message in $0.messages { try await $0.send(message.body, to: message.client) } }
        case "client":
            try await open(.client, words) { client in
                for number in 1...100 {
                    try await client.send("\(number)")
                    say(try await client.receive().text)
                }
            }
        case "radio":
            try await open(.radio, words) { radio in
                while radio.memberCount < groups.count { try await Task.sleep(for: .milliseconds(5)) }
                for number in 1...100 { for group in groups { try await radio.send("\(number)", to: group) } }
            }
        case "dish":
            try await open(.dish, words) { dish in
                for group in groups { dish.join(group) }
                for try await message in dish.messages {
                    if message.text == "end" { break }
                    say("\(message.group)\t\(message.text)")
                }
            }
        default: exit(64)
        }
    }

    private static func open<Pattern: ZMQPattern>(
        _ pattern: Pattern, _ words: [String], _ body: @escaping @Sendable (ZMQSocket<Pattern>) async throws -> Void
    ) async throws {
        let endpoint = words[2]
        guard words[1] == "--bind" else { return try await withZMQSocket(pattern, connect: endpoint) { try await body($0) } }
        try await withZMQSocket(pattern, bind: endpoint) { socket in
            say("\(socket.boundEndpoints[0])")
            try await body(socket)
        }
    }

    /// HTTP/1.0, as far as curl needs it.
    private static func serve(_ stream: ZMQSocket<ZMQStream>) async throws {
        var requests: [[UInt8]: String] = [:]
        for try await message in stream.messages {
            let id = message[0]
            if message[1].isEmpty {
                say(requests[id] == nil ? "came" : "went")
                requests[id] = requests[id] == nil ? "" : nil
                continue
            }
            requests[id, default: ""] += message.text(of: 1)
            guard let request = requests[id], request.hasSuffix("\r\n\r\n") else { continue }
            let page = request.split(separator: " ")[1] + "\n"
            try await stream.send(ZMQMessage(frames: [id, Array("HTTP/1.0 200 OK\r\nContent-Length: \(page.utf8.count)\r\n\r\n\(page)".utf8)]))
            // A client that has its page may be gone already.
            try? await stream.send(ZMQMessage(frames: [id, []]))
            requests[id] = nil
        }
    }

    private static func say(_ line: String) {
        print(line)
        fflush(nil)
    }
}
