internal import MartletBytes
internal import MartletDeflate

/// Content codings (RFC 9110 section 8.4): gzip, where the client takes it and it is worth it.
enum HTTPEncoding {
    /// Less is not worth the time.
    static let sizeMin = 1024

    /// The response with its content as gzip; nil if it stays as it is. What may be encoded says so (Vary), whether it was or not.
    static func encoded(
        _ response: HTTPResponse, _ bytes: [UInt8], for request: HTTPRequest, _ home: HTTPServerLoop
    ) -> (response: HTTPResponse, bytes: [UInt8])? {
        guard isCompressible(response) else { return nil }
        var response = response
        response.fields.put("Vary", "Accept-Encoding")
        guard accepts("gzip", request.fields["accept-encoding"] ?? ""), let compressed = home.compress(bytes) else { return (response, bytes) }
        sayGzip(&response)
        return (response, compressed)
    }

    /// The same for content that comes piece by piece: who compresses it, if anybody.
    static func encoded(_ response: HTTPResponse, for request: HTTPRequest) -> (response: HTTPResponse, packer: HTTPPacker?) {
        guard isCompressible(response) else { return (response, nil) }
        var response = response
        response.fields.put("Vary", "Accept-Encoding")
        guard accepts("gzip", request.fields["accept-encoding"] ?? ""), let packer = HTTPPacker() else { return (response, nil) }
        sayGzip(&response)
        return (response, packer)
    }

    private static func isCompressible(_ response: HTTPResponse) -> Bool {
        guard response.status != .partialContent, !response.fields.has("content-encoding"), !response.fields.has("content-range") else { return false }
        if let type = response.fields.value("content-type") { return HTTPContentType.isCompressible(type) }
        return response.contentType?.isCompressible ?? false
    }

    private static func sayGzip(_ response: inout HTTPResponse) {
        response.fields.put("Content-Encoding", "gzip")
        // Not the same bytes: the tag is only for what means the same (RFC 9110 section 8.8.1).
        if let tag = response.fields.value("etag"), tag.hasPrefix("\"") {
            response.fields.remove("ETag")
            response.fields.put("ETag", "W/" + tag)
        }
    }

    /// Whether Accept-Encoding takes a coding (RFC 9110 section 12.5.3): by its name or `*`, and with a quality above 0.
    static func accepts(_ coding: String, _ field: String) -> Bool {
        var byStar = false
        for item in field.split(separator: ",") {
            let parts = item.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
            guard let name = parts.first else { continue }
            let quality = parts.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
            if name == coding || name == "x-" + coding { return quality > 0 }
            if name == "*" { byStar = quality > 0 }
        }
        return byStar
    }
}

/// Compresses one response's content while it is written: each piece can be read when it has arrived.
final class HTTPPacker {
    private let deflater: Pinned<Deflater>

    init?() {
        guard let deflater = Deflater(.gzip) else { return nil }
        self.deflater = Pinned(deflater)
    }

    func pack(_ bytes: [UInt8]) -> [UInt8] {
        var output = ByteBuffer()
        deflater.value.append(bytes.span, .sync, into: &output)
        return output.span.array
    }

    func end() -> [UInt8] {
        var output = ByteBuffer()
        deflater.value.append([UInt8]().span, .finish, into: &output)
        return output.span.array
    }
}
