import Foundation
import MartletHTTP
import MartletSockets
import Testing

/// What was published against other servers and clients in Swift in 2026, asked of these. What the wire's rules alone decide is in
/// `Tests/Vectors/http/advisories.vec`.
@Suite(.timeLimit(.minutes(10))) struct HTTPAdvisoryTests {
    @Test func `CVE-2026-28980: fields without number or end cost a connection, not the server`() async throws {
        try await withHTTPServer { _ in
            .text("hello")
        } _: { place in
            for line in ["a: b\r\n", "a: \(String(repeating: "b", count: 1000))\r\n", ":\r\n"] {
                let answer = try await TCP.withConnection(to: place) { connection in
                    // Until the server has enough.
                    try await connection.write("GET / HTTP/1.1\r\nHost: x\r\n")
                    do throws(NetError) { try await connection.write(String(repeating: line, count: 200_000 / line.utf8.count)) } catch {}
                    var text = ""
                    do throws(NetError) {
                        while let piece = try await connection.read(timeout: .seconds(10)) { text += String(decoding: piece, as: UTF8.self) }
                    } catch {}
                    return text
                }
                #expect(answer.isEmpty || answer.statusLine.contains(line.hasPrefix("a") ? " 431 " : " 400 "), "\(answer)")
            }
            #expect(try await exchange(request("GET /"), with: place).hasSuffix("hello"))
        }
    }

    @Test func `CVE-2026-28980: a response's fields neither`() async throws {
        try await withRawServer { connection, _ in
            _ = try await hearHead(connection)
            try await connection.write("HTTP/1.1 200 OK\r\n")
            try await connection.write(String(repeating: "a: b\r\n", count: 30_000))
        } _: { url in
            await HTTPClient.withClient(options: clientOptions()) { client in
                let error = await failure { () async throws(HTTPClientError) in try await client.get(url) }
                #expect(error?.kind == .violation(.fieldsTooMany))
            }
        }
    }

    @Test(arguments: ["\r\nX-Injected: 1", "\nX-Injected: 1", "\rX", "\0"])
    func `CVE-2026-28970: nothing that a program sets can end a line`(_ text: String) async throws {
        #expect(throws: HTTPFieldRefusal.self) { try HTTPResponse.redirect(to: "/a" + text) }
        var fields = HTTPFields()
        #expect(throws: HTTPFieldRefusal.self) { try fields.set("X", to: "a" + text + "b") }
        #expect(throws: HTTPFieldRefusal.self) { try fields.append("X" + text, "a") }
        #expect(throws: HTTPFieldRefusal.self) { try HTTPFailure.upgradeRequired("a" + text) }
        // In a target it is encoded, in a method and a host refused.
        let url = try HTTPURL("http://x/a\(text)?b=\(text)")
        #expect(url.target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        let answers = try await withHTTPServer { request in
            throw HTTPFailure(.badRequest, "nothing is at \(request.query("b") ?? "")")
        } _: { place in
            try await HTTPClient.withClient(options: clientOptions()) { client in
                let request = try HTTPClientRequest("GET" + text, "http://\(place)/")
                #expect(await failure { () async throws(HTTPClientError) in try await client.send(request) }?.kind == .requestInvalid)
                let tunnel = try HTTPClientRequest.connect(to: "a:1" + text, through: "http://\(place)")
                #expect(await failure { () async throws(HTTPClientError) in try await client.send(tunnel) }?.kind == .requestInvalid)
                let response = try await client.get("http://\(place)\(url.target)")
                return (response.fields["x-injected"] != nil, try await response.text())
            }
        }
        #expect(!answers.0 && !answers.1.contains(text))
        #expect(await failure { () async throws(HTTPClientError) in try HTTPURL("http://x\(text)/") }?.kind == .urlInvalid)
    }

    @Test func `CVE-2026-28970: a directory's name does not end a line either`() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-line-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: "\(folder)/a\r\nX-Injected: 1", withIntermediateDirectories: true)
        let files = try HTTPFiles(folder)
        let answer = try await withHTTPServer {
            try await files.respond(to: $0)
        } _: {
            try await exchange(request("GET /a%0D%0AX-Injected:%201"), with: $0)
        }
        #expect(answer.statusLine == "HTTP/1.1 301 Moved Permanently" && answer.contains("\r\nLocation: /a%0D%0AX-Injected:%201/\r\n"), "\(answer)")
    }

    @Test func `form keys and parts without end are bytes, which nobody takes apart`() async throws {
        let keys = String(repeating: "a[", count: 400_000) + "=1&" + String(repeating: "]", count: 200_000)
        let parts = String(repeating: "--b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n", count: 20_000)
        try await withHTTPServer { request in
            let content = try await request.body.collect(max: 1 << 21)
            return .text("\(content.count) \(request.query("a") ?? "-")", status: content.isEmpty ? .badRequest : .ok)
        } _: { place in
            for (type, body) in [("application/x-www-form-urlencoded", keys), ("multipart/form-data; boundary=b", parts)] {
                let target = "/?" + String(repeating: "a[", count: 1000) + "&" + String(repeating: "&=", count: 1000) + "&a=7"
                let answer = try await exchange(request("POST \(target)", ["Content-Type: \(type)"], body: body), with: place)
                #expect(answer.content == "\(body.utf8.count) 7")
            }
        }
    }

    @Test func `a range that is none is the whole, and thousands of them too`() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-range-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try "0123456789".write(toFile: "\(folder)/a", atomically: true, encoding: .utf8)
        let files = try HTTPFiles(folder)
        let ranges = [
            "bytes=9-1", "bytes=-", "bytes=18446744073709551617-1", "bytes=-1-", "bytes=" + (0..<5000).map { "\($0)-" }.joined(separator: ","),
            "bytes=" + String(repeating: "0-,", count: 9000), "bytes=1-\(UInt64.max)", "bytes=-\(UInt64.max)",
        ]
        let answers = try await withHTTPServer {
            try await files.respond(to: $0)
        } _: { place in
            var answers: [String] = []
            for range in ranges { answers.append(try await exchange(request("GET /a", ["Range: \(range)"]), with: place)) }
            return answers
        }
        #expect(answers.prefix(6).allSatisfy { $0.statusLine == "HTTP/1.1 200 OK" && $0.content == "0123456789" })
        #expect(answers[6].content == "123456789" && answers[7].content == "0123456789")
    }
}
