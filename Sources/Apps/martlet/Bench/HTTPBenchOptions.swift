import MartletBytes
import MartletHTTP
import MartletLogging

/// `martlet bench http` as typed: the load, and the bytes of the one request that is sent again and again.
struct HTTPBenchOptions: Sendable {
    let load: EchoBenchOptions
    /// Known ones by their name, others as `other`.
    let method: HTTPMethod
    let request: [UInt8]

    static let command = Command(
        path: ["bench", "http"],
        summary: "load an HTTP server and measure it",
        words: "URL",
        options: [
            .one("-c", "--connections", value: "N", about: "how many (default: 50)"),
            .one("--depth", value: "N", about: "requests in flight on each: more than one are pipelined (default: 1)"),
            .one("-X", "--method", value: "METHOD", about: "default: GET, or POST with a body"),
            .many("-H", "--header", value: "NAME:VALUE", about: "a field of the request"),
            .one("--body", value: "TEXT", about: "its content"),
            .one("--body-file", value: "FILE", about: "its content, from a file"),
        ] + EchoBenchOptions.pace("requests") + TLSArguments.clientOfURL,
        examples: [
            ("martlet bench http localhost:8000/items/5", "50 connections, one request at a time on each, for 5 s"),
            ("martlet bench http http://localhost:8000/ -c 256 --depth 16 --loops 2", "pipelined, from two threads"),
            ("martlet bench http http://localhost:8000/ --rate 5000", "a fixed rate, with honest latencies"),
            ("martlet bench http :8000/items --body '{\"name\":\"Mouse\"}' -H Content-Type:application/json", "POST"),
            ("martlet bench http https://localhost:8443/ --cafile ca.pem --count 100000 --json", "by TLS, for a script"),
            ("martlet bench http http+unix:///run/app.sock:/health/live", "over a Unix socket"),
        ],
        footnote: {
            """
            A request's latency is from when it was sent, or with --rate from when it was due, until its answer has ended.
            A connection that the server ends in good order is made anew, and what it had not answered is sent again.
            An error is a connection that was lost, or an answer that is no HTTP; a status is none: those are counted by their
            first digit. The request has no fields but Host, how long its content is, and what -H says.

            """
        },
        run: { arguments throws(CommandFailure) in HTTPBench.run(try HTTPBenchOptions(arguments)) })

    init(_ arguments: Arguments) throws(CommandFailure) {
        guard let word = arguments.words.first, arguments.words.count == 1 else {
            throw .usage("bench http: say one URL: http[s]://HOST[:PORT][/PATH] or http+unix:///PATH/OF/SOCKET:/PATH")
        }
        let url: HTTPURL
        do throws(HTTPClientError) { url = try HTTPURL(HTTPArguments.completed(word)) } catch { throw .usage("bench http: \(error)") }
        if url.userName != nil { throw .usage("bench http: who asks is said by -H 'Authorization: …', not in the URL") }
        let body = try Self.body(arguments)
        let name = arguments.text("-X") ?? (body == nil ? "GET" : "POST")
        method = HTTPMethod.allCases.first { $0 != .other && "\($0.name)" == name } ?? .other
        if method == .connect { throw .usage("bench http: CONNECT makes a tunnel: there is no answer to measure") }
        request = try Self.request(name, url, try Self.fields(arguments), body)
        let place: Place = url.origin.isUnix ? .unix(url.origin.host) : .internet(host: url.origin.host, port: url.origin.port)
        load = try EchoBenchOptions(
            arguments, transport: "http", place, try Self.tls(arguments, url, place), connectionCount: 50, ratedDepth: 1, size: request.count,
            text: "\(name) \(url)")
    }

    private static func tls(_ arguments: Arguments, _ url: HTTPURL, _ place: Place) throws(CommandFailure) -> TLSClientOptions? {
        let typed = try TLSArguments.clientOptions(arguments, for: place)
        guard url.origin.isSecure else {
            if typed != nil { throw .usage("bench http: the URL is without TLS: write https://, or leave out the flags about TLS") }
            return nil
        }
        var options = typed ?? TLSClientOptions()
        options.applicationProtocols = ["http/1.1"]
        return options
    }

    private static func body(_ arguments: Arguments) throws(CommandFailure) -> [UInt8]? {
        switch (arguments.text("--body"), arguments.text("--body-file")) {
        case (nil, nil): return nil
        case (let text?, nil): return Array(text.utf8)
        case (nil, let path?):
            do throws(InputFailure) { return try MessageSource.file(path: path).payload(until: InputStop()) } catch {
                throw CommandFailure(ExitCode.failed, "bench http: \(error)")
            }
        default: throw .usage("bench http: content comes from --body or --body-file: say one of them")
        }
    }

    private static func fields(_ arguments: Arguments) throws(CommandFailure) -> HTTPFields {
        var fields = HTTPFields()
        for text in arguments.texts("-H") {
            guard let colon = text.firstIndex(of: ":") else { throw .usage("bench http: -H \(text): say NAME:VALUE") }
            let value = text[text.index(after: colon)...].drop { $0 == " " }
            do throws(HTTPFieldRefusal) { try fields.append(String(text[..<colon]), String(value)) } catch { throw .usage("bench http: -H: \(error)") }
        }
        return fields
    }

    private static func request(_ method: String, _ url: HTTPURL, _ fields: HTTPFields, _ body: [UInt8]?) throws(CommandFailure) -> [UInt8] {
        let host = Array((fields["host"] ?? url.origin.authority).utf8), name = Array(method.utf8), target = Array(url.target.utf8)
        let lines = Array(fields.all.filter { $0.name.lowercased() != "host" }.map { "\($0.name): \($0.value)\r\n" }.joined().utf8)
        var machine = HTTPClientMachine(now: .never), output = ByteBuffer()
        do throws(HTTPMisuse) {
            try machine.begin(
                method: name.span, target: target.span, host: host.span, fields: lines.span, content: body.map { .exactly(UInt64($0.count)) } ?? .none,
                into: &output)
            if let body { try machine.append(body.span, into: &output) }
            try machine.end(into: &output)
        } catch { throw .usage("bench http: \(method) \(url) cannot be sent: \(error)") }
        return output.span.array
    }
}
