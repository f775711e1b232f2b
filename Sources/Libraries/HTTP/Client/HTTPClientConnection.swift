internal import MartletBytes
internal import MartletSockets
internal import Synchronization

/// One connection to an origin: the socket, and the machine between its bytes and exchanges.
///
/// One task at a time reads; another may write the request's content beside it. Not here: times, and who may use it when (`HTTPClientPool`).
final class HTTPClientConnection: Sendable {
    /// What had come of a response.
    struct Taken: Sendable {
        var status: UInt16?
        var fields: [UInt8] = []
        var content: [UInt8] = []
        var hasEnded = false
        /// The connection is in another protocol, and `makeTunnel` has it.
        var isTunnel = false
        /// The server has said 100.
        var wantsContent = false
        var isEmpty: Bool { status == nil && content.isEmpty && !hasEnded }
    }
    private struct State: ~Copyable {
        var machine: HTTPClientMachine
        /// Bytes that the machine has not used.
        var unread: [UInt8] = []
        var hasHeard = false
    }
    private let socket: TCPSocket
    let stream: StreamConnection
    private let state: Mutex<State>
    private let uses = Atomic(0)

    init(_ socket: consuming TCPSocket, limits: HTTPLimits) {
        stream = socket.connection
        self.socket = socket
        state = Mutex(State(machine: HTTPClientMachine(limits: limits, now: stream.now)))
    }

    /// Counts exchanges: it was used before.
    func use() -> Bool { uses.wrappingAdd(1, ordering: .relaxed).oldValue > 0 }

    /// It can carry another exchange.
    var isFree: Bool { state.withLock { $0.machine.isIdle && $0.unread.isEmpty } && stream.isQuiet }

    // MARK: The request

    /// The bytes of a request's head, and of its content, if that is given.
    func begin(
        _ method: String, _ target: String, host: String, lines: [UInt8], content: HTTPContentLength, body: [UInt8]?
    ) throws(HTTPMisuse) -> [UInt8] {
        let method = Array(method.utf8), target = Array(target.utf8), host = Array(host.utf8)
        return try state.withLock { (state) throws(HTTPMisuse) -> [UInt8] in
            var output = ByteBuffer()
            state.hasHeard = false
            try state.machine.begin(method: method.span, target: target.span, host: host.span, fields: lines.span, content: content, into: &output)
            if let body {
                if !body.isEmpty { try state.machine.append(body.span, into: &output) }
                try state.machine.end(into: &output)
            }
            return output.span.array
        }
    }

    func append(_ content: [UInt8]) throws(HTTPMisuse) -> [UInt8] {
        try state.withLock { (state) throws(HTTPMisuse) -> [UInt8] in
            var output = ByteBuffer()
            try state.machine.append(content.span, into: &output)
            return output.span.array
        }
    }

    func end() throws(HTTPMisuse) -> [UInt8] {
        try state.withLock { (state) throws(HTTPMisuse) -> [UInt8] in
            var output = ByteBuffer()
            try state.machine.end(into: &output)
            return output.span.array
        }
    }

    var isRequesting: Bool { state.withLock { $0.machine.isRequesting } }

    // MARK: The response

    /// When the response's head has taken too long.
    var deadline: Instant { state.withLock { $0.machine.deadline } }

    /// A byte of the response has come.
    var hasHeard: Bool { state.withLock { $0.hasHeard } }

    /// What came was 100 alone.
    func forgetHeard() { state.withLock { $0.hasHeard = false } }

    func wake() throws(HTTPViolation) {
        let now = stream.now
        try state.withLock { (state) throws(HTTPViolation) in
            var output = ByteBuffer()
            try state.machine.wake(at: now, into: &output)
        }
    }

    /// What the machine makes of these bytes and those that it has not used, up to the response's end.
    func take(_ bytes: [UInt8]) throws(HTTPViolation) -> Taken {
        let now = stream.now
        return try state.withLock { (state) throws(HTTPViolation) -> Taken in
            if !bytes.isEmpty { state.hasHeard = true }
            let unread = state.unread.isEmpty ? bytes : state.unread + bytes
            state.machine.heard(at: now)
            return try Self.take(unread, &state)
        }
    }

    /// The server sends no more.
    func takeEnd() throws(HTTPViolation) -> Taken {
        let now = stream.now
        return try state.withLock { (state) throws(HTTPViolation) -> Taken in
            var output = ByteBuffer()
            try state.machine.receiveEnd(at: now, into: &output)
            return try Self.take(state.unread, &state)
        }
    }

    /// The connection in the protocol that it has gone over to.
    func makeTunnel() -> HTTPTunnel {
        let read = state.withLock { state -> [UInt8] in
            defer { state.unread = [] }
            return state.unread
        }
        stream.putBack(read)
        return HTTPTunnel(stream, holder: self)
    }

    private static func take(_ bytes: [UInt8], _ state: inout State) throws(HTTPViolation) -> Taken {
        var taken = Taken(), output = ByteBuffer()
        let span = bytes.span
        var input = ByteReader(span)
        while !taken.hasEnded, let event = try state.machine.nextEvent(from: &input, into: &output) {
            switch event {
            case .information(let head): if head.status == 100 { taken.wantsContent = true }
            case .response(let head):
                taken.status = head.status
                taken.fields = span.at(head.fields).array
                (taken.isTunnel, taken.hasEnded) = (state.machine.isTunnel, state.machine.isTunnel)
            case .body(let range): taken.content += span.at(range).array
            case .end: taken.hasEnded = true
            case .tunnel: throw .switching
            }
        }
        let used = input.offset
        state.unread = used == bytes.count ? [] : Array(bytes[used...])
        return taken
    }
}
