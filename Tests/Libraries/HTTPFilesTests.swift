import Foundation
import MartletSockets
import Testing

@testable import MartletHTTP

/// Files over HTTP: what is served, what is not, and of which part.
@Suite(.timeLimit(.minutes(10))) final class HTTPFilesTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-http-\(UUID().uuidString)").path
    private let large: [UInt8] = {
        let piece = (0..<4_099).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var bytes: [UInt8] = []
        while bytes.count < 24 << 20 { bytes += piece }
        return bytes
    }()

    init() throws {
        for path in ["root/folder", "root/.well-known", "root/..odd"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(path)", withIntermediateDirectories: true)
        }
        for (path, text) in [
            ("secret", "secret"), ("root/a.txt", "0123456789"), ("root/.hidden", "hidden"), ("root/folder/index.html", "<p>"), ("root/.well-known/x", "known"),
            ("root/with space.css", "p{}"), ("root/empty", ""),
        ] { try text.write(toFile: "\(folder)/\(path)", atomically: true, encoding: .utf8) }
        try Data(large).write(to: URL(fileURLWithPath: "\(folder)/root/large.bin"))
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/root/out", withDestinationPath: "../secret")
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/root/in", withDestinationPath: "a.txt")
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    private func answers(_ requests: [String]) async throws -> [String] {
        let files = try HTTPFiles("\(folder)/root")
        return try await withHTTPServer {
            try await files.respond(to: $0)
        } _: { place in
            var answers: [String] = []
            for text in requests { answers.append(try await exchange(text, with: place)) }
            return answers
        }
    }

    @Test func `a file has its type, its length and a tag`() async throws {
        let texts = try await answers([
            request("GET /a.txt"), request("HEAD /a.txt"), request("GET /with%20space.css"), request("GET /empty"), request("GET /in"),
        ])
        #expect(texts[0].content == "0123456789" && texts[4].content == "0123456789")
        for field in ["Content-Type: text/plain; charset=utf-8", "Content-Length: 10", "Accept-Ranges: bytes", "ETag: \"", "Last-Modified: "] {
            #expect(texts[0].contains("\r\n" + field) && texts[1].contains("\r\n" + field), "\(field)")
        }
        #expect(texts[1].content.isEmpty)
        #expect(texts[2].content == "p{}" && texts[2].contains("Content-Type: text/css"))
        #expect(texts[3].statusLine == "HTTP/1.1 200 OK" && texts[3].contains("Content-Length: 0\r\n"))
    }

    @Test func `a client that leaves in the middle of a file does not end the process`() async {
        await #expect(processExitsWith: .success) {
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-leaves-\(UUID().uuidString)").path
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try Data(count: 8 << 20).write(to: URL(fileURLWithPath: "\(folder)/large"))
            let files = try HTTPFiles(folder)
            try await withHTTPServer {
                try await files.respond(to: $0)
            } _: { place in
                for _ in 0..<50 { try await TCP.withConnection(to: place) { try await $0.write("GET /large HTTP/1.1\r\nHost: x\r\n\r\n") } }
                #expect(try await exchange(request("HEAD /large"), with: place).statusLine == "HTTP/1.1 200 OK")
            }
        }
    }

    @Test func `a large file comes whole, also to who begins to read late`() async throws {
        let files = try HTTPFiles("\(folder)/root"), large = large
        let isSame = try await withHTTPServer {
            try await files.respond(to: $0)
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write(request("GET /large.bin"))
                // So that it does not fit what the sockets take.
                try await Task.sleep(for: .milliseconds(300))
                var bytes: [UInt8] = []
                while let piece = try await connection.read(timeout: .seconds(10)) { bytes += piece }
                return bytes.suffix(large.count) == large[...] && bytes.count < large.count + 500
            }
        }
        #expect(isSame)
    }

    @Test func `nothing outside and nothing hidden is served`() async throws {
        let paths = [
            "/../secret", "/%2e%2e/secret", "/folder/../../secret", "/..%2fsecret", "/out", "/.hidden", "/folder/../.hidden", "/..odd", "/a.txt/",
            "/a.txt%00.html",
            "//etc/passwd", "/nothing", "/%2e/a.txt",
        ]
        let texts = try await answers(paths.map { request("GET \($0)") })
        for (path, text) in zip(paths, texts) { #expect(text.statusLine == "HTTP/1.1 404 Not Found", "\(path)") }
        let known = try await answers([request("GET /.well-known/x"), request("GET /%zz"), request("POST /a.txt")])
        #expect(known[0].content == "known")
        #expect(known[1].statusLine == "HTTP/1.1 400 Bad Request")
        #expect(known[2].statusLine == "HTTP/1.1 405 Method Not Allowed" && known[2].contains("Allow: GET, HEAD, OPTIONS\r\n"))
    }

    @Test func `a directory is its index, at its own path`() async throws {
        let texts = try await answers([request("GET /folder?x=1"), request("GET /folder/"), request("GET /"), request("GET //folder")])
        #expect(texts[0].statusLine == "HTTP/1.1 301 Moved Permanently" && texts[0].contains("Location: /folder/?x=1\r\n"))
        #expect(texts[1].content == "<p>" && texts[1].contains("Content-Type: text/html"))
        #expect(texts[2].statusLine == "HTTP/1.1 404 Not Found")
        #expect(texts[3].contains("Location: /folder/\r\n"))
    }

    @Test func `a directory without an index is a list, if lists are wanted`() async throws {
        var files = try HTTPFiles("\(folder)/root")
        files.listsDirectories = true
        files.cacheControl = "no-cache"
        let served = files
        let texts = try await withHTTPServer {
            try await served.respond(to: $0)
        } _: { place in
            var texts: [String] = []
            for line in ["GET /", "HEAD /", "GET /folder/", "GET /folder", "GET /none/"] { texts.append(try await exchange(request(line), with: place)) }
            texts.append(try await exchange(request("GET /", ["Accept: application/json"]), with: place))
            return texts
        }
        #expect(texts[0].contains("Content-Type: text/html") && texts[0].contains("Cache-Control: no-cache\r\n"))
        let names = ["folder/", "a.txt", "empty", "in", "large.bin", "with%20space.css"]
        #expect(texts[0].content.ranges(of: "href=\"./").count == names.count)
        let places = names.compactMap { texts[0].firstRange(of: "href=\"./\($0)\"")?.lowerBound }
        #expect(places.count == names.count && places == places.sorted())
        #expect(texts[1].content.isEmpty && texts[1].contains("Content-Type: text/html"))
        #expect(texts[2].content == "<p>" && texts[3].statusLine == "HTTP/1.1 301 Moved Permanently" && texts[4].statusLine == "HTTP/1.1 404 Not Found")
        #expect(texts[5].content.hasPrefix("[{\"name\":\"folder\",\"type\":\"directory\",\"mtime\":\"") && texts[5].content.contains("\"size\":10}"))
    }

    @Test func `names are escaped, sizes short, and JSON is for who wants no page`() {
        #expect(HTTPFileList.escaped("<a href='x'>\"&\"</a>") == "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;")
        #expect(
            [0, 999, 1000, 1023, 1024, 1_048_576, 5 << 40].map(HTTPFileList.size) == ["0 B", "999 B", "1.0 KiB", "1.0 KiB", "1.0 KiB", "1.0 MiB", "5.0 TiB"])
        #expect([nil, "*/*", "application/json", "text/html, application/json;q=0.9"].map(HTTPFileList.wantsJSON) == [false, false, true, false])
        #expect(HTTPDate.minute(784_111_777) == "1994-11-06 08:49")
    }

    @Test func `a part is sent as one, several as the whole, none as 416`() async throws {
        let texts = try await answers(
            ["bytes=2-4", "bytes=-1", "bytes=10-", "bytes=0-1,3-4"].map { request("GET /a.txt", ["Range: \($0)"]) } + [
                request("GET /a.txt", ["Range: bytes=0-1", "If-Range: \"other\""]), request("HEAD /a.txt", ["Range: bytes=0-1"]),
            ])
        #expect(texts[0].statusLine == "HTTP/1.1 206 Partial Content" && texts[0].content == "234" && texts[0].contains("Content-Range: bytes 2-4/10\r\n"))
        #expect(texts[1].content == "9")
        #expect(texts[2].statusLine == "HTTP/1.1 416 Range Not Satisfiable" && texts[2].contains("Content-Range: bytes */10\r\n"))
        #expect(texts[3].statusLine == "HTTP/1.1 200 OK" && texts[4].content == "0123456789")
        #expect(texts[5].statusLine == "HTTP/1.1 200 OK")
    }

    @Test func `who has it already gets 304`() async throws {
        let first = try await answers([request("GET /a.txt")])[0]
        let tag = first.split(separator: "\r\n").first { $0.hasPrefix("ETag: ") }?.dropFirst(6) ?? ""
        let time = first.split(separator: "\r\n").first { $0.hasPrefix("Last-Modified: ") }?.dropFirst(15) ?? ""
        let texts = try await answers([
            request("GET /a.txt", ["If-None-Match: \(tag)"]), request("GET /a.txt", ["If-Modified-Since: \(time)"]),
            request("GET /a.txt", ["If-Match: \"other\""]),
            request("GET /a.txt", ["If-Range: \(tag)", "Range: bytes=0-0"]),
        ])
        #expect(texts[0].statusLine == "HTTP/1.1 304 Not Modified" && texts[0].contains("ETag: \(tag)\r\n") && texts[0].content.isEmpty)
        #expect(texts[1].statusLine == "HTTP/1.1 304 Not Modified")
        #expect(texts[2].statusLine == "HTTP/1.1 412 Precondition Failed")
        #expect(texts[3].content == "0")
    }
}
