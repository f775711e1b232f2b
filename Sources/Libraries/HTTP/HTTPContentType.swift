/// What content is (RFC 9110 section 8.3): a media type that the program knows.
public struct HTTPContentType: Sendable, ExpressibleByStringLiteral {
    let text: StaticString

    /// Whatever is written here is sent as it is.
    public init(stringLiteral text: StaticString) { self.text = text }

    public static let json: HTTPContentType = "application/json"
    public static let problem: HTTPContentType = "application/problem+json"
    public static let text: HTTPContentType = "text/plain; charset=utf-8"
    public static let html: HTTPContentType = "text/html; charset=utf-8"
    public static let bytes: HTTPContentType = "application/octet-stream"
    public static let events: HTTPContentType = "text/event-stream"

    /// By a file's name; what is not known is `bytes`.
    public static func of(file name: String) -> HTTPContentType {
        guard let dot = name.lastIndex(of: ".") else { return .bytes }
        return byExtension[name[name.index(after: dot)...].lowercased()] ?? .bytes
    }

    private static let byExtension: [String: HTTPContentType] = [
        "html": .html, "htm": .html, "txt": .text, "log": .text, "md": "text/markdown; charset=utf-8", "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8", "mjs": "text/javascript; charset=utf-8", "json": .json, "map": .json, "xml": "application/xml",
        "csv": "text/csv; charset=utf-8", "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif",
        "webp": "image/webp", "avif": "image/avif", "ico": "image/x-icon", "wasm": "application/wasm", "pdf": "application/pdf", "zip": "application/zip",
        "gz": "application/gzip", "tar": "application/x-tar", "mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav", "mp4": "video/mp4",
        "webm": "video/webm", "woff": "font/woff", "woff2": "font/woff2", "ttf": "font/ttf", "otf": "font/otf", "yaml": "application/yaml",
        "yml": "application/yaml", "webmanifest": "application/manifest+json",
    ]

    /// Whether content of a type becomes smaller by gzip: text does, pictures and archives are compressed already.
    static func isCompressible(_ type: String) -> Bool {
        let type = type.prefix { $0 != ";" }.lowercased()
        if type.hasPrefix("text/") { return type != "text/event-stream" }
        if type.hasSuffix("+json") || type.hasSuffix("+xml") { return true }
        return ["application/json", "application/xml", "application/javascript", "application/wasm", "application/yaml", "font/ttf", "font/otf"].contains {
            $0 == type
        }
    }

    var isCompressible: Bool { Self.isCompressible("\(text)") }
}
