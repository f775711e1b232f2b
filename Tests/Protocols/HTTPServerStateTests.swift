import MartletBytes
import MartletHTTPProtocol
import Testing

/// What a response looks like, what is refused to the caller, and what time and ends do.
@Suite("HTTP server machine: responses, misuse, time")
struct HTTPServerStateTests {
    private typealias Connection = HTTPServerMachineTests.Connection

    private static let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"

    @Test(
        "The length is told, or the content left out, as the method, the status and the version ask",
        arguments: [
            ("GET", "1.1", 200, HTTPContentLength.exactly(2), "Content-Length: 2\r\n\r\nhi"),
            ("GET", "1.1", 200, .unknown, "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
            ("GET", "1.0", 200, .exactly(2), "Content-Length: 2\r\nConnection: close\r\n\r\nhi"),
            ("GET", "1.0", 200, .unknown, "Connection: close\r\n\r\nhi"),
            ("HEAD", "1.1", 200, .exactly(2), "Content-Length: 2\r\n\r\n"),
            ("HEAD", "1.1", 200, .unknown, "Transfer-Encoding: chunked\r\n\r\n"),
            ("HEAD", "1.1", 200, .none, "\r\n"),
            ("HEAD", "1.0", 200, .unknown, "Connection: close\r\n\r\n"),
            ("GET", "1.1", 204, .exactly(2), "\r\n"),
            ("GET", "1.1", 204, .unknown, "\r\n"),
            ("GET", "1.1", 304, .exactly(2), "Content-Length: 2\r\n\r\n"),
            ("GET", "1.1", 304, .unknown, "\r\n"),
            ("GET", "1.1", 205, .exactly(2), "Content-Length: 0\r\n\r\n"),
            ("GET", "1.1", 205, .unknown, "Content-Length: 0\r\n\r\n"),
        ] as [(String, String, UInt16, HTTPContentLength, String)])
    func lengths(method: String, version: String, status: UInt16, content: HTTPContentLength, expected: String) throws {
        var connection = Connection()
        _ = try connection.receive("\(method) / HTTP/\(version)\r\nHost: a\r\n\r\n")
        try connection.machine.send(.begin(status, content: content), into: &connection.output)
        if content != .none { try connection.machine.send(.append(Array("hi".utf8)), into: &connection.output) }
        try connection.machine.send(.end(), into: &connection.output)
        let said = connection.said(), isClosed = connection.machine.isClosed, isIdle = connection.machine.isIdle
        #expect(said.split(separator: "\r\n", maxSplits: 1)[1] == expected)
        #expect(said.hasPrefix("HTTP/1.1 \(status) ") && isClosed == (version == "1.0") && isIdle == (version == "1.1"))
    }

    @Test("Without content, length 0 is said")
    func noContent() throws {
        var connection = Connection()
        _ = try connection.receive("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        try connection.machine.send(.begin(404, content: .none), into: &connection.output)
        try connection.machine.send(.end(trailers: Array("X: 1\r\n".utf8)), into: &connection.output)
        let said = connection.said(), isIdle = connection.machine.isIdle
        #expect(said == "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n" && isIdle)
    }

    @Test("A client that waits for 100 gets it, or an answer that ends the connection")
    func expectation() throws {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        var connection = Connection()
        _ = try connection.receive(head)
        let waiting = connection.machine.deadline
        try connection.machine.send(.inform(100), into: &connection.output)
        let asked = connection.said(), running = connection.machine.deadline
        #expect(asked == "HTTP/1.1 100 Continue\r\n\r\n" && waiting == .never && running < .never)
        let events = try connection.receive("hello")
        try connection.respond("")
        let said = connection.said()
        #expect(events == ["body hello", "end"] && !said.contains("Connection"))

        var refusing = Connection()
        _ = try refusing.receive(head)
        try refusing.respond("no", status: 403)
        let refusal = refusing.said(), isClosed = refusing.machine.isClosed
        #expect(refusal.contains("\r\nConnection: close\r\n") && isClosed)
    }

    @Test("An early response leaves the rest of the request to be read, then the next request comes")
    func earlyResponse() throws {
        var connection = Connection()
        _ = try connection.receive(Self.post + "he")
        try connection.respond("no", status: 403)
        let isReading = connection.machine.isReading
        let events = try connection.receive("llo" + Self.get)
        #expect(isReading && events == ["body llo", "end", "GET / path=/ host=a", "end"])
    }

    @Test("An early response that ends the connection closes at once")
    func earlyLastResponse() throws {
        var connection = Connection()
        _ = try connection.receive(Self.post + "he")
        connection.machine.takeNoMore()
        try connection.respond("no", status: 503)
        let said = connection.said(), isClosed = connection.machine.isClosed
        #expect(said.contains("\r\nConnection: close\r\n") && isClosed)
    }

    @Test("A shutdown closes what is idle, and what answers when it has")
    func takesNoMore() throws {
        var idle = Connection()
        idle.machine.takeNoMore()
        let isClosed = idle.machine.isClosed
        #expect(isClosed)

        var streaming = Connection()
        _ = try streaming.receive(Self.get + Self.get)
        try streaming.machine.send(.begin(200, content: .exactly(2)), into: &streaming.output)
        streaming.machine.takeNoMore()
        try streaming.machine.send(.append(Array("hi".utf8)), into: &streaming.output)
        try streaming.machine.send(.end(), into: &streaming.output)
        let ended = streaming.machine.isClosed, more = try streaming.receive("")
        #expect(ended && more == [])
    }

    @Test("Requests that came before the client's end are answered, then the connection is closed")
    func halfClosed() throws {
        var connection = Connection()
        _ = try connection.receive(Self.get + Self.get)
        try connection.machine.receiveEnd(at: Instant(nanoseconds: 0), into: &connection.output)
        try connection.respond("1")
        let second = try connection.receive("")
        try connection.respond("2")
        let none = try connection.receive(""), isClosed = connection.machine.isClosed
        #expect(second == ["GET / path=/ host=a", "end"] && none == [] && isClosed)
    }

    @Test("A part of a request before the client's end is refused when its turn comes")
    func halfClosedInMessage() throws {
        var connection = Connection()
        _ = try connection.receive(Self.get + "GET / HT")
        try connection.machine.receiveEnd(at: Instant(nanoseconds: 0), into: &connection.output)
        try connection.respond("1")
        var thrown: HTTPViolation?
        do { _ = try connection.receive("") } catch { thrown = error }
        #expect(thrown == .ended)
    }

    @Test("What cannot be said now, or at all, is refused and nothing is written")
    func misuse() throws {
        var connection = Connection()
        func refused(_ message: HTTPServerOutgoing, _ machine: inout HTTPServerMachine, _ output: inout ByteBuffer) -> HTTPMisuse? {
            let before = output.count
            do { try machine.send(message, into: &output) } catch { return output.count == before ? error : nil }
            return nil
        }
        func expect(_ misuse: HTTPMisuse, _ message: HTTPServerOutgoing, _ connection: inout Connection) {
            let thrown = refused(message, &connection.machine, &connection.output)
            #expect(thrown == misuse, "\(message)")
        }
        for message in [.begin(200, content: .none), .append([1]), .end(), .inform(100), .accept(101)] as [HTTPServerOutgoing] {
            expect(.outOfTurn, message, &connection)
        }
        _ = try connection.receive(Self.get)
        for status: UInt16 in [0, 99, 100, 101, 199, 1000] { expect(.statusInvalid, .begin(status, content: .none), &connection) }
        for status: UInt16 in [99, 101, 200] { expect(.statusInvalid, .inform(status), &connection) }
        for status: UInt16 in [101, 200] { expect(.statusInvalid, .accept(status), &connection) }
        // Header injection, and what the machine writes itself.
        for lines in [
            "X: a\r\nY", "X: a", "X: a\n", "X: a\rY: b\r\n", "X: a\0\r\n", "X y: a\r\n", ": a\r\n", "X: a\r\n b\r\n", "\r\n", "X: a\r\n\r\nHTTP/1.1 200 OK\r\n",
            "Content-Length: 5\r\n", "transfer-encoding: chunked\r\n", "Connection: close\r\n",
        ] {
            expect(.fieldsInvalid, .begin(200, fields: Array(lines.utf8), content: .none), &connection)
            expect(.fieldsInvalid, .inform(103, fields: Array(lines.utf8)), &connection)
        }
        try connection.machine.send(.begin(200, content: .exactly(2)), into: &connection.output)
        expect(.outOfTurn, .begin(200, content: .none), &connection)
        expect(.outOfTurn, .inform(103), &connection)
        expect(.contentTooLong, .append([1, 2, 3]), &connection)
        expect(.contentTooShort, .end(), &connection)
        try connection.machine.send(.append([1, 2]), into: &connection.output)
        try connection.machine.send(.end(), into: &connection.output)
        _ = try connection.receive(Self.get)
        try connection.machine.send(.begin(200, content: .unknown), into: &connection.output)
        expect(.fieldsInvalid, .end(trailers: Array("X".utf8)), &connection)
    }

    @Test("A violation behind a response's beginning says nothing; one in the content of a HEAD has no text")
    func quietFarewells() throws {
        var connection = Connection()
        _ = try connection.receive("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        try connection.machine.send(.begin(200, content: .exactly(2)), into: &connection.output)
        _ = connection.said()
        var thrown: HTTPViolation?
        do { _ = try connection.receive("x") } catch { thrown = error }
        let said = connection.said()
        #expect(thrown == .chunkSize && said == "")

        var head = Connection()
        do { _ = try head.receive("HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx") } catch { thrown = error }
        let farewell = head.said()
        #expect(farewell.hasPrefix("HTTP/1.1 400 ") && farewell.hasSuffix("\r\n\r\n"))
    }

    @Test("Content has to come at the rate, on the average, after the grace; a pause of this side's own is excused")
    func pace() throws {
        var limits = HTTPLimits()
        limits.bodyRateMin = 100
        limits.bodyRateGrace = .seconds(5)
        var connection = Connection(limits)
        let second: Int64 = 1_000_000_000
        _ = try connection.receive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", at: 10)
        let atFirst = connection.machine.deadline
        _ = try connection.receive(String(repeating: "x", count: 200), at: 14)
        let later = connection.machine.deadline
        #expect(atFirst.nanoseconds == 15 * second && later.nanoseconds == 17 * second)
        connection.machine.excuse(at: Instant(nanoseconds: 100 * second))
        let excused = connection.machine.deadline
        #expect(excused.nanoseconds == 105 * second)
        _ = try connection.receive(String(repeating: "x", count: 1800), at: 101)
        let whole = connection.machine.deadline
        #expect(whole == .never)
    }

    @Test("A head's time begins with its first byte, the idle time with the last response")
    func headTime() throws {
        var connection = Connection()
        let second: Int64 = 1_000_000_000
        _ = try connection.receive("G", at: 30)
        let first = connection.machine.deadline
        _ = try connection.receive("ET / HTTP/1.1\r\n", at: 39)
        let second39 = connection.machine.deadline
        _ = try connection.receive("Host: a\r\n\r\n", at: 39)
        let owed = connection.machine.deadline
        connection.machine.heard(at: Instant(nanoseconds: 100 * second))
        try connection.respond("")
        let idle = connection.machine.deadline
        #expect(first.nanoseconds == 40 * second && second39 == first && owed == .never && idle.nanoseconds == 160 * second)
    }
}
