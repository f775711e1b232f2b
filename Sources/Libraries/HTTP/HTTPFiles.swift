internal import MartletBytes
internal import MartletFiles

/// The files below a directory, as a handler: with entity tags, conditions, ranges and content types.
///
/// Nothing outside of the directory is served, whatever a path or a link says (openat2), nor a name that begins with a dot, but for `.well-known`.
/// A directory is its `index.html`, or if `listsDirectories` says so a list of what is in it (`HTTPFileList`). Not here: writing.
public struct HTTPFiles: Sendable {
    private let root: OpenFile
    /// Cache-Control for all of them; nil: none.
    public var cacheControl: String?
    /// A directory without an `index.html` is answered with what is in it: a page, or JSON for who accepts that and no page. Default: it is 404.
    public var listsDirectories = false
    /// Read and sent at a time. Up to here a file is one piece, which may be compressed.
    private static let pieceSize = 64 << 10

    private final class OpenFile: Sendable {
        let file: File
        init(_ file: consuming File) { self.file = file }
    }

    /// Throws 500 where there is no such directory, or it may not be read.
    public init(_ directory: String) throws(HTTPFailure) {
        do throws(FileError) { root = OpenFile(try File(directory: directory)) } catch { throw HTTPFailure(.internalServerError, "\(error)") }
    }

    /// The file at `path` below the directory, decoded and without a slash in front; nil: the request's whole path.
    public func respond(to request: HTTPRequest, at path: String? = nil) async throws(HTTPFailure) -> HTTPResponse {
        guard request.method == .get || request.method == .head else {
            var failure = HTTPFailure(.methodNotAllowed, "files are read alone")
            failure.fields.put("Allow", "GET, HEAD, OPTIONS")
            if request.method == .options {
                var response = HTTPResponse(.noContent)
                response.fields.put("Allow", "GET, HEAD, OPTIONS")
                return response
            }
            throw failure
        }
        guard let path = path ?? HTTPText.decoded(Array(request.path.utf8.dropFirst()).span) else {
            throw .badRequest("\(request.path) is not validly encoded")
        }
        let names = path.split(separator: "/", omittingEmptySubsequences: true)
        guard !path.utf8.contains(0), names.allSatisfy({ !$0.hasPrefix(".") || $0 == ".well-known" }) else { throw missing(request) }
        var file = try open(names.isEmpty ? "." : names.joined(separator: "/"), request), name = names.last.map { String($0) } ?? ""
        var state = try examine(file, request)
        if state.kind == .directory {
            guard path.isEmpty || path.hasSuffix("/") else { return try redirect(request) }
            name = "index.html"
            let index = names.map { $0 + "/" }.joined() + name
            if listsDirectories, isMissing(index) { return try await list(file, names, request) }
            file = try open(index, request)
            state = try examine(file, request)
        }
        guard state.kind == .file else { throw missing(request) }
        if path.hasSuffix("/"), name != "index.html" { throw missing(request) }
        return try answer(request, file, state, .of(file: name))
    }

    private func missing(_ request: HTTPRequest) -> HTTPFailure { .notFound("nothing is at \(request.path)") }

    private func open(_ path: String, _ request: HTTPRequest) throws(HTTPFailure) -> OpenFile {
        do throws(FileError) { return OpenFile(try File(path, beneath: root.file)) } catch {
            if error.isTooManyFiles { throw HTTPFailure(.serviceUnavailable, "too many files are open") }
            throw error.isForbidden ? .forbidden("\(request.path) may not be read") : missing(request)
        }
    }

    private func examine(_ file: OpenFile, _ request: HTTPRequest) throws(HTTPFailure) -> File.State {
        do throws(FileError) { return try file.file.state() } catch { throw missing(request) }
    }

    /// To the directory's own path, on this server: a path that begins with two slashes would name another.
    private func redirect(_ request: HTTPRequest) throws(HTTPFailure) -> HTTPResponse {
        let path = "/" + request.path.drop { $0 == "/" } + "/" + (request.query.isEmpty ? "" : "?" + request.query)
        var response = HTTPResponse(.movedPermanently)
        response.fields.put("Location", path)
        return response
    }

    private func isMissing(_ path: String) -> Bool {
        do throws(FileError) { _ = try File.state(of: path, beneath: root.file) } catch { return error.isMissing }
        return false
    }

    /// Elsewhere than on the loop: a directory may be large.
    private func list(_ directory: OpenFile, _ names: [Substring], _ request: HTTPRequest) async throws(HTTPFailure) -> HTTPResponse {
        let root = root, path = names.map { $0 + "/" }.joined(), isJSON = HTTPFileList.wantsJSON(request.fields["accept"])
        let content = await withTaskExecutorPreference(globalConcurrentExecutor) {
            HTTPFileList(of: directory.file, at: path, beneath: root.file).map { isJSON ? $0.json : $0.page }
        }
        guard let content else { throw .forbidden("\(request.path) may not be read") }
        var response = HTTPResponse(contentType: isJSON ? .json : .html, body: .text(content))
        response.fields.put("Vary", "Accept")
        // What stands in it comes from whoever named the files.
        if !isJSON { response.fields.put("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'") }
        if let cacheControl { response.fields.put("Cache-Control", cacheControl) }
        return response
    }

    private func answer(_ request: HTTPRequest, _ file: OpenFile, _ state: File.State, _ type: HTTPContentType) throws(HTTPFailure) -> HTTPResponse {
        let fields = request.fields, modified = state.modified / 1_000_000_000
        let tag = "\"\(String(state.modified, radix: 16))-\(String(state.size, radix: 16))-\(String(state.inode, radix: 16))\""
        var response = HTTPResponse(contentType: type)
        response.fields.put("ETag", tag)
        response.fields.put("Last-Modified", HTTPDate.text(modified))
        if let cacheControl { response.fields.put("Cache-Control", cacheControl) }
        switch HTTPConditions.outcome(fields, tag: tag, modified: modified) {
        case .failed: throw HTTPFailure(.preconditionFailed, "\(request.path) is not as the request wants it")
        case .notModified:
            response.status = .notModified
            response.contentType = nil
            return response
        case .goOn: break
        }
        response.fields.put("Accept-Ranges", "bytes")
        var part = 0..<state.size
        if request.method == .get, let field = fields.value("range"), HTTPConditions.allowsRange(fields, tag: tag, modified: modified) {
            switch HTTPRange(field, of: state.size) {
            case .whole: break
            case .part(let range):
                part = range
                response.status = .partialContent
                response.fields.put("Content-Range", "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(state.size)")
            case .unsatisfiable:
                var failure = HTTPFailure(.rangeNotSatisfiable, "\(request.path) has \(state.size) bytes")
                failure.fields.put("Content-Range", "bytes */\(state.size)")
                throw failure
            }
        }
        response.body = try content(file, part, request)
        return response
    }

    private func content(_ file: OpenFile, _ part: Range<Int>, _ request: HTTPRequest) throws(HTTPFailure) -> HTTPResponse.Body {
        if part.count <= Self.pieceSize {
            do throws(FileError) { return .bytes(try Self.read(file, part)) } catch {
                throw HTTPFailure(.internalServerError, "\(request.path) cannot be read")
            }
        }
        return .stream(length: UInt64(part.count)) { writer in try await Self.send(file, part, to: writer) }
    }

    /// Straight from the file system's memory, where nothing lies between it and the socket. A file that has become shorter breaks the promise.
    private static func send(_ file: OpenFile, _ part: Range<Int>, to writer: HTTPBodyWriter) async throws {
        var start = part.lowerBound, isDirect = true
        while start < part.upperBound {
            if isDirect, let sent = try await writer.send(file.file.descriptor, start..<part.upperBound) {
                if sent == 0 { return }
                start += sent
                await Task.yield()
                continue
            }
            isDirect = false
            let piece = try read(file, start..<min(part.upperBound, start + pieceSize))
            if piece.isEmpty { return }
            try await writer.write(piece)
            start += piece.count
        }
    }

    private static func read(_ file: OpenFile, _ part: Range<Int>) throws(FileError) -> [UInt8] {
        var buffer = ByteBuffer()
        try file.file.read(part.count, at: part.lowerBound, into: &buffer)
        return buffer.span.array
    }
}
