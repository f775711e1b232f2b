import MartletBytes
import MartletHTTPProtocol

/// Events as lines: what the vectors and the tests compare.
enum HTTPEventLine {
    static func text(_ event: HTTPServerEvent.Owned) -> String {
        switch event {
        case .request(let head): request(head)
        case .body(let bytes): "body \(quoted(bytes))"
        case .end(let trailers): ended(trailers)
        case .tunnel(let bytes): "tunnel \(quoted(bytes))"
        }
    }

    static func text(_ event: HTTPClientEvent.Owned) -> String {
        switch event {
        case .information(let head): "information \(response(head))"
        case .response(let head): response(head)
        case .body(let bytes): "body \(quoted(bytes))"
        case .end(let trailers): ended(trailers)
        case .tunnel(let bytes): "tunnel \(quoted(bytes))"
        }
    }

    private static func request(_ head: HTTPRequestHead.Owned) -> String {
        var words = [quoted(head.method), quoted(head.target)]
        if !head.path.isEmpty { words.append("path=\(quoted(head.path))") }
        if !head.query.isEmpty { words.append("query=\(quoted(head.query))") }
        if !head.host.isEmpty { words.append("host=\(quoted(head.host))") }
        if head.contentLength > 0 { words.append("length=\(head.contentLength)") }
        words += ending(head.isChunked, head.minorVersion, head.keepAlive)
        if head.expectsContinue { words.append("expects-continue") }
        if head.wantsUpgrade { words.append("upgrade") }
        return (words + others(head.fields)).joined(separator: " ")
    }

    private static func response(_ head: HTTPResponseHead.Owned) -> String {
        var words = ["\(head.status)"]
        if !head.reason.isEmpty { words.append(quoted(head.reason)) }
        if let length = head.contentLength { words.append("length=\(length)") }
        words += ending(head.isChunked, head.minorVersion, head.keepAlive)
        if !head.hasBody { words.append("empty") }
        return (words + others(head.fields)).joined(separator: " ")
    }

    private static func ending(_ isChunked: Bool, _ minorVersion: UInt8, _ keepAlive: Bool) -> [String] {
        var words = isChunked ? ["chunked"] : []
        if minorVersion == 0 { words.append("1.0") }
        if keepAlive == (minorVersion == 0) { words.append(keepAlive ? "keep-alive" : "close") }
        return words
    }

    /// The fields that no other word tells of.
    private static func others(_ fields: [UInt8]) -> [String] {
        let told: Set = ["host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"]
        let lines = list(fields).filter { !told.contains(quoted($0.name).lowercased()) }.map { line in
            "\(quoted(line.name)):\(line.value.isEmpty ? "" : " ")\(quoted(line.value))"
        }
        return lines.isEmpty ? [] : [lines.joined(separator: "|")]
    }

    static func list(_ fields: [UInt8]) -> [(name: [UInt8], value: [UInt8])] {
        var list: [(name: [UInt8], value: [UInt8])] = []
        var cursor = HTTPFieldCursor(fields.span)
        while let line = cursor.next() { list.append((fields.span.at(line.name).array, fields.span.at(line.value).array)) }
        return list
    }

    private static func ended(_ trailers: [UInt8]) -> String { (["end"] + others(trailers)).joined(separator: " ") }

    /// Text where it can be read.
    private static func quoted(_ bytes: [UInt8]) -> String {
        bytes.reduce(into: "") { text, byte in
            text += byte >= 0x20 && byte < 0x7F ? String(UnicodeScalar(byte)) : "\\" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
    }

    /// Content in one piece, however it was cut; `|` for an end of a line in it.
    static func joined(_ events: [String]) -> [String] {
        let whole: [String] = events.reduce(into: []) { joined, event in
            for word in ["body ", "tunnel "] where event.hasPrefix(word) && joined.last?.hasPrefix(word) == true {
                joined[joined.count - 1] += event.dropFirst(word.count)
                return
            }
            joined.append(event)
        }
        return whole.map { String($0.split(separator: "\\0d\\0a", omittingEmptySubsequences: false).joined(separator: "|")) }
    }
}
