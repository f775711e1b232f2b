import CLinux
import MartletBytes
import MartletDriver
import MartletEventLoop
import MartletHTTP

/// `martlet bench http`: its clients.
enum HTTPBench {
    static func run(_ options: HTTPBenchOptions) -> Int32 {
        StreamBench.run(options.load) { opened, index in HTTPBenchClient(options, opened, index: index) }
    }
}

/// One of the connections that were asked for. It outlives its socket, which a server may end after any answer: what was not answered then is
/// sent again on the next.
///
/// Invariant: requests are answered in their order, so that two counters say which are under way.
final class HTTPBenchClient: EchoBenchClient {
    private let options: HTTPBenchOptions
    private let peer: Place
    private let context: TLSContext?
    private var pace: EchoBenchPace
    private var answered: UInt64 = 0
    /// Nil between two.
    private var connection: HTTPBenchConnection?
    private var wasReady = false
    private var isOver = false

    init(_ options: HTTPBenchOptions, _ opened: StreamBench.Opened, index: Int) {
        self.options = options
        (peer, context) = (opened.peer, opened.context)
        pace = EchoBenchPace(options.load, index: index)
        use(opened.transport, on: opened.loop)
        if context == nil { ready(opened.tenant) }
    }

    var isRated: Bool { pace.interval > 0 }
    private var hasRoom: Bool { underWay < UInt64(options.load.depth) }
    /// Requests without an answer.
    var underWay: UInt64 { pace.sequence - answered }

    // MARK: Connections

    private func use(_ transport: Transport, on loop: EventLoop) {
        let connection = HTTPBenchConnection(self, options, now: loop.now)
        self.connection = connection
        guard loop.add(connection, transport) != nil else { return self.connection = nil }
        connection.write(underWay, on: loop)
        if isRated { loop.schedule(connection) }
    }

    func ready(_ tenant: EchoBenchLoop) {
        if !wasReady { tenant.counts.readyCount += 1 }
        wasReady = true
    }

    /// Its connection is gone: in good order (nil), or for a reason that is an error if something was under way.
    func lost(_ reason: String?, on loop: EventLoop) {
        connection = nil
        guard !isOver, let tenant = EchoBenchLoop.on(loop) else { return }
        if let reason, underWay > 0 || !wasReady { tenant.counts.failed(reason, isUnreachable: !wasReady) }
        guard wasReady, underWay > 0 || tenant.isSending else { return }
        loop.execute { [bound = LoopBound(self, on: loop)] in bound().connect(on: $0) }
    }

    private func connect(on loop: EventLoop) {
        Dialer(to: peer, timeout: .seconds(10), on: loop) { [self] result in
            switch result {
            case .success(let outcome):
                if isOver { return loop.discard(outcome.descriptor) }
                use(Transport(descriptor: outcome.descriptor, layer: context?.makeLayer(serverName: options.load.place.host)), on: loop)
            case .failure(let error): if !isOver { EchoBenchLoop.on(loop)?.counts.failed("\(error)") }
            }
        }
    }

    /// There is no use in trying again.
    func giveUp(_ reason: String, on loop: EventLoop) {
        isOver = true
        EchoBenchLoop.on(loop)?.counts.failed(reason)
    }

    func close(on loop: EventLoop) {
        isOver = true
        if let connection, connection.slot != 0 { loop.close(connection, .finished) }
    }

    // MARK: Requests

    func startSending(at now: Int64, on loop: EventLoop) {
        pace.start(at: now)
        if isRated {
            if let connection, connection.slot != 0 { loop.schedule(connection) }
        } else if let tenant = EchoBenchLoop.on(loop) {
            fill(tenant, due: now, on: loop)
        }
    }

    /// As many as `depth` allows.
    func fill(_ tenant: EchoBenchLoop, due: Int64, on loop: EventLoop) {
        var count: UInt64 = 0
        while pace.left > 0, hasRoom {
            _ = pace.sent(due: due)
            count += 1
        }
        send(count, tenant, on: loop)
    }

    func sendDue(on loop: EventLoop) -> Int64 {
        guard let tenant = EchoBenchLoop.on(loop) else { return .max }
        let now = cl_monotonic_ns()
        var count: UInt64 = 0
        while hasRoom, pace.nextDue <= now {
            _ = pace.sent(due: pace.nextDue)
            count += 1
        }
        send(count, tenant, on: loop)
        return hasRoom ? pace.nextDue : .max
    }

    private func send(_ count: UInt64, _ tenant: EchoBenchLoop, on loop: EventLoop) {
        guard count > 0 else { return }
        tenant.counts.sent &+= count
        tenant.counts.sentInAll &+= count
        connection?.write(count, on: loop)
    }

    /// When a rate wants its next request.
    var deadline: Instant {
        guard isRated, hasRoom, pace.nextDue != .max else { return .never }
        return Instant(nanoseconds: pace.nextDue - EchoBenchLoop.clockStep)
    }

    /// The oldest request has its answer; answers when it was due.
    func answer() -> Int64 {
        defer { answered += 1 }
        return pace.due(answered)
    }
}

/// A socket of an `HTTPBenchClient`, and the machine that reads answers from it.
final class HTTPBenchConnection: Channel {
    private let client: HTTPBenchClient
    private let request: [UInt8]
    private let method: HTTPMethod
    private var machine: HTTPClientMachine
    private var status = 0
    /// There is no TLS, or its handshake is done.
    private var isOpen: Bool

    init(_ client: HTTPBenchClient, _ options: HTTPBenchOptions, now: Instant) {
        self.client = client
        (request, method) = (options.request, options.method)
        machine = HTTPClientMachine(now: now)
        isOpen = options.load.tls == nil
    }

    override var deadline: Instant { client.deadline }

    /// So many requests, of those that are the client's under way.
    func write(_ count: UInt64, on loop: EventLoop) {
        guard slot != 0, count > 0 else { return }
        loop.willWrite(slot)
        let request = request
        for _ in 0..<count { loop[output: slot].append(request.span) }
        if machine.isIdle { Self.expect(method, &machine) }
    }

    /// A connection that ends accepts none: the client then sends it again elsewhere.
    private static func expect(_ method: HTTPMethod, _ machine: inout HTTPClientMachine) { try? machine.expectResponse(to: method) }

    override func secured(on loop: EventLoop) {
        isOpen = true
        guard let tenant = EchoBenchLoop.on(loop) else { return }
        client.ready(tenant)
        tenant.counts.security = tenant.counts.security ?? loop.tlsSession(of: slot).map { "\($0.version), \($0.cipher)" }
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = EchoBenchLoop.on(loop) else { return bytes.count }
        let now = cl_monotonic_ns(), client = client, method = method
        var answers: UInt64 = 0, content: UInt64 = 0, used = bytes.count
        // Taken out for the read: a class's fields are checked at each use.
        var latency = LatencyHistogram.none, status = status
        swap(&latency, &tenant.counts.latency)
        let isMeasuring = tenant.isMeasuring
        var violation: HTTPViolation?
        do throws(HTTPViolation) {
            used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in
                switch event {
                case .response(let head): status = Int(head.status)
                case .body(let range): content += UInt64(range.count)
                case .end:
                    answers += 1
                    tenant.counts.statuses[min(status / 100, 5)] &+= 1
                    let due = client.answer()
                    if isMeasuring { latency.add(nanoseconds: now &- due) }
                    if machine.isIdle, client.underWay > 0 { Self.expect(method, &machine) }
                case .information, .tunnel: break
                }
                return true
            }
        } catch { violation = error }
        self.status = status
        swap(&latency, &tenant.counts.latency)
        tenant.counts.received &+= answers
        tenant.counts.receivedInAll &+= answers
        tenant.counts.bytes &+= content
        if let violation {
            client.giveUp("the server broke the protocol: \(violation)", on: loop)
            loop.close(self, .finished)
            return bytes.count
        }
        if tenant.isSending, !client.isRated { client.fill(tenant, due: now, on: loop) }
        guard machine.isClosed else { return used }
        loop.close(self, .finished)
        return bytes.count
    }

    /// Content may end with the connection.
    override func receiveEnd(on loop: EventLoop) {
        do throws(HTTPViolation) { try machine.receiveEnd(at: loop.now, into: &loop[output: slot]) } catch { return loop.close(self, .ended) }
        _ = receive([UInt8]().span, on: loop)
        if slot != 0 { loop.close(self, .ended) }
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        if case .layerFailed(let failure) = reason, !isOpen { return client.lost("no TLS: \(failure)", on: loop) }
        client.lost(reason == .finished ? nil : "a connection was lost: \(reason)", on: loop)
    }
}
