import MartletHTTP
import MartletLogging

/// httpie's words: an optional method, a URL, and items.
enum HTTPArguments {
    static func options(_ arguments: Arguments) throws(CommandFailure) -> HTTPCommand.Options {
        var words = arguments.words[...], method: String?
        if let first = words.first, words.count > 1, !first.isEmpty, first.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) {
            method = first
            words.removeFirst()
        }
        guard let address = words.popFirst() else { throw .usage("http: a URL is missing: martlet http [METHOD] URL [ITEM]…") }
        let url: HTTPURL
        do throws(HTTPClientError) { url = try HTTPURL(completed(address)) } catch { throw .usage("http: \(error)") }
        var request = HTTPClientRequest("GET", url)
        var content: [(name: String, value: JSONValue)] = []
        for word in words { try add(word, &request, &content) }
        try addContent(arguments, &request, content)
        let hasContent = arguments.has("-m") || arguments.has("-f") || arguments.has("-s") || !content.isEmpty
        request.method = method ?? (hasContent ? "POST" : "GET")
        if let user = arguments.text("-a") {
            let parts = user.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            request.credentials = .basic(user: parts[0], password: parts.count > 1 ? parts[1] : "")
        }
        if let token = arguments.text("--bearer") { request.credentials = .bearer(token) }
        return HTTPCommand.Options(
            request: request, client: try client(arguments, url), isVerbose: arguments.has("-v"), isJSON: arguments.has("--json"),
            checksStatus: arguments.has("--check-status"), wantsHead: arguments.has("--headers"))
    }

    /// "example.org/x" and ":8000/x" as httpie has them.
    static func completed(_ address: String) -> String {
        if address.contains("://") { return address }
        return "http://" + (address.hasPrefix(":") || address.hasPrefix("/") ? "localhost" : "") + address
    }

    private static func client(_ arguments: Arguments, _ url: HTTPURL) throws(CommandFailure) -> HTTPClientOptions {
        var options = HTTPClientOptions()
        options.redirectsMax = arguments.has("-F") ? try arguments.integer("--max-redirects", in: 1...1000) ?? 10 : 0
        options.retries.attemptsMax = 1 + (try arguments.integer("--retries", in: 0...1000) ?? 0)
        options.timeout = try arguments.seconds("--timeout").map { .seconds($0) }
        if let tls = try TLSArguments.clientOptions(arguments) {
            options.tls = tls
            // One for names that curl and others send first.
            options.tls.applicationProtocols = ["http/1.1"]
        }
        return options
    }

    // MARK: Items

    private enum Separator: String, CaseIterable {
        case jsonFile = ":=@", textFile = "=@", query = "==", json = ":=", text = "=", field = ":"
    }

    /// The separator that comes first, and of those that begin at one place the longest.
    private static func split(_ word: String) -> (name: String, separator: Separator, value: String)? {
        for start in word.indices {
            for separator in Separator.allCases where word[start...].hasPrefix(separator.rawValue) {
                return (String(word[..<start]), separator, String(word[word.index(start, offsetBy: separator.rawValue.count)...]))
            }
        }
        return nil
    }

    static func add(_ word: String, _ request: inout HTTPClientRequest, _ content: inout [(name: String, value: JSONValue)]) throws(CommandFailure) {
        guard let (name, separator, value) = split(word), !name.isEmpty else {
            throw .usage("http: \"\(word)\" is no item: Name:value, k==v, k=v or k:=JSON")
        }
        switch separator {
        case .field:
            do throws(HTTPFieldRefusal) { try request.fields.set(name, to: value) } catch { throw .usage("http: \(error)") }
        case .query: request.url = request.url.adding(query: name, value)
        case .text: content.append((name, .text(value)))
        case .textFile: content.append((name, .bytes(try file(value))))
        case .json: content.append((name, try json(Array(value.utf8), of: word)))
        case .jsonFile: content.append((name, try json(try file(value), of: word)))
        }
    }

    private static func json(_ bytes: [UInt8], of word: String) throws(CommandFailure) -> JSONValue {
        let parser = JSONParser(bytes)
        guard let value = parser.whole() else { throw .usage("http: what stands behind := in \"\(word)\" is no JSON; for a text say k=v") }
        return value
    }

    private static func file(_ path: String) throws(CommandFailure) -> [UInt8] {
        do throws(InputFailure) { return try MessageSource.file(path: path).payload(until: InputStop()) ?? [] } catch {
            throw CommandFailure(ExitCode.failed, "http: \(error)")
        }
    }

    private static func addContent(
        _ arguments: Arguments, _ request: inout HTTPClientRequest, _ items: [(name: String, value: JSONValue)]
    ) throws(CommandFailure) {
        let flags = ["-m", "-f", "-s"].filter { arguments.has($0) }
        guard flags.count + (items.isEmpty ? 0 : 1) <= 1 else { throw .usage("http: content comes from items, -m, -f or -s: say one of them") }
        if !flags.isEmpty {
            let source = try MessageSource(arguments, "http", flags: ["-m", "-f", "-s"])
            do throws(InputFailure) { request.body = .bytes(try source.payload(until: InputStop()) ?? []) } catch {
                throw CommandFailure(ExitCode.failed, "http: \(error)")
            }
        } else if !items.isEmpty {
            request.contentType = arguments.has("--form") ? "application/x-www-form-urlencoded" : .json
            request.body = arguments.has("--form") ? .text(try form(items)) : .bytes(bytes(.object(items.map { ($0.name, $0.value) })))
        }
    }

    private static func bytes(_ value: JSONValue) -> [UInt8] {
        var bytes: [UInt8] = []
        value.append(to: &bytes)
        return bytes
    }

    private static func form(_ items: [(name: String, value: JSONValue)]) throws(CommandFailure) -> String {
        var parts: [String] = []
        for (name, value) in items {
            let text: String
            switch value {
            case .text(let value): text = value
            case .bytes(let value): text = String(decoding: value, as: UTF8.self)
            default: text = String(decoding: bytes(value), as: UTF8.self)
            }
            parts.append("\(HTTPURL.encodedPart(name))=\(HTTPURL.encodedPart(text))")
        }
        return parts.joined(separator: "&")
    }
}
