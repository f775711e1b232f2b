@preconcurrency import Glibc
import MartletHTTP
import MartletSockets

/// What `Tests/Interop/test_http_peers.py` sends requests to: a service with everything that handlers can do, until SIGTERM.
///
///     interop-http-server ADDRESS [--cert FILE --key FILE [--ca FILE] [--tls1.2]] [--files DIR]
@main enum Program {
    static func main() async throws {
        setvbuf(stdout, nil, _IOLBF, 0)
        var options = HTTPServerOptions()
        options.takesCONNECT = true
        options.limits.bodyMax = 1 << 30
        options.accessLog = { lines in fputs(String(decoding: lines, as: UTF8.self), stderr) }
        if let certificate = value(of: "--cert"), let key = value(of: "--key") {
            var tls = TLSServerOptions(identity: TLSIdentity(certificate: certificate, key: key))
            tls.clientTrust = value(of: "--ca")
            if CommandLine.arguments.contains("--tls1.2") { tls.maximumVersion = .tls12 }
            options.tls = tls
        }
        let files = try HTTPFiles(value(of: "--files") ?? ".")
        var router = Service.router()
        router.get("/files/{path...}") { request in try await files.respond(to: request, at: request.parameter("path")) }
        try await HTTPServer.serve(on: CommandLine.arguments[1], options: options, ready: { print("listening \($0)") }, router)
    }

    private static func value(of name: String) -> String? {
        let words = CommandLine.arguments
        return words.firstIndex(of: name).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }
}
