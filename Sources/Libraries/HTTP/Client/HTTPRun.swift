internal import CLinux
internal import MartletBytes
internal import MartletClient
internal import MartletSockets

/// One call of a client from its beginning to the response's head: connections, attempts, redirects.
struct HTTPRun {
    private var request: HTTPClientRequest
    private let options: HTTPClientOptions
    private let began = ContinuousClock.now
    private var attempts = 0
    private var redirects = 0
    /// A redirect has led to another origin.
    private var isElsewhere = false

    init(_ request: HTTPClientRequest, _ options: HTTPClientOptions) {
        self.request = request
        self.options = options
    }

    private var end: ContinuousClock.Instant? { options.timeout.map { began + $0 } }

    mutating func response(by client: HTTPClient) async throws(HTTPClientError) -> HTTPClientResponse {
        while true {
            try check()
            var response = try await attempt(by: client)
            response.attempts = attempts
            response.redirects = redirects
            guard try follow(response) else { return response }
            await response.body.content.discard()
        }
    }

    private func check() throws(HTTPClientError) {
        if (request.method == "CONNECT") != (request.authority != nil) {
            throw HTTPClientError(.requestInvalid, "cannot send \(request.attempt): a CONNECT is made by HTTPClientRequest.connect(to:through:)")
        }
        if let field = request.credentials?.field, !HTTPField.isValue(Array(field.utf8).span) {
            throw HTTPClientError(.requestInvalid, "cannot send \(request.attempt): the token of its credentials has a control byte or blanks at its ends")
        }
    }

    // MARK: Again

    /// Tried as often as the options say.
    private mutating func attempt(by client: HTTPClient) async throws(HTTPClientError) -> HTTPClientResponse {
        let retries = options.retries
        for number in 1... {
            let isLast = number >= retries.attemptsMax || !request.isRepeatable
            var wait = Backoff.delay(
                before: number, from: retries.delayMin, to: retries.delayMax, jitter: retries.jitter, chance: Double.random(in: 0..<1))
            do throws(HTTPClientError) {
                let response = try await exchange(by: client)
                guard !isLast, retries.statuses.contains(response.status.rawValue) else { return response }
                if let field = response.fields["retry-after"], let asked = HTTPRetries.after(field) {
                    guard asked <= retries.retryAfterMax else { return response }
                    wait = max(wait, asked)
                }
                if let end, .now + wait >= end { return response }
                await response.body.content.discard()
            } catch {
                guard !isLast, error.isPassing else { throw error }
                if let end, .now + wait >= end { throw error }
            }
            do { try await Task.sleep(for: wait) } catch { throw HTTPClientError(.cancelled, "\(request.attempt): cancelled") }
        }
        throw HTTPClientError(.cancelled, "\(request.attempt): cancelled")
    }

    /// Makes the request the one that a redirect asks for (RFC 9110 section 15.4); false if the response is the answer.
    private mutating func follow(_ response: HTTPClientResponse) throws(HTTPClientError) -> Bool {
        let status = response.status.rawValue
        guard [301, 302, 303, 307, 308].contains(status), options.redirectsMax > 0, request.authority == nil,
            let location = response.fields.values(of: "location").first
        else {
            return false
        }
        guard redirects < options.redirectsMax else {
            throw HTTPClientError(.redirectInvalid, "\(request.attempt): redirected more than \(options.redirectsMax) times, now to \(location)")
        }
        let url: HTTPURL
        do throws(HTTPClientError) { url = try request.url.resolved(location) } catch {
            throw HTTPClientError(.redirectInvalid, "\(request.attempt): redirected to where nothing is: \(error)")
        }
        // Of 301 and 302 every browser makes a GET of a POST, and 303 means that.
        let becomesGet = status == 303 && request.method != "HEAD" || status <= 302 && request.method == "POST"
        if becomesGet {
            request.method = "GET"
            request.body = .none
            request.contentType = nil
            for name in ["Content-Type", "Content-Encoding", "Content-Language", "Content-Location", "Content-Disposition", "Expect"] {
                request.fields.remove(name)
            }
        } else if !request.canSendAgain {
            return false
        }
        if url.origin != request.url.origin { dropCredentials() }
        request.url = url
        redirects += 1
        return true
    }

    /// Another origin has no business with what was meant for the first.
    private mutating func dropCredentials() {
        for name in ["Authorization", "Cookie", "Proxy-Authorization", "Host"] { request.fields.remove(name) }
        request.credentials = nil
        isElsewhere = true
    }

    // MARK: One exchange

    /// On one connection; on another, if one that was kept has gone.
    private mutating func exchange(by client: HTTPClient) async throws(HTTPClientError) -> HTTPClientResponse {
        attempts += 1
        while true {
            var timings = HTTPClientTimings()
            let lease = try await connection(of: client, &timings)
            let times = HTTPExchange.Times(
                answer: options.answerTimeout, silence: options.silenceTimeout, end: end, began: began, whole: options.timeout)
            let exchange = HTTPExchange(lease, attempt: request.attempt, times: times, timings: timings)
            do throws(HTTPClientError) {
                let taken = try await exchange.run(request, host: request.fields.value("host") ?? request.url.origin.authority, lines: lines())
                return response(taken, exchange)
            } catch {
                guard timings.isReused, error.isUnanswered, request.isRepeatable else { throw error }
            }
        }
    }

    private func response(_ taken: HTTPClientConnection.Taken, _ exchange: HTTPExchange) -> HTTPClientResponse {
        var fields = HTTPFields(taken.fields, ByteRange(0, taken.fields.count))
        if let jar = options.cookies { for field in fields.values(of: "set-cookie") { jar.take(field, from: request.url) } }
        let hasContent = request.method != "HEAD" && taken.status != 304
        let coding = fields["content-encoding"]?.lowercased()
        let isEncoded = options.decompresses && hasContent && (coding == "gzip" || coding == "x-gzip")
        // What they say is of the content as it came.
        if isEncoded {
            fields.remove("Content-Encoding")
            fields.remove("Content-Length")
        }
        let content = HTTPClientContent(exchange, attempt: request.attempt, isEncoded: isEncoded, ratioMax: options.compressionRatioMax)
        var response = HTTPClientResponse(
            status: HTTPStatus(received: taken.status ?? 0), fields: fields, url: request.url, body: HTTPClientBody(content: content))
        if taken.isTunnel { response.tunnel = exchange.tunnel }
        return response
    }

    /// A connection from the pool, or a fresh one.
    private func connection(of client: HTTPClient, _ timings: inout HTTPClientTimings) async throws(HTTPClientError) -> HTTPLease {
        let origin = request.url.origin, start = ContinuousClock.now
        let grant = await client.pool.take(origin, within: try left(of: options.waitTimeout))
        timings.waiting = .now - start
        let lease: HTTPLease
        switch grant {
        case .connection(let connection): lease = HTTPLease(connection, of: client.pool, origin)
        case .room:
            do throws(HTTPClientError) { lease = HTTPLease(try await connect(to: origin, for: client), of: client.pool, origin) } catch {
                client.pool.giveBack(nil, to: origin)
                throw error
            }
            let steps = lease.connection.stream.steps
            timings.resolving = steps?.resolution ?? .zero
            timings.connecting = steps?.connecting ?? .zero
            timings.securing = steps?.securing ?? .zero
        case .timedOut:
            throw HTTPClientError(
                .timedOut(.waiting), "\(request.attempt): all \(options.connectionsPerOrigin) connections were in use for \((.now - start).inWords)")
        case .cancelled: throw HTTPClientError(.cancelled, "\(request.attempt): cancelled")
        case .closed: throw HTTPClientError(.closed, "\(request.attempt): the client was closed")
        }
        timings.isReused = lease.connection.use()
        timings.peer = lease.connection.stream.peer
        timings.tls = lease.connection.stream.tls
        return lease
    }

    private func connect(to origin: HTTPURL.Origin, for client: HTTPClient) async throws(HTTPClientError) -> HTTPClientConnection {
        let connectTimeout = try left(of: options.connectTimeout), handshakeTimeout = try left(of: options.handshakeTimeout)
        do throws(NetError) {
            let socket = try await TCPSocket.connect(
                to: client.handlerPlace ?? origin.place, tls: origin.isSecure && client.handlerPlace == nil ? options.tls : nil, options: options.stream,
                timeout: connectTimeout,
                handshakeTimeout: handshakeTimeout)
            return HTTPClientConnection(socket, limits: options.limits)
        } catch {
            if error.kind == .timedOut { _ = try left(of: .zero) }
            throw HTTPClientError(error, connectingFor: request.attempt)
        }
    }

    /// A phase's time, cut by the whole's. Throws once that is over.
    private func left(of time: Duration) throws(HTTPClientError) -> Duration {
        guard let end else { return time }
        let left = end - .now
        guard left > .zero else {
            throw HTTPClientError(.timedOut(.whole), "\(request.attempt): not done within \((options.timeout ?? .zero).inWords)")
        }
        return min(time, left)
    }

    // MARK: Fields

    /// The request's field lines: its own first, then those of the client that it has not.
    private func lines() -> [UInt8] {
        var fields = request.fields
        fields.remove("Host")
        // A proxy that is asked for a tunnel has no business with what is meant for its end (RFC 9110 section 11.7).
        let isThrough = request.authority != nil, credentialsName = isThrough ? "Proxy-Authorization" : "Authorization"
        if !isThrough, let cookies = options.cookies?.field(for: request.url), !fields.has("cookie") { fields.add("Cookie", cookies) }
        if let credentials = request.credentials, fields[credentialsName] == nil { fields.add(credentialsName, credentials.field) }
        for (name, value) in options.fields.all where fields[name] == nil {
            if isElsewhere || isThrough, ["authorization", "cookie"].contains(name.lowercased()) { continue }
            if isElsewhere, name.lowercased() == "proxy-authorization" { continue }
            fields.add(name, value)
        }
        if let type = request.contentType, fields["content-type"] == nil { fields.put("Content-Type", "\(type.text)") }
        if !fields.has("accept") { fields.put("Accept", "*/*") }
        if options.decompresses, !fields.has("accept-encoding"), !fields.has("range") { fields.put("Accept-Encoding", "gzip") }
        if let agent = options.userAgent, !fields.has("user-agent") { fields.put("User-Agent", agent) }
        var buffer = ByteBuffer()
        fields.appendLines(to: &buffer)
        return buffer.span.array
    }
}

extension HTTPRetries {
    /// Retry-After: seconds, or a date (RFC 9110 section 10.2.3); nil for anything else.
    static func after(_ field: String) -> Duration? {
        if let seconds = Int64(field), seconds >= 0 { return .seconds(min(seconds, 1 << 31)) }
        return HTTPDate.seconds(field).map { .milliseconds(max(0, $0 * 1000 - cl_wall_ns() / 1_000_000)) }
    }
}

extension HTTPClientError {
    /// The same request may succeed in a moment.
    var isPassing: Bool {
        switch kind {
        case .timedOut(.connecting), .timedOut(.securing), .connectionLost: true
        case .unreachable: network.map { [.refused, .reset, .timedOut, .unreachable, .truncated].contains($0.kind) } ?? false
        default: false
        }
    }
}

extension HTTPStatus {
    /// Whatever three digits a server sent: one of 600 and above is read as what it is (RFC 9110 section 15).
    init(received value: UInt16) { rawValue = value }
}

extension HTTPFields {
    /// One that was a field already.
    mutating func add(_ name: String, _ value: String) { do { try append(name, value) } catch {} }
}
