internal import MartletBytes
internal import Synchronization

/// What a SERVER calls one of its clients: a number that is not 0, its own choice, and no other client's while this one is there (RFC 41).
public struct ZMQClientID: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public var description: String { "\(rawValue)" }
}

/// What a client said.
public struct ZMQClientMessage: Sendable, Hashable {
    /// Whom to answer.
    public let client: ZMQClientID
    public let body: [UInt8]

    public init(client: ZMQClientID, body: [UInt8]) {
        self.client = client
        self.body = body
    }

    init(_ message: ZMQMessage, from peer: PeerName) { self.init(client: ZMQClientID(rawValue: peer.serial), body: message.bytes) }

    /// The body as text, repaired where it is not UTF-8.
    public var text: String { String(decoding: body, as: UTF8.self) }
}

extension ZMQSocket where Pattern == ZMQServer {
    /// Sends to one client: returns once the message is the socket's, and waits while that client is above the high-water mark.
    /// Throws `noClient`, `closed`, `cancelled`, `timedOut` after `timeout`.
    public func send(_ body: [UInt8], to client: ZMQClientID, timeout: Duration? = nil) async throws(ZMQError) {
        if try trySend(body, to: client) { return }
        try await core.send(ZMQMessage(body), to: client, until: core.deadline(timeout))
    }

    /// Sends UTF-8 to one client.
    public func send(_ text: String, to client: ZMQClientID) async throws(ZMQError) { try await send(Array(text.utf8), to: client) }

    /// Sends without waiting; false where `send` would wait. Throws as `send` does.
    public func trySend(_ body: [UInt8], to client: ZMQClientID) throws(ZMQError) -> Bool {
        switch try core.offer(ZMQMessage(body), to: client) {
        case .sent, .dropped: return true
        case .full: return false
        case .noPeer: throw .noClient(client)
        }
    }

    /// The next message, of each client that has one in turn. Messages of several frames are none here: they are dropped, and counted (RFC 41).
    /// Throws `closed` once none can come, `cancelled`, `timedOut` after `timeout`.
    public func receive(timeout: Duration? = nil) async throws(ZMQError) -> ZMQClientMessage {
        let (message, peer) = try await core.receive(until: core.deadline(timeout))
        return ZMQClientMessage(message, from: peer)
    }

    /// The next message if there is one.
    public func tryReceive() -> ZMQClientMessage? {
        if case .message(let message, let peer) = core.take() { return ZMQClientMessage(message, from: peer) }
        return nil
    }

    /// Messages until the socket is closed. Not iterating is back-pressure: above the high-water mark the clients have to wait.
    public var messages: some AsyncSequence<ZMQClientMessage, ZMQError> & Sendable { Arrivals(core: core).map { ZMQClientMessage($0.0, from: $0.1) } }

    /// Ends a client's connection; it may come again, under another number. Throws `noClient`.
    public func disconnect(_ client: ZMQClientID) async throws(ZMQError) {
        guard let peer = core.shared.withLock({ $0.state.peer(of: client) }) else { throw .noClient(client) }
        await core.drop(peer)
    }
}

extension SocketCore {
    func offer(_ message: ZMQMessage, to client: ZMQClientID) throws(ZMQError) -> SocketState.Outcome {
        try commit(message, nil, from: 0) { $0.state.send(message, to: client) }
    }

    func send(_ message: ZMQMessage, to client: ZMQClientID, until deadline: Instant) async throws(ZMQError) {
        while true {
            switch try offer(message, to: client) {
            case .sent, .dropped: return
            case .noPeer: throw .noClient(client)
            case .full: try await waitForRoom(for: .client(client), until: deadline)
            }
        }
    }
}

extension SocketState {
    func peer(of client: ZMQClientID) -> PeerName? { clients[client].map { name($0) } }

    /// SERVER: never dropped (RFC 41).
    mutating func send(_ message: ZMQMessage, to client: ZMQClientID) -> Outcome {
        guard let index = clients[client], peers[index].canTake else { return .noPeer }
        guard hasRoom(index), !isLoopBehind else { return .full }
        give(message, nil, from: 0, to: index)
        return .sent
    }
}
