internal import MartletBytes
internal import MartletEventLoop

/// A socket for plain blocking calls: each returns when it is done, and the calling thread waits meanwhile.
/// ```swift
/// let socket = ZMQBlockingSocket(.rep)
/// try socket.bind("tcp://*:5555")
/// while true {
///     let request = try socket.nextRequest()
///     try request.reply("pong")
/// }
/// ```
/// For threads of the system's own (`main`, pthreads), **never** inside of a task: Swift's cooperative pool has a thread for each processor, and a call
/// that waits keeps one of them. Any number of threads may use it, unlike a libzmq socket; of those that receive each gets other messages. A call waits
/// where a `ZMQSocket`'s would, and takes what has come in batches as that does. `close` from another thread ends every wait with `closed`.
public final class ZMQBlockingSocket<Pattern: ZMQPattern>: Sendable {
    /// The same socket, for tasks.
    public let socket: ZMQSocket<Pattern>

    /// Neither bound nor connected. Closed by `close`, or with its last owner.
    public init(_ pattern: Pattern, options: ZMQSocketOptions = ZMQSocketOptions()) { socket = ZMQSocket(pattern, options: options) }

    /// Uses a socket that is there.
    public init(_ socket: ZMQSocket<Pattern>) { self.socket = socket }

    /// Waits for peers at an endpoint (`ZMQEndpoint`). Answers where it really is. Throws `endpointInvalid`, `bindFailed`, `nameInUse`, `closed`.
    @discardableResult public func bind(_ text: String) throws(ZMQError) -> ZMQEndpoint {
        try block { [socket] () async throws(ZMQError) in try await socket.bind(text) }
    }

    /// Connects to an endpoint, now or as soon as somebody is there, and again when the connection is lost. Throws `endpointInvalid`, `typesDoNotFit`, `closed`.
    public func connect(_ text: String) throws(ZMQError) { try socket.connect(text) }

    /// Takes nobody in at an endpoint any more; peers that are there stay. Throws `noSuchEndpoint`.
    public func unbind(_ text: String) throws(ZMQError) { try block { [socket] () async throws(ZMQError) in try await socket.unbind(text) } }

    /// Ends a connection that `connect` made, once what was sent has left. Throws `noSuchEndpoint`.
    public func disconnect(_ text: String) throws(ZMQError) { try block { [socket] () async throws(ZMQError) in try await socket.disconnect(text) } }

    /// Lets what was sent leave, for `ZMQSocketOptions.linger` at most, and ends all connections. Calls of other threads that wait throw `closed`.
    public func close() {
        let done = Once<Void>()
        socket.core.beginClosing { done.resume(returning: ()) }
        done.wait(blockingUntil: .never)
    }

    /// Where it is bound, in order, with what the system chose.
    public var boundEndpoints: [ZMQEndpoint] { socket.boundEndpoints }
    /// What happened so far.
    public var counters: ZMQCounters { socket.counters }

    /// For what is no message's way: a task does it, and this thread waits.
    private func block<Value: Sendable>(_ body: @escaping @Sendable () async throws(ZMQError) -> Value) throws(ZMQError) -> Value {
        let once = Once<Result<Value, ZMQError>>()
        Task.detached {
            do throws(ZMQError) { once.resume(returning: .success(try await body())) } catch { once.resume(returning: .failure(error)) }
        }
        guard let result = once.wait(blockingUntil: .never) else { throw .closed }
        return try result.get()
    }
}

extension ZMQBlockingSocket where Pattern: ZMQSender {
    /// Sends a message: returns once it is the socket's, and waits while nobody who may get it has room, as `ZMQSocket.send`.
    /// Throws `closed`, `timedOut` after `timeout`, and a mandatory ROUTER `noPeer`.
    public func send(_ message: ZMQMessage, timeout: Duration? = nil) throws(ZMQError) {
        if try socket.trySend(message) { return }
        try socket.core.sendBlocking(message, until: socket.core.deadline(timeout))
    }

    /// A message of one frame of UTF-8.
    public func send(_ text: String) throws(ZMQError) { try send(ZMQMessage(text)) }

    /// Sends without waiting; false where `send` would wait. Throws as `send` does.
    public func trySend(_ message: ZMQMessage) throws(ZMQError) -> Bool { try socket.trySend(message) }
}

extension ZMQBlockingSocket where Pattern: ZMQReceiver {
    /// The next message, of each peer that has one in turn. Throws `closed` once none can come, `timedOut` after `timeout`.
    public func receive(timeout: Duration? = nil) throws(ZMQError) -> ZMQMessage {
        if let message = socket.tryReceive() { return message }
        return try socket.core.receiveBlocking(until: socket.core.deadline(timeout)).0
    }

    /// The next message if there is one.
    public func tryReceive() -> ZMQMessage? { socket.tryReceive() }
}

extension ZMQBlockingSocket where Pattern: ZMQSubscriber {
    /// Wants what begins with `prefix`, in UTF-8, of all publishers; the empty prefix is everything.
    public func subscribe(to prefix: String) { socket.subscribe(to: prefix) }

    /// Takes one subscription back; nothing happens if there is none.
    public func unsubscribe(from prefix: String) { socket.unsubscribe(from: prefix) }
}

extension ZMQBlockingSocket where Pattern == ZMQReq {
    /// Sends a request to one of the peers, in turn, and waits for its reply. A request that is given up is over: call this again.
    /// Throws `requestUnderWay` where another thread's is, `peerLost`, `timedOut` after `timeout`, `closed`.
    public func request(_ message: ZMQMessage, timeout: Duration? = nil) throws(ZMQError) -> ZMQMessage {
        try socket.core.requestBlocking(message, until: socket.core.deadline(timeout))
    }
}

extension ZMQBlockingSocket where Pattern == ZMQRep {
    /// The next request, of each peer that has one in turn. Throws `closed`, `timedOut` after `timeout`.
    public func nextRequest(timeout: Duration? = nil) throws(ZMQError) -> ZMQBlockingRequest {
        let core = socket.core, deadline = core.deadline(timeout)
        while true {
            let (message, peer) = try core.receiveBlocking(until: deadline)
            if let request = core.asRequest(message, peer) { return ZMQBlockingRequest(request) }
        }
    }
}

/// A request that was taken by a blocking call, to be answered once, from any thread. One that is dropped stays unanswered.
public struct ZMQBlockingRequest: ~Copyable, Sendable {
    private let request: ZMQRequest

    init(_ request: consuming ZMQRequest) { self.request = request }

    /// What was asked, without its envelope.
    public var message: ZMQMessage { request.message }

    /// Answers it. A peer that has gone meanwhile does not get it (`ZMQCounters.droppedUnroutable`). Throws `closed`, `timedOut` after `timeout`.
    public consuming func reply(_ reply: ZMQMessage, timeout: Duration? = nil) throws(ZMQError) {
        try request.core.replyBlocking(reply, request.envelope, to: request.peer, until: request.core.deadline(timeout))
    }
}

/// What tasks' calls do, by a thread that waits on the same boxes.
extension SocketCore {
    func sendBlocking(_ message: ZMQMessage, until deadline: Instant) throws(ZMQError) {
        while true {
            switch try offer(message) {
            case .sent, .dropped: return
            case .noPeer: throw .noPeer(routingID: message[0])
            case .full: try block(on: roomToCome(for: type == .router ? .route(message[0]) : .any), until: deadline)
            }
        }
    }

    func replyBlocking(_ reply: ZMQMessage, _ envelope: ZMQMessage, to peer: PeerName, until deadline: Instant) throws(ZMQError) {
        while try commit(reply, envelope, from: 0, { $0.state.reply(reply, envelope, to: peer) }) == .full {
            try block(on: roomToCome(for: .peer(peer)), until: deadline)
        }
    }

    func receiveBlocking(until deadline: Instant) throws(ZMQError) -> (ZMQMessage, PeerName) {
        while true {
            switch take() {
            case .message(let message, let peer): return (message, peer)
            case .closed: throw .closed
            case .nothing: try block(on: messageToCome(), until: deadline)
            }
        }
    }

    func requestBlocking(_ message: ZMQMessage, until deadline: Instant) throws(ZMQError) -> ZMQMessage {
        let prefix = try beginAsking()
        do throws(ZMQError) {
            while try !ask(message, prefix) { try block(on: roomToCome(for: .any), until: deadline) }
            while true {
                if let reply = try takeReply(behind: prefix) { return reply }
                try block(on: messageToCome(), until: deadline)
            }
        } catch {
            if let asked = giveUp() {
                let dropped = Once<Void>()
                onLoop { host in
                    host.drop(asked)
                    dropped.resume(returning: ())
                }
                dropped.wait(blockingUntil: .never)
            }
            endAsking()
            throw error
        }
    }

    private func block(on once: Once<Void>?, until deadline: Instant) throws(ZMQError) {
        guard let once else { return }
        if once.wait(blockingUntil: deadline) == nil {
            forget(once)
            throw .timedOut
        }
    }
}
