import Foundation
import MartletHTTP
import Testing

/// The server with curl at the other end: plain, TLS, Unix sockets.
@Suite(.timeLimit(.minutes(10))) final class HTTPCurlTests: Sendable {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-curl-\(UUID().uuidString)").path

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// What a program writes; waits for it without holding a thread of the pool.
    static func output(_ program: String, _ arguments: [String]) async throws -> [UInt8] {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                let process = Process(), pipe = Pipe()
                process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
                process.arguments = [program] + arguments
                process.standardOutput = pipe
                process.standardError = FileHandle.nullDevice
                do {
                    try process.run()
                    let bytes = [UInt8](pipe.fileHandleForReading.readDataToEndOfFile())
                    process.waitUntilExit()
                    continuation.resume(returning: bytes)
                } catch { continuation.resume(throwing: error) }
            }
        }
    }

    /// A certificate that vouches for itself, for 127.0.0.1 and localhost.
    static func identity(in folder: String) throws -> TLSIdentity {
        let identity = TLSIdentity(certificate: "\(folder)/cert.pem", key: "\(folder)/key.pem")
        // No program makes it: Foundation's Process runs over its memory while many sockets are opened beside it.
        try certificate.write(toFile: identity.certificate, atomically: true, encoding: .utf8)
        try key.write(toFile: identity.key, atomically: true, encoding: .utf8)
        return identity
    }

    private static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBmjCCAUGgAwIBAgIUO2nKfKGFAqDwSeL+OngdRD0VY1IwCgYIKoZIzj0EAwIw
        FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjA1MDYzM1oYDzIxMjYxMDI5
        MDUwNjMzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
        PQMBBwNCAAQrP4+yqfBeemmK2NG14lD0cdImGGIzonbPGak6I0oLv81LuRurGlKc
        zKjlKF0b80a4bzpwDUnFIN9GxuWWdw+mo28wbTAdBgNVHQ4EFgQULMhAT7Whn9u6
        ucNrMPPcjy7+aQQwHwYDVR0jBBgwFoAULMhAT7Whn9u6ucNrMPPcjy7+aQQwDwYD
        VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3QwCgYIKoZI
        zj0EAwIDRwAwRAIgVvApQ6q9ncZWUPr5o74LMs2FfePYIOEowqKqSYH4WE0CIBIr
        VXoOtbF5WVKP+KzEvnznglwIE1ZlMD0IjhG+ZpnK
        -----END CERTIFICATE-----
        """
    /// Of this certificate alone, which nobody else believes.
    private static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjnXrGTsk7C447gt+
        yUB1TolIh0MW2a2HMzGMAvyzKXyhRANCAAQrP4+yqfBeemmK2NG14lD0cdImGGIz
        onbPGak6I0oLv81LuRurGlKczKjlKF0b80a4bzpwDUnFIN9GxuWWdw+m
        -----END PRIVATE KEY-----
        """

    private static let handler: HTTPHandler = { request in
        switch request.path {
        case "/echo": return HTTPResponse(body: .bytes(try await request.body.collect(max: 16 << 20)))
        case "/long": return .text(String(repeating: "again ", count: 10_000))
        case "/text":
            return HTTPResponse(contentType: .text, body: .stream { writer in for number in 0..<1000 { try await writer.write("\(number)\n") } })
        case "/stream": return HTTPResponse(body: .stream { writer in for number in 0..<1000 { try await writer.write("\(number)\n") } })
        default: return .text("\(request.methodName) \(request.path)")
        }
    }

    private func check(_ url: String, _ options: [String]) async throws {
        let curl = { (more: [String]) in String(decoding: try await Self.output("curl", ["-s", "--max-time", "20"] + options + more), as: UTF8.self) }
        // Two on one connection.
        #expect(try await curl(["\(url)/a", "\(url)/b", "-w", "%{num_connects}"]) == "GET /a1GET /b0")
        #expect(try await curl(["-I", "\(url)/"]).contains("Content-Length: 6\r\n"))
        #expect(try await curl(["--compressed", "-w", "%{size_download}", "\(url)/long"]).suffix(4).filter(\.isNumber).count < 4)
        #expect(try await curl(["\(url)/stream"]) == (0..<1000).map { "\($0)\n" }.joined())
        #expect(try await curl(["--compressed", "\(url)/text"]) == (0..<1000).map { "\($0)\n" }.joined())
        #expect(try await curl(["-I", "--compressed", "\(url)/text"]).contains("Content-Encoding: gzip\r\n"))
        let file = "\(folder)/upload"
        let bytes = [UInt8]((0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 13) })
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        // curl asks leave for so much; the second has chunks.
        #expect(try await Self.output("curl", ["-s"] + options + ["--data-binary", "@\(file)", "\(url)/echo"]) == bytes)
        #expect(try await Self.output("curl", ["-s"] + options + ["-H", "Transfer-Encoding: chunked", "-T", file, "\(url)/echo"]) == bytes)
    }

    @Test func `curl over TCP`() async throws {
        try await withHTTPServer(Self.handler) { place in try await self.check("http://\(place)", []) }
    }

    @Test func `curl over a Unix socket`() async throws {
        let path = "\(folder)/http.sock"
        try await withHTTPServer(on: "http+unix://\(path)", Self.handler) { _ in try await self.check("http://localhost", ["--unix-socket", path]) }
    }

    @Test func `curl over TLS`() async throws {
        let identity = try Self.identity(in: folder)
        var options = HTTPServerOptions()
        options.tls = TLSServerOptions(identity: identity)
        try await withHTTPServer(options: options, on: "https://127.0.0.1:0", Self.handler) { place in
            try await self.check("https://\(place)", ["--cacert", identity.certificate])
        }
    }
}
