import Glibc
import MartletZMQ

/// Patterns that Debian's libzmq and pyzmq do not have, and STREAM. `server` sends back what comes; `client` sends 1 to 100 and prints the answers. `radio`
/// sends 1 to 100 to each of `groups` (a,b,c) once somebody has joined them all; `dish` joins them and prints, until a message says "end". `stream`
/// answers each request that ends in an empty line with a page, and closes.
extension ZMQPeer {
    func runMore(_ type: String) async throws {
        let groups = try (words["groups"] ?? "").split(separator: ",").map { try ZMQGroup(String($0)) }
        switch type {
        case "stream": try await open(.stream) { try await servePages($0) }
        case "server": try await open(.server) { for try await message in $0.messages { try await $0.send(message.body, to: message.client) } }
        case "client":
            try await open(.client) { client in
                for number in 1...100 {
                    try await client.send("\(number)")
                    Self.say(1, try await client.receive().text)
                }
            }
        case "radio":
            try await open(.radio) { radio in
                while radio.memberCount < groups.count { try await Task.sleep(for: .milliseconds(5)) }
                for number in 1...100 { for group in groups { try await radio.send("\(number)", to: group) } }
            }
        case "dish":
            try await open(.dish) { dish in
                for group in groups { dish.join(group) }
                for try await message in dish.messages {
                    if message.text == "end" { break }
                    Self.say(1, "\(message.group)\t\(message.text)")
                }
            }
        default: exit(64)
        }
    }

    /// HTTP/1.0, as far as curl needs it.
    private func servePages(_ stream: ZMQSocket<ZMQStream>) async throws {
        var requests: [[UInt8]: String] = [:]
        for try await message in stream.messages {
            let id = message[0]
            if message[1].isEmpty {
                Self.say(1, requests[id] == nil ? "came" : "went")
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
}
