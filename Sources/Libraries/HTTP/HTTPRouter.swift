internal import MartletBytes

/// Finds the handler for a request by its path and method: pass its `respond` to `HTTPServer.serve`.
///
/// A pattern is a path: "/items/{item_id}" takes one segment by a name, "/files/{rest...}" all that follow, also none. What is written out goes before a
/// parameter, a parameter before the rest. A path that is known answers OPTIONS, HEAD where it has GET, and 405 with Allow to other methods; an
/// unknown one is 404. Segments are compared decoded, parameters looked up with `HTTPRequest.parameter`.
public struct HTTPRouter: Sendable {
    private struct Entry {
        let method: HTTPMethod
        let name: String
        let parameters: [String]
        let handler: HTTPHandler
    }
    /// One place in a path.
    private struct Node {
        var literals: [(text: [UInt8], node: Int)] = []
        var parameter = 0
        var rest = 0
        var entries: [Entry] = []
    }
    private var nodes = [Node()]
    private var methods: Set<String> = []
    /// What 404 says beside that nothing is there: where something is.
    public var directions: String?

    public init() {}

    public mutating func get(_ pattern: String, _ handler: @escaping HTTPHandler) { on("GET", pattern, handler) }
    public mutating func post(_ pattern: String, _ handler: @escaping HTTPHandler) { on("POST", pattern, handler) }
    public mutating func put(_ pattern: String, _ handler: @escaping HTTPHandler) { on("PUT", pattern, handler) }
    public mutating func patch(_ pattern: String, _ handler: @escaping HTTPHandler) { on("PATCH", pattern, handler) }
    public mutating func delete(_ pattern: String, _ handler: @escaping HTTPHandler) { on("DELETE", pattern, handler) }

    /// For any method, spelled as it is sent. Traps for a pattern that is none, and for a method and pattern that have a handler already.
    public mutating func on(_ method: String, _ pattern: String, _ handler: @escaping HTTPHandler) {
        precondition(pattern.hasPrefix("/"), "a pattern begins with /: \(pattern)")
        var node = 0, names: [String] = []
        for segment in pattern.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            if segment.hasPrefix("{"), segment.hasSuffix("...}") {
                names.append(String(segment.dropFirst().dropLast(4)))
                if nodes[node].rest == 0 { nodes[node].rest = add() }
                node = nodes[node].rest
            } else if segment.hasPrefix("{"), segment.hasSuffix("}") {
                names.append(String(segment.dropFirst().dropLast()))
                if nodes[node].parameter == 0 { nodes[node].parameter = add() }
                node = nodes[node].parameter
            } else {
                let text = Array(segment.utf8)
                if let known = nodes[node].literals.first(where: { $0.text == text }) {
                    node = known.node
                } else {
                    let fresh = add()
                    nodes[node].literals.append((text, fresh))
                    node = fresh
                }
            }
        }
        precondition(names.count <= HTTPParameters.max, "at most \(HTTPParameters.max) parameters: \(pattern)")
        precondition(!nodes[node].entries.contains { $0.name == method }, "\(method) \(pattern) has a handler")
        let known = HTTPMethod.allCases.first { $0 != .other && "\($0.name)" == method } ?? .other
        nodes[node].entries.append(Entry(method: known, name: method, parameters: names, handler: handler))
        methods.insert(method)
    }

    private mutating func add() -> Int {
        nodes.append(Node())
        return nodes.count - 1
    }

    /// The answer of the request's handler, or of the router itself.
    public func respond(to request: HTTPRequest) async throws -> HTTPResponse {
        var request = request
        switch try find(&request) {
        case .handler(let handler): return try await handler(request)
        case .response(let response): return response
        }
    }

    enum Found {
        case handler(HTTPHandler)
        case response(HTTPResponse)
    }

    /// Gives the request its parameters.
    func find(_ request: inout HTTPRequest) throws(HTTPFailure) -> Found {
        var ranges: [8 of ByteRange] = .init(repeating: .empty)
        let path = request.place(request.head.path), line = request.bytes, bytes = line.span
        if path.isEmpty, request.head.method == .options { return .response(Self.options(Array(methods))) }
        let start = path.isEmpty ? 0 : Int(path.start) + 1
        guard let node = find(0, bytes, start, path.isEmpty ? 0 : path.end, 0, &ranges) else { throw notFound(request) }
        guard let entry = entry(nodes[node].entries, request) else {
            if request.head.method == .options { return .response(Self.options(nodes[node].entries.map(\.name))) }
            var failure = HTTPFailure(.methodNotAllowed, "\(request.methodName) is not for \(request.path)")
            failure.fields.put("Allow", Self.allow(nodes[node].entries.map(\.name)))
            throw failure
        }
        guard !entry.parameters.isEmpty else { return .handler(entry.handler) }
        request.parameters.names = entry.parameters
        request.parameters.ranges = ranges
        for index in entry.parameters.indices {
            let value = bytes.at(ranges[index])
            if Self.isEncoded(value), HTTPText.decoded(value) == nil { throw HTTPFailure.badRequest("\(request.path) is not validly encoded") }
        }
        return .handler(entry.handler)
    }

    private func notFound(_ request: HTTPRequest) -> HTTPFailure {
        .notFound("nothing is at \(request.path)" + (directions.map { "; \($0)" } ?? ""))
    }

    private func entry(_ entries: [Entry], _ request: HTTPRequest) -> Entry? {
        let method = request.head.method
        if method == .other { return entries.first { $0.method == .other && $0.name == request.methodName } }
        return entries.first { $0.method == method } ?? (method == .head ? entries.first { $0.method == .get } : nil)
    }

    /// The node of the path from `start` on, with what its parameters are.
    private func find(_ node: Int, _ bytes: Span<UInt8>, _ start: Int, _ pathEnd: Int, _ count: Int, _ ranges: inout [8 of ByteRange]) -> Int? {
        var end = start
        while end < pathEnd, bytes[end] != UInt8(ascii: "/") { end += 1 }
        let segment = bytes.at(ByteRange(start, max(0, end - start))), isLast = end >= pathEnd
        for literal in nodes[node].literals where Self.isSame(segment, literal.text) {
            if isLast, !nodes[literal.node].entries.isEmpty { return literal.node }
            if !isLast, let found = find(literal.node, bytes, end + 1, pathEnd, count, &ranges) { return found }
        }
        let parameter = nodes[node].parameter
        if parameter != 0, segment.count > 0 {
            ranges[count] = ByteRange(start, end - start)
            if isLast, !nodes[parameter].entries.isEmpty { return parameter }
            if !isLast, let found = find(parameter, bytes, end + 1, pathEnd, count + 1, &ranges) { return found }
        }
        let rest = nodes[node].rest
        guard rest != 0 else { return nil }
        ranges[count] = ByteRange(start, max(0, pathEnd - start))
        return rest
    }

    private static func isSame(_ segment: Span<UInt8>, _ text: [UInt8]) -> Bool {
        if segment.equals(text.span) { return true }
        guard isEncoded(segment), let decoded = HTTPText.decoded(segment) else { return false }
        return Array(decoded.utf8) == text
    }

    private static func isEncoded(_ bytes: Span<UInt8>) -> Bool {
        for at in 0..<bytes.count where bytes[at] == UInt8(ascii: "%") { return true }
        return false
    }

    private static func options(_ methods: [String]) -> HTTPResponse {
        var response = HTTPResponse(.noContent)
        response.fields.put("Allow", allow(methods))
        return response
    }

    private static func allow(_ methods: [String]) -> String {
        var all = Set(methods).union(["OPTIONS"])
        if all.contains("GET") { all.insert("HEAD") }
        return all.sorted().joined(separator: ", ")
    }
}
