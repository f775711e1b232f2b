internal import MartletBytes
internal import MartletDeflate
internal import MartletEventLoop

/// What a server's connections on one loop share: workers, the lines that every response has, how many requests are under way.
final class HTTPServerLoop {
    let server: HTTPServerState
    let loop: EventLoop
    var idle: [HTTPWorker] = []
    /// By their requests' numbers.
    var tunnels: [UInt64: HTTPServerTunnel] = [:]
    /// Workers that are done go, instead of waiting for the next request.
    private(set) var isEnding = false
    /// What happened so far; behind a pointer, as each response counts.
    let seen = Pinned(HTTPServerCounters())
    private var requestCount: UInt64 = 0
    private var underWay = 0
    private let requestsMax: Int
    /// The lines of the response that is being written, behind those that all have.
    let lines = Pinned(ByteBuffer())
    private var prefixCount = 0
    private var prefixEnds = Instant(nanoseconds: .min)
    private let deflater = Pinned<Deflater?>(nil)
    let log: HTTPAccessLog?

    init(_ server: HTTPServerState, _ log: HTTPAccessLog?, on loop: EventLoop) {
        self.server = server
        self.loop = loop
        self.log = log
        requestsMax = max(1, server.options.requestsMax / max(1, server.options.loops))
    }

    // MARK: Connections

    func take(_ transport: Transport, from peer: SocketAddress) {
        guard server.admit() else {
            seen.value.connectionsRefused += 1
            return loop.discard(transport.descriptor)
        }
        let channel = HTTPServerChannel(self, isSecured: transport.layer == nil, now: loop.now)
        channel.connection = HTTPServerConnection(channel, peer: peer, on: loop, of: server)
        guard loop.add(channel, transport) != nil else {
            channel.connection = nil
            seen.value.connectionsRefused += 1
            return server.leave()
        }
        seen.value.connectionsTaken += 1
        seen.value.connections += 1
    }

    func left() {
        seen.value.connections -= 1
        server.leave()
    }

    private var channels: [HTTPServerChannel] { loop.channels(of: HTTPServerChannel.self).filter { $0.home === self } }

    /// No further request is taken.
    func stop() {
        isEnding = true
        for channel in channels { channel.stop(on: loop) }
        for successor in successors { successor.stop(on: loop) }
        for worker in idle { worker.dismiss() }
        idle = []
    }

    /// The time is over for those that are left.
    func end() {
        stop()
        for channel in channels { channel.abort(on: loop) }
        for successor in successors { loop.abort(successor, .stopping) }
        for tunnel in tunnels.values { tunnel.end() }
    }

    // MARK: Requests

    func nextNumber() -> UInt64 {
        requestCount &+= 1
        return requestCount
    }

    /// False: too many are under way.
    func admitRequest() -> Bool {
        guard underWay < requestsMax else { return false }
        underWay += 1
        return true
    }

    func requestEnded() { underWay -= 1 }

    func worker() -> HTTPWorker { idle.popLast() ?? HTTPWorker(self) }

    // MARK: Lines

    /// Makes `lines` those that every response has: Date is written once a second.
    @inline(__always) func beginLines() {
        if loop.now >= prefixEnds { renewPrefix() }
        lines.value.retract(lines.value.count - prefixCount)
    }

    private func renewPrefix() {
        let wall = loop.wallTime()
        lines.value.removeAll()
        lines.value.append(utf8: "Date: \(HTTPDate.text(wall))\r\n")
        if let name = server.options.serverName { lines.value.append(utf8: "Server: \(name)\r\n") }
        prefixCount = lines.value.count
        prefixEnds = loop.now + .milliseconds(1000 - wall.milliseconds % 1000)
    }

    /// The bytes as gzip; nil if there is no memory.
    func compress(_ bytes: [UInt8]) -> [UInt8]? {
        if deflater.value == nil { deflater.value = Deflater(.gzip) }
        var output = ByteBuffer()
        guard deflater.value != nil else { return nil }
        deflater.value?.append(bytes.span, .finish, into: &output)
        deflater.value?.reset()
        return output.span.array
    }
}
