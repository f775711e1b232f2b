import MartletBytes
import MartletDeflate
import Testing

@testable import MartletHTTP

/// Fields, dates, ranges, conditions and codings: what needs no connection.
struct HTTPValueTests {
    @Test func `fields keep their order and are found by any case`() throws {
        var fields = HTTPFields()
        try fields.append("X-One", "1")
        try fields.append("Set-Cookie", "a=1")
        try fields.append("set-cookie", "b=2")
        #expect(fields["x-oNE"] == "1")
        #expect(fields["Set-Cookie"] == "a=1, b=2")
        #expect(fields.values(of: "SET-COOKIE") == ["a=1", "b=2"])
        #expect(fields.all.map(\.name) == ["X-One", "Set-Cookie", "set-cookie"])
        try fields.set("Set-Cookie", to: "c=3")
        #expect(fields.all.map(\.value) == ["1", "c=3"])
        fields.remove("x-one")
        fields.remove("set-cookie")
        #expect(fields.isEmpty && fields["x-one"] == nil)
    }

    @Test func `what would end a line or is the connection's own is refused`() {
        var fields = HTTPFields()
        for name in ["", "a b", "a:", "a\r\nb", "ä"] { #expect(throws: HTTPFieldRefusal.name(name)) { try fields.set(name, to: "x") } }
        for value in ["a\r\nX: y", "a\n", "a\0", " a", "a ", "\u{7F}"] { #expect(throws: HTTPFieldRefusal.value("X")) { try fields.set("X", to: value) } }
        for name in ["Content-Length", "transfer-encoding", "CONNECTION", "Date"] {
            #expect(throws: HTTPFieldRefusal.framing(name)) { try fields.append(name, "1") }
        }
        #expect(throws: HTTPFieldRefusal.value("Location")) { try HTTPResponse.redirect(to: "/\r\nSet-Cookie: a=1") }
        #expect(fields.isEmpty)
    }

    @Test func `dates are written in one form and read in three`() {
        #expect(HTTPDate.text(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(HTTPDate.text(0) == "Thu, 01 Jan 1970 00:00:00 GMT")
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            #expect(HTTPDate.seconds(text) == 784_111_777)
        }
        for text in ["", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"]
        {
            #expect(HTTPDate.seconds(text) == nil)
        }
        // Leap days, centuries, and times before 1970.
        for seconds: Int64 in [951_782_400, 951_868_800, 4_107_542_400, -1, -86_400, 1_709_164_799, 32_503_679_999] {
            #expect(HTTPDate.seconds(HTTPDate.text(seconds)) == seconds)
        }
        #expect(HTTPDate.text(951_782_400) == "Tue, 29 Feb 2000 00:00:00 GMT")
    }

    @Test func `a range is one part, nothing, or the whole`() {
        let cases: [(String, HTTPRange)] = [
            ("bytes=0-0", .part(0..<1)), ("bytes=2-4", .part(2..<5)), ("bytes=5-", .part(5..<10)), ("bytes=-3", .part(7..<10)), ("bytes=-99", .part(0..<10)),
            ("bytes=8-99", .part(8..<10)), ("BYTES=1-2", .part(1..<3)), ("bytes=10-", .unsatisfiable), ("bytes=-0", .unsatisfiable),
            ("bytes=99999999999999999999-", .unsatisfiable), ("bytes=0-99999999999999999999", .part(0..<10)),
            ("bytes=9223372036854775807-9223372036854775807", .unsatisfiable),
            ("bytes=0-9223372036854775807", .part(0..<10)), ("bytes=4-2", .whole), ("bytes=", .whole), ("bytes=-", .whole), ("bytes=a-b", .whole),
            ("bytes=1-2,4-5", .whole), ("items=1-2", .whole), ("bytes=--1", .whole), ("bytes=1-2-3", .whole), ("bytes=+1-2", .whole),
        ]
        for (text, range) in cases { #expect(HTTPRange(text, of: 10) == range, "\(text)") }
        let many = "bytes=" + (0..<5000).map { "\($0)-" }.joined(separator: ",")
        for text in [
            many, "bytes=\(String(repeating: "9", count: 30_000))-0", "bytes=" + String(repeating: "-", count: 30_000), "bytes=\u{661}-\u{662}", "bytes", "",
            "=",
            "bytes=0\0-1", "bytes=1_0-", "bytes=0x1-0x2", "bytes=1-2;", "bytes=,", "bytes=1-2,", "bytes",
        ] { #expect(HTTPRange(text, of: 10) == .whole, "\(text.prefix(40))") }
        #expect(HTTPRange("bytes=-9223372036854775808", of: 10) == .part(0..<10))
        #expect(HTTPRange("bytes=18446744073709551616-18446744073709551617", of: 10) == .unsatisfiable)
        #expect(HTTPRange("bytes=0-9223372036854775806", of: .max) == .part(0..<Int.max))
        #expect(HTTPRange("bytes=-\(String(repeating: "9", count: 30_000))", of: 10) == .part(0..<10))
        #expect(HTTPRange("bytes=0-0", of: 0) == .unsatisfiable)
        #expect(HTTPRange("bytes=-1", of: 0) == .unsatisfiable)
    }

    @Test func `conditions are asked in the order of RFC 9110`() throws {
        func outcome(_ pairs: (String, String)...) throws -> HTTPConditions.Outcome {
            var fields = HTTPFields()
            for (name, value) in pairs { try fields.append(name, value) }
            return HTTPConditions.outcome(fields, tag: "\"a,b\"", modified: 784_111_777)
        }
        let then = "Sun, 06 Nov 1994 08:49:37 GMT", before = "Sun, 06 Nov 1994 08:49:36 GMT"
        #expect(try outcome() == .goOn)
        #expect(try outcome(("If-None-Match", "\"x\", W/\"a,b\"")) == .notModified)
        #expect(try outcome(("If-None-Match", "*")) == .notModified)
        #expect(try outcome(("If-None-Match", "\"x\"")) == .goOn)
        #expect(try outcome(("If-None-Match", "\"x\""), ("If-Modified-Since", then)) == .goOn)
        #expect(try outcome(("If-Modified-Since", then)) == .notModified)
        #expect(try outcome(("If-Modified-Since", before)) == .goOn)
        #expect(try outcome(("If-Modified-Since", "yesterday")) == .goOn)
        #expect(try outcome(("If-Match", "\"a,b\"")) == .goOn)
        #expect(try outcome(("If-Match", "W/\"a,b\"")) == .failed)
        #expect(try outcome(("If-Match", "\"x\"")) == .failed)
        #expect(try outcome(("If-Unmodified-Since", before)) == .failed)
        #expect(try outcome(("If-Unmodified-Since", then)) == .goOn)
    }

    @Test func `gzip is taken by its quality`() {
        for field in ["gzip", "GZIP", "br, gzip", "gzip;q=0.1", "*", "*;q=0.5", "x-gzip", "deflate, gzip ; q=1.0"] {
            #expect(HTTPEncoding.accepts("gzip", field), "\(field)")
        }
        for field in ["", "br", "gzip;q=0", "gzip;q=0.000", "*;q=0", "gzip;q=0, *", "identity", "gzip;q=x"] {
            #expect(!HTTPEncoding.accepts("gzip", field), "\(field)")
        }
    }

    @Test func `what is deflated piece by piece is inflated again, up to a limit`() throws {
        let text = Array(String(repeating: "again and again ", count: 10_000).utf8)
        for format in [DeflateFormat.gzip, .zlib, .raw] {
            let packed = Self.deflated(text, format)
            #expect(packed.count < text.count / 20)
            #expect(try Self.inflated(packed, format, limit: text.count) == text)
            #expect(throws: Inflater.Failure.tooLong) { try Self.inflated(packed, format, limit: text.count - 1) }
            #expect(throws: Inflater.Failure.malformed) { try Self.inflated([0xFF, 0xFF] + packed, format, limit: 1 << 30) }
        }
    }

    private static func deflated(_ bytes: [UInt8], _ format: DeflateFormat) -> [UInt8] {
        var output = ByteBuffer()
        guard var deflater = Deflater(format) else { return [] }
        for start in stride(from: 0, to: bytes.count, by: 7001) {
            deflater.append(Array(bytes[start..<min(bytes.count, start + 7001)]).span, start % 2 == 0 ? .none : .sync, into: &output)
        }
        deflater.append([UInt8]().span, .finish, into: &output)
        return output.span.array
    }

    /// Byte by byte.
    private static func inflated(_ bytes: [UInt8], _ format: DeflateFormat, limit: Int) throws -> [UInt8] {
        var output = ByteBuffer()
        guard var inflater = Inflater(format) else { return [] }
        for byte in bytes { try inflater.append([byte].span, limit: limit - output.count, into: &output) }
        return inflater.isFinished ? output.span.array : []
    }
}
