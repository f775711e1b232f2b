internal import MartletBytes
internal import MartletEventLoop

/// A request. Its head is one array; what is asked for is looked up in it.
public struct HTTPRequest: Sendable {
    let head: HTTPRequestHead
    /// The request line and the fields; `head`'s ranges are this much further on.
    let bytes: [UInt8]
    private let base: UInt32
    let connection: HTTPServerConnection
    let number: UInt64
    /// When it was read.
    let began: Instant
    /// What a route's pattern has in braces.
    public internal(set) var parameters = HTTPParameters()
    /// Its content; empty where it has none.
    public let body: HTTPBody

    init(_ head: HTTPRequestHead, in input: Span<UInt8>, _ body: HTTPBody, number: UInt64, from connection: HTTPServerConnection) {
        self.head = head
        base = head.methodName.start
        bytes = input.at(ByteRange(Int(base), head.fields.end - Int(base))).array
        self.body = body
        self.number = number
        self.connection = connection
        began = connection.loop.now
    }

    /// A range of the head in `bytes`.
    func place(_ range: ByteRange) -> ByteRange { range.isEmpty ? .empty : ByteRange(Int(range.start &- base), Int(range.count)) }
    private func text(_ range: ByteRange) -> String { bytes.span.at(place(range)).text }

    public var method: HTTPMethod { head.method }
    /// As it was sent: "GET".
    public var methodName: String { text(head.methodName) }
    /// As it was sent: "/items/5?full=1".
    public var target: String { text(head.target) }
    /// The target up to its `?`, as it was sent.
    public var path: String { head.path.isEmpty ? (head.method == .options ? "*" : "/") : text(head.path) }
    /// The target behind its `?`, as it was sent.
    public var query: String { text(head.query) }
    /// Host and port as the client wrote them; "" if it did not.
    public var host: String { text(head.host) }
    public var fields: HTTPFields { HTTPFields(bytes, place(head.fields)) }

    /// The first value of a name in the query, decoded; "" for a name without one. Nil if it is not there or not validly encoded.
    public func query(_ name: String) -> String? {
        let bytes = bytes.span, range = place(head.query)
        var start = Int(range.start)
        while start < range.end {
            var end = start
            while end < range.end, bytes[end] != UInt8(ascii: "&") { end += 1 }
            var equals = start
            while equals < end, bytes[equals] != UInt8(ascii: "=") { equals += 1 }
            if HTTPText.decoded(bytes.at(ByteRange(start, equals - start)), isQuery: true) == name {
                return HTTPText.decoded(bytes.at(ByteRange(min(equals + 1, end), max(0, end - equals - 1))), isQuery: true)
            }
            start = end + 1
        }
        return nil
    }

    /// What a route's pattern has in braces as an integer; nil if it is none, or there is no such parameter.
    public func integer(_ name: String) -> Int? {
        guard let range = parameters.range(of: name) else { return nil }
        return HTTPText.integer(bytes.span.at(range)) ?? parameter(name).flatMap { Int($0) }
    }

    /// What a route's pattern has in braces, decoded; nil if there is no such parameter. The router has refused what is not validly encoded.
    public func parameter(_ name: String) -> String? {
        parameters.range(of: name).flatMap { HTTPText.decoded(bytes.span.at($0)) }
    }

    /// Tells the client before the response what it may begin with, by fields Link (103, RFC 8297). Towards HTTP/1.0, behind the response's beginning and
    /// without a client nothing happens.
    public func sendEarlyHints(_ fields: HTTPFields) {
        let number = number
        connection.onLoop { $0.inform(103, fields, number, on: $1) }
    }

    /// Where it came from.
    public var peer: SocketAddress { connection.peer }
    /// The same in the server's log: 16 hexadecimal digits.
    public var id: String {
        let digits = String(connection.server.seed ^ (UInt64(connection.loop.number) << 48 | number), radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
    /// The server is ending: a response without an end should come to one.
    public var isStopping: Bool { connection.server.isStopping }
    /// Returns when the server is ending, or the task is cancelled.
    public func stopping() async { await connection.server.awaitStopping() }
    /// Runs `body`, which is cancelled when the server is ending: for waits without an end. Throws what `body` throws, but not that it was cancelled so.
    public func untilStopping(_ body: @escaping @Sendable () async throws -> Void) async throws { try await connection.server.untilStopping(body) }
}

/// The values of a route's parameters: where they lie in the request.
public struct HTTPParameters: Sendable {
    static let max = 8
    var names: [String] = []
    var ranges: [8 of ByteRange] = .init(repeating: .empty)

    init() {}

    func range(of name: String) -> ByteRange? {
        for index in names.indices where names[index] == name { return ranges[index] }
        return nil
    }
}
