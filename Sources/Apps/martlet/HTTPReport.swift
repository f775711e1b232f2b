import MartletHTTP
import MartletLogging

/// What `martlet http` says of a request and its answer beside the content.
struct HTTPReport {
    private let options: HTTPCommand.Options
    /// At a terminal the answer's head is shown, too.
    private let showsHead: Bool

    init(_ options: HTTPCommand.Options) {
        self.options = options
        showsHead = options.isVerbose || StandardStream.output.isTerminal && !options.isJSON && !options.wantsHead
    }

    func sending() {
        guard options.isVerbose else { return }
        let request = options.request
        var text = "\(request.method) \(request.url.target)\nHost: \(request.fields["host"] ?? request.url.origin.authority)\n"
        // Secrets stay out of terminals that others look at.
        if request.credentials != nil { text += "Authorization: …\n" }
        for (name, value) in request.fields.all where name.lowercased() != "host" { text += "\(name): \(name.lowercased() == "authorization" ? "…" : value)\n" }
        StandardStream.error.write(text + "\n")
    }

    static func head(_ response: HTTPClientResponse) -> String {
        "\(response.status.rawValue)\n" + response.fields.all.map { "\($0.name): \($0.value)\n" }.joined()
    }

    func answered(_ response: HTTPClientResponse) {
        if showsHead { StandardStream.error.write(Self.head(response) + "\n") }
    }

    /// The phases, one a line.
    func ended(_ response: HTTPClientResponse) {
        guard options.isVerbose else { return }
        let timings = response.timings
        var text = timings.peer.map { "\n\($0)" } ?? ""
        if let session = timings.tls { text += ", \(session.version) \(session.cipher)\(session.wasResumed ? ", resumed" : "")" }
        if timings.redirects > 0 { text += ", \(timings.redirects) redirects to \(response.url)" }
        if timings.attempts > 1 { text += ", \(timings.attempts) requests" }
        text += "\n"
        for (name, time) in Self.phases(timings) {
            let figure = TCPReport.milliseconds(time)
            text += "\(String(repeating: " ", count: max(0, 9 - figure.count)))\(figure) ms  \(name)\n"
        }
        StandardStream.error.write(text)
    }

    private static func phases(_ timings: HTTPClientTimings) -> [(name: String, time: Duration)] {
        [
            ("resolve", timings.resolving), ("connect", timings.connecting), ("tls", timings.securing), ("first byte", timings.answering),
            ("content", timings.receiving), ("whole", timings.whole),
        ]
    }

    /// Content that is JSON is there as what it is, other text as text; what is neither as a list of numbers is of no use, so its length alone.
    func json(_ response: HTTPClientResponse, _ content: [UInt8]) -> [UInt8] {
        let parser = JSONParser(content)
        let isJSON = response.fields["content-type"]?.contains("json") == true
        let body: JSONValue
        if isJSON, let value = parser.whole() {
            body = value
        } else if let text = String(validating: content, as: UTF8.self) {
            body = .text(text)
        } else {
            body = .null
        }
        let object = JSONValue.object([
            ("status", .number("\(response.status.rawValue)")), ("url", .text("\(response.url)")),
            ("fields", .list(response.fields.all.map { .list([.text($0.name), .text($0.value)]) })), ("bytes", .number("\(content.count)")), ("body", body),
            ("ms", .object(Self.phases(response.timings).map { ($0.name, .number(TCPReport.milliseconds($0.time))) })),
        ])
        var output: [UInt8] = []
        object.append(to: &output)
        return output + [10]
    }
}
