import MartletBytes
import MartletHTTPProtocol
import Testing

@Suite("HTTP server machine")
struct HTTPServerMachineTests {
    /// One connection: what the client sends, and what it gets.
    struct Connection: ~Copyable {
        var machine: HTTPServerMachine
        var output = ByteBuffer()
        var unread = UnreadBytes()

        init(_ limits: HTTPLimits = HTTPLimits()) { machine = HTTPServerMachine(limits: limits, now: Instant(nanoseconds: 0)) }

        mutating func receive(_ text: String, at seconds: Double = 0) throws(HTTPViolation) -> [String] {
            machine.heard(at: Instant(nanoseconds: Int64(seconds * 1e9)))
            return try Self.take(Array(text.utf8), &unread, &machine, &output)
        }

        private static func take(
            _ bytes: [UInt8], _ unread: inout UnreadBytes, _ machine: inout HTTPServerMachine, _ output: inout ByteBuffer
        ) throws(HTTPViolation) -> [String] {
            var used = 0, events: [String] = []
            do {
                let all = unread.show(bytes.span)
                var input = ByteReader(all)
                while let event = try machine.nextEvent(from: &input, into: &output) { events.append(HTTPEventLine.text(event.owned(in: all))) }
                used = input.offset
            }
            unread.keep(bytes.span, used: used)
            return events
        }

        /// What was said since it was last asked for.
        mutating func said() -> String {
            let text = output.span.text
            output.removeAll()
            return text
        }

        mutating func respond(_ text: String, status: UInt16 = 200, fields: String = "") throws {
            try machine.send(.response(status, fields: Array(fields.utf8), content: Array(text.utf8)), into: &output)
        }
    }

    @Test("A request and its response")
    func exchange() throws {
        var connection = Connection()
        let events = try connection.receive("GET /items/5?full=1 HTTP/1.1\r\nHost: localhost:8000\r\nAccept: */*\r\n\r\n")
        #expect(events == ["GET /items/5?full=1 path=/items/5 query=full=1 host=localhost:8000 Accept: */*", "end"])
        try connection.respond("{}", fields: "Content-Type: application/json\r\n")
        let said = connection.said(), isIdle = connection.machine.isIdle
        #expect(said == "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        #expect(isIdle)
    }

    @Test("426 names Upgrade in Connection")
    func upgradeRequired() throws {
        var connection = Connection()
        for connects in ["", "Connection: close\r\n"] {
            _ = try connection.receive("GET / HTTP/1.1\r\nHost: a\r\n\(connects)\r\n")
            try connection.respond("", status: 426, fields: "Upgrade: x\r\n")
            let said = connection.said(), expected = connects.isEmpty ? "Upgrade" : "close, Upgrade"
            #expect(said == "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nContent-Length: 0\r\nConnection: \(expected)\r\n\r\n")
        }
    }

    @Test("The next of pipelined requests waits for the response")
    func pipelining() throws {
        var connection = Connection()
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        let first = try connection.receive(get + "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + get)
        #expect(first == ["GET / path=/ host=a", "end"])
        try connection.respond("1")
        let second = try connection.receive("")
        #expect(second == ["POST /2 path=/2 host=a length=3", "body abc", "end"])
        try connection.respond("2")
        let third = try connection.receive("")
        #expect(third.count == 2)
    }

    @Test("Chunks both ways, with trailers")
    func chunks() throws {
        var connection = Connection()
        let events = try connection.receive(
            "PUT /f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n4;x=\"y\"\r\nWiki\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n")
        #expect(events == ["PUT /f path=/f host=a chunked", "body Wiki", "body 0123456789", "end X-Sum: 1"])
        let fields: [UInt8] = [], trailers = Array("X-End: 1\r\n".utf8)
        try connection.machine.begin(200, fields: fields.span, content: .unknown, into: &connection.output)
        for text in ["hello", "", "0123456789abcdefg"] { try connection.machine.append(Array(text.utf8).span, into: &connection.output) }
        try connection.machine.end(trailers: trailers.span, into: &connection.output)
        let said = connection.said()
        #expect(said == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n11\r\n0123456789abcdefg\r\n0\r\nX-End: 1\r\n\r\n")
    }

    @Test("What is refused is answered with its sentence, and the machine is closed")
    func farewell() throws {
        var connection = Connection()
        var thrown: HTTPViolation?
        do { _ = try connection.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n") } catch { thrown = error }
        let said = connection.said(), isClosed = connection.machine.isClosed
        #expect(thrown == .contentLengthAndTransferEncoding && isClosed)
        #expect(
            said.hasPrefix("HTTP/1.1 400 Bad Request\r\n") && said.hasSuffix("\r\n\r\n400: Content-Length and Transfer-Encoding together (RFC 9112, 6.1)\n"))
    }
}
