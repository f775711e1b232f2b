internal import MartletFiles

/// What is in a directory, for people and for programs: directories first, then by name.
///
/// Names that begin with a dot are left out, and what would not be served: links that lead out, sockets, names that are no UTF-8.
struct HTTPFileList: Sendable {
    private struct Entry: Sendable {
        let name: String
        let isDirectory: Bool
        let size: Int
        /// Seconds since 1970.
        let modified: Int64
    }
    private let path: String
    private let entries: [Entry]

    /// `path` is the directory's below `root`, "" or with a slash at its end. Nil if it may not be read. **Blocks.**
    init?(of directory: borrowing File, at path: String, beneath root: borrowing File) {
        var entries: [Entry] = []
        do throws(FileError) {
            for name in try Directory.list(directory) where !name.hasPrefix(".") {
                guard let state = try? File.state(of: path + name, beneath: root), state.kind != .other else { continue }
                entries.append(Entry(name: name, isDirectory: state.kind == .directory, size: state.size, modified: state.modified / 1_000_000_000))
            }
        } catch { return nil }
        let keys = entries.map { ($0.isDirectory ? 0 : 1, $0.name.lowercased(), $0.name) }
        self.entries = entries.indices.sorted { keys[$0] < keys[$1] }.map { entries[$0] }
        self.path = "/" + path
    }

    /// JSON is asked for, and no page (RFC 9110 section 12.5.1): a browser's `*/*` behind `text/html` means the page.
    static func wantsJSON(_ accept: String?) -> Bool {
        guard let accept = accept?.lowercased() else { return false }
        return accept.contains("application/json") && !accept.contains("text/html")
    }

    // MARK: JSON

    /// In the words of nginx's `autoindex_format json`.
    var json: String {
        let rows = entries.map { entry in
            let size = entry.isDirectory ? "" : ",\"size\":\(entry.size)"
            return "{\"name\":\(HTTPFailure.quoted(entry.name)),\"type\":\"\(entry.isDirectory ? "directory" : "file")\","
                + "\"mtime\":\"\(HTTPDate.text(entry.modified))\"\(size)}"
        }
        return "[\(rows.joined(separator: ",\n"))]\n"
    }

    // MARK: A page

    var page: String {
        let title = Self.escaped(path)
        let up = path == "/" ? "" : "<tr><td><a href=\"../\">../</a><td><td>\n"
        let rows = entries.map { entry in
            let slash = entry.isDirectory ? "/" : ""
            // With "./" in front a colon in a name makes no scheme of it.
            return "<tr><td><a href=\"./\(HTTPURL.encodedPart(entry.name))\(slash)\">\(Self.escaped(entry.name))\(slash)</a>"
                + "<td>\(entry.isDirectory ? "" : Self.size(entry.size))<td>\(HTTPDate.minute(entry.modified))\n"
        }
        return """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(title)</title>
            <style>\(Self.style)</style>
            </head>
            <body>
            <h1>\(title)</h1>
            <table>
            <tr><th>Name<th>Size<th>Modified (UTC)
            \(up)\(rows.joined())</table>
            </body>
            </html>

            """
    }

    private static let style = """
        :root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
        h1{font-size:1.25rem;overflow-wrap:anywhere}table{border-collapse:collapse;width:100%}th{text-align:left;font-weight:600}\
        th,td{padding:.2rem .6rem .2rem 0;border-bottom:1px solid #8884;vertical-align:top}td:first-child{overflow-wrap:anywhere}\
        th:nth-child(2),td:nth-child(2){text-align:right}td:nth-child(n+2){white-space:nowrap;font-variant-numeric:tabular-nums}a{text-decoration:none}
        """

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// "10 B", "1.2 KiB".
    static func size(_ count: Int) -> String {
        var size = Double(count)
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if size < 999.95 { return unit == "B" ? "\(count) B" : "\((size * 10).rounded() / 10) \(unit)" }
            size /= 1024
        }
        return "\((size * 10).rounded() / 10) TiB"
    }
}
