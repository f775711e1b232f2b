import MartletBytes
import MartletHTTPProtocol
import Testing

@Suite("HTTP client machine")
struct HTTPClientMachineTests {
    private struct Connection: ~Copyable {
        var machine = HTTPClientMachine(now: Instant(nanoseconds: 0))
        var output = ByteBuffer()

        mutating func receive(_ text: String) throws -> [String] {
            let bytes = Array(text.utf8)
            var input = ByteReader(bytes.span), events: [String] = []
            while let event = try machine.nextEvent(from: &input, into: &output) { events.append(HTTPEventLine.text(event.owned(in: bytes.span))) }
            return events
        }

        mutating func begin(
            _ method: String = "GET", _ target: String = "/", host: String = "a", fields: String = "", content: HTTPContentLength = .none
        ) throws(HTTPMisuse) {
            try machine.send(
                .begin(method: Array(method.utf8), target: Array(target.utf8), host: Array(host.utf8), fields: Array(fields.utf8), content: content),
                into: &output)
        }

        mutating func said() -> String {
            let text = output.span.text
            output.removeAll()
            return text
        }
    }

    @Test(
        "A request as it is written",
        arguments: [
            ("GET", "/a?b", "", HTTPContentLength.none, "GET /a?b HTTP/1.1\r\nHost: h:1\r\n\r\n"),
            ("GET", "/", "Accept: */*\r\n", .none, "GET / HTTP/1.1\r\nHost: h:1\r\nAccept: */*\r\n\r\n"),
            ("POST", "/", "", .none, "POST / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n"),
            ("DELETE", "/", "", .exactly(0), "DELETE / HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n"),
            ("PUT", "/", "", .unknown, "PUT / HTTP/1.1\r\nHost: h:1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            ("OPTIONS", "*", "", .none, "OPTIONS * HTTP/1.1\r\nHost: h:1\r\n\r\n"),
            ("GET", "http://x/", "", .none, "GET http://x/ HTTP/1.1\r\nHost: h:1\r\n\r\n"),
            ("CONNECT", "x:443", "", .none, "CONNECT x:443 HTTP/1.1\r\nHost: h:1\r\n\r\n"),
            ("GET", "/", "Upgrade: x\r\n", .none, "GET / HTTP/1.1\r\nHost: h:1\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
        ] as [(String, String, String, HTTPContentLength, String)])
    func requests(method: String, target: String, fields: String, content: HTTPContentLength, expected: String) throws {
        var connection = Connection()
        try connection.begin(method, target, host: "h:1", fields: fields, content: content)
        let said = connection.said()
        #expect(said == expected)
    }

    @Test("The known methods are written by their names")
    func methods() throws {
        for method in HTTPMethod.allCases where method != .other && method != .connect {
            var connection = Connection()
            try connection.machine.begin(method, target: [0x2F].span, host: [0x61].span, into: &connection.output)
            let said = connection.said()
            #expect(said.hasPrefix("\(method)".uppercased() + " / HTTP/1.1\r\nHost: a\r\n"))
        }
    }

    @Test("CVE-2026-28970: what would break a line, or is none of its kind, is refused and nothing is written")
    func injection() {
        let cases: [(String, String, String, String, HTTPMisuse)] = [
            ("GET\r\nX:", "/", "a", "", .methodInvalid), ("", "/", "a", "", .methodInvalid), ("G T", "/", "a", "", .methodInvalid),
            ("GET", "/ HTTP/1.1\r\nX: y\r\n\r\nGET /", "a", "", .targetInvalid), ("GET", "/a\nb", "a", "", .targetInvalid),
            ("GET", "/a\rb", "a", "", .targetInvalid), ("GET", "/a b", "a", "", .targetInvalid), ("GET", "/a\0", "a", "", .targetInvalid),
            ("GET", "/a#b", "a", "", .targetInvalid), ("GET", "/ä", "a", "", .targetInvalid), ("GET", "", "a", "", .targetInvalid),
            ("GET", "a", "a", "", .targetInvalid), ("GET", "*", "a", "", .targetInvalid), ("GET", "ftp://a/", "a", "", .targetInvalid),
            ("CONNECT", "/", "a", "", .targetInvalid), ("CONNECT", "a", "a", "", .targetInvalid),
            ("GET", "/", "a\r\nX: y", "", .targetInvalid), ("GET", "/", "a b", "", .targetInvalid), ("GET", "/", "u@a", "", .targetInvalid),
            ("GET", "/", "a", "X: y\r\n\r\nGET / HTTP/1.1\r\n", .fieldsInvalid), ("GET", "/", "a", "X: a\nY: b\r\n", .fieldsInvalid),
            ("GET", "/", "a", "X: a\rY: b\r\n", .fieldsInvalid), ("GET", "/", "a", "X: a\0\r\n", .fieldsInvalid), ("GET", "/", "a", "X", .fieldsInvalid),
            ("GET", "/", "a", "host: b\r\n", .fieldsInvalid), ("GET", "/", "a", "Content-Length: 1\r\n", .fieldsInvalid),
            ("GET", "/", "a", "Connection: close\r\n", .fieldsInvalid), ("GET", "/", "a", "Transfer-Encoding: chunked\r\n", .fieldsInvalid),
        ]
        for (method, target, host, fields, misuse) in cases {
            var connection = Connection()
            var thrown: HTTPMisuse?
            do { try connection.begin(method, target, host: host, fields: fields) } catch { thrown = error }
            let said = connection.said(), isIdle = connection.machine.isIdle
            #expect(thrown == misuse && said == "" && isIdle, "\(method) \(target) \(host) \(fields)")
        }
    }

    @Test("One exchange at a time: a request waits until the last one and its response have ended")
    func oneAtATime() throws {
        var connection = Connection()
        try connection.begin("POST", content: .exactly(2))
        #expect(throws: HTTPMisuse.outOfTurn) { try connection.begin() }
        let early = try connection.receive("HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n")
        #expect(early == ["413 x length=0 empty", "end"])
        #expect(throws: HTTPMisuse.outOfTurn) { try connection.begin() }
        #expect(throws: HTTPMisuse.contentTooShort) { try connection.machine.send(.end(), into: &connection.output) }
        #expect(throws: HTTPMisuse.contentTooLong) { try connection.machine.send(.append([1, 2, 3]), into: &connection.output) }
        try connection.machine.send(.append([1, 2]), into: &connection.output)
        try connection.machine.send(.end(), into: &connection.output)
        #expect(throws: HTTPMisuse.outOfTurn) { try connection.machine.send(.end(), into: &connection.output) }
        try connection.begin()
        let isRequesting = connection.machine.isRequesting
        #expect(isRequesting)
    }

    @Test("An early response that ends the connection ends the request with it")
    func earlyClose() throws {
        var connection = Connection()
        try connection.begin("POST", content: .unknown)
        _ = try connection.receive("HTTP/1.1 413 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        let isClosed = connection.machine.isClosed
        #expect(isClosed)
        #expect(throws: HTTPMisuse.outOfTurn) { try connection.machine.send(.append([1]), into: &connection.output) }
    }

    @Test("A head's time begins with its first byte; content may take its time unless a rate is asked for")
    func time() throws {
        var connection = Connection()
        try connection.begin()
        try connection.machine.end(into: &connection.output)
        let waiting = connection.machine.deadline
        connection.machine.heard(at: Instant(nanoseconds: 5_000_000_000))
        let bytes = Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab".utf8)
        var part = ByteReader(bytes.span.extracting(0..<4))
        let none = try connection.machine.nextEvent(from: &part, into: &connection.output)
        let head = connection.machine.deadline
        #expect(waiting == .never && none == nil && head.nanoseconds == 15_000_000_000)
        _ = try connection.receive("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        let content = connection.machine.deadline
        #expect(content == .never)
    }

    @Test("Content ends with the connection where nothing else says so")
    func untilEnd() throws {
        var connection = Connection()
        try connection.begin()
        try connection.machine.end(into: &connection.output)
        let events = try connection.receive("HTTP/1.1 200 OK\r\n\r\nhello")
        try connection.machine.receiveEnd(at: Instant(nanoseconds: 0), into: &connection.output)
        let last = try connection.receive(""), isClosed = connection.machine.isClosed
        #expect(events == ["200 OK close", "body hello"] && last == ["end"] && isClosed)
    }

    @Test("A request that was written elsewhere has its answer read, one after the other")
    func expected() throws {
        var connection = Connection()
        try connection.machine.expectResponse(to: .head)
        #expect(throws: HTTPMisuse.outOfTurn) { try connection.machine.expectResponse(to: .get) }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        let head = try connection.receive(answer)
        try connection.machine.expectResponse(to: .get)
        let whole = try connection.receive(answer + "hello"), said = connection.said()
        #expect(head == ["200 OK length=5 empty", "end"] && whole == ["200 OK length=5", "body hello", "end"] && said.isEmpty)
        #expect(throws: HTTPMisuse.outOfTurn) { try connection.machine.expectResponse(to: .connect) }
        try connection.begin()
        let next = connection.said()
        #expect(next == "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    }
}
