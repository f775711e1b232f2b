import MartletBytes
import MartletHTTPProtocol

/// Messages as peers send them, and damaged ones.
enum HTTPSamples {
    static let start = Instant(nanoseconds: 1_000_000_000)

    static func pick<Value>(_ values: [Value], _ rng: inout SeededGenerator) -> Value { values[Int.random(in: 0..<values.count, using: &rng)] }

    static func bytes(_ rng: inout SeededGenerator, atMost count: Int) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &rng)).map { _ in .random(in: 0...255, using: &rng) }
    }

    static func fieldLines(_ rng: inout SeededGenerator) -> String {
        let lines = [
            "X: y\r\n", "Accept:  a, b\t\r\n", "Cookie: k=v; l=\"w\"\r\n", "X-Empty:\r\n", "User-Agent: x/1 (y)\r\n", "Referer: http://a/b\r\n", "1!~: 2\r\n",
        ]
        return (0..<Int.random(in: 0...3, using: &rng)).map { _ in pick(lines, &rng) }.joined()
    }

    /// Content with the field that tells its length.
    static func content(_ rng: inout SeededGenerator) -> (field: String, bytes: [UInt8]) {
        let content = bytes(&rng, atMost: 40)
        if Bool.random(using: &rng) { return ("Content-Length: \(content.count)\r\n", content) }
        var chunks: [UInt8] = [], rest = content[...]
        while !rest.isEmpty {
            let piece = rest.prefix(Int.random(in: 1...20, using: &rng))
            rest = rest.dropFirst(piece.count)
            let extensions = pick(["", "", ";a", ";a=\"b c\""], &rng)
            chunks += Array("\(pick(["", "0"], &rng))\(String(piece.count, radix: 16))\(extensions)\r\n".utf8) + piece + [13, 10]
        }
        let trailers = pick(["", "", "X-Sum: 1\r\n", "A: 1\r\nB:  2\r\n"], &rng)
        return ("Transfer-Encoding: chunked\r\n", chunks + Array("\(pick(["0", "000"], &rng))\r\n\(trailers)\r\n".utf8))
    }

    static func request(_ rng: inout SeededGenerator) -> [UInt8] {
        let line = pick(["", "", "", "\r\n"], &rng)
        let host = pick(["a", "localhost:8000", "[::1]:80"], &rng)
        let (method, target) = pick(
            [("GET", "/"), ("GET", "/items/5?a=b"), ("HEAD", "/x"), ("POST", "/f?"), ("PURGE", "/%20"), ("OPTIONS", "*"), ("GET", "http://\(host)/y")], &rng)
        let body = Bool.random(using: &rng) ? content(&rng) : (field: "", bytes: [])
        let expects = pick(["", "", "Expect: 100-continue\r\n"], &rng)
        if Int.random(in: 0..<6, using: &rng) == 0 { return Array("\(method) \(target) HTTP/1.0\r\nHost: \(host)\r\nConnection: keep-alive\r\n\r\n".utf8) }
        return Array("\(line)\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n\(fieldLines(&rng))\(body.field)\(expects)\r\n".utf8) + body.bytes
    }

    static func requests(count: Int, _ rng: inout SeededGenerator) -> [UInt8] { (0..<count).flatMap { _ in request(&rng) } }

    /// Responses to GET.
    static func responses(count: Int, _ rng: inout SeededGenerator) -> [UInt8] {
        (0..<count).flatMap { _ in
            if Int.random(in: 0..<5, using: &rng) == 0 { return Array("HTTP/1.1 103 Early Hints\r\n\(fieldLines(&rng))\r\n".utf8) }
            if Int.random(in: 0..<5, using: &rng) == 0 { return Array("HTTP/1.1 304 Not Modified\r\n\(fieldLines(&rng))\r\n".utf8) }
            let body = content(&rng), line = pick(["200 OK", "404 Nicht da", "500"], &rng)
            return Array("HTTP/1.1 \(line)\r\n\(fieldLines(&rng))\(body.field)\r\n".utf8) + body.bytes
        }
    }

    /// A few bytes changed, left out, repeated or put in: mostly such as a parser looks for.
    static func mutated(_ bytes: [UInt8], _ rng: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...3, using: &rng) where !bytes.isEmpty {
            let at = Int.random(in: bytes.indices, using: &rng)
            let byte = pick([13, 10, 32, 9, 58, 44, 59, 0, 0x7F, 0x80, 0x30, 0x46, 0x2F, .random(in: 0...255, using: &rng)], &rng) as UInt8
            switch Int.random(in: 0..<4, using: &rng) {
            case 0: bytes[at] = byte
            case 1: bytes.remove(at: at)
            case 2: bytes.insert(byte, at: at)
            default: bytes.insert(contentsOf: bytes[at..<min(at + 20, bytes.count)], at: at)
            }
        }
        return bytes
    }
}
