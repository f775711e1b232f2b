internal import MartletBytes
internal import Synchronization

/// What a RADIO sends to and a DISH joins: at most 255 bytes, none of them 0 (RFC 48). It is matched whole.
public struct ZMQGroup: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The frame in front of its messages.
    let frame: ZMQMessage

    /// Throws `groupInvalid`.
    public init(_ bytes: [UInt8]) throws(ZMQError) {
        guard bytes.count <= 255, !bytes.contains(0) else { throw .groupInvalid }
        frame = ZMQMessage(bytes)
    }

    /// A name of UTF-8. Throws `groupInvalid`.
    public init(_ name: String) throws(ZMQError) { try self.init(Array(name.utf8)) }

    /// Traps where `init(_:)` throws.
    public init(stringLiteral name: String) {
        guard let group = try? ZMQGroup(name) else { preconditionFailure("\(name.debugDescription) is no group") }
        self = group
    }

    /// Of bytes that are known to be one.
    init(joined bytes: [UInt8]) { frame = ZMQMessage(bytes) }

    public var bytes: [UInt8] { frame.bytes }
    public var description: String { frame.text }
}

/// What a RADIO sent to a group.
public struct ZMQGroupMessage: Sendable, Hashable {
    public let group: ZMQGroup
    public let body: [UInt8]

    public init(group: ZMQGroup, body: [UInt8]) {
        self.group = group
        self.body = body
    }

    /// Of two frames, the first of them a group that was joined.
    init(_ message: ZMQMessage) { self.init(group: ZMQGroup(joined: message[0]), body: message[1]) }

    /// The body as text, repaired where it is not UTF-8.
    public var text: String { String(decoding: body, as: UTF8.self) }
}

extension ZMQSocket where Pattern == ZMQRadio {
    /// Sends to every DISH that has joined the group; one above the high-water mark goes without, and is counted (`counters`). It waits for the socket's
    /// own loop alone. Throws `closed`, `cancelled`.
    public func send(_ body: [UInt8], to group: ZMQGroup) async throws(ZMQError) {
        let message = ZMQMessage(body)
        while try core.offer(message, group.frame) == .full { try await core.waitForRoom(until: .never) }
    }

    /// Sends UTF-8 to every DISH that has joined the group.
    public func send(_ text: String, to group: ZMQGroup) async throws(ZMQError) { try await send(Array(text.utf8), to: group) }

    /// Sends without waiting; false where `send` would wait. Throws `closed`.
    public func trySend(_ body: [UInt8], to group: ZMQGroup) throws(ZMQError) -> Bool { try core.offer(ZMQMessage(body), group.frame) != .full }

    /// Groups that peers have joined, each as often as there are peers in it.
    public var memberCount: Int { core.shared.withLock { $0.state.subscriptions.count } }
}

extension ZMQSocket where Pattern == ZMQDish {
    /// Wants the messages to a group, of all radios, now and later. Answers false if it did already.
    @discardableResult public func join(_ group: ZMQGroup) -> Bool { core.subscribe(to: group.bytes, isOn: true) }

    /// Does not want them any more. Answers false if it did not.
    @discardableResult public func leave(_ group: ZMQGroup) -> Bool { core.subscribe(to: group.bytes, isOn: false) }

    /// The next message to a group that was joined, of each radio that has one in turn.
    /// Throws `closed` once none can come, `cancelled`, `timedOut` after `timeout`.
    public func receive(timeout: Duration? = nil) async throws(ZMQError) -> ZMQGroupMessage {
        ZMQGroupMessage(try await core.receive(until: core.deadline(timeout)).0)
    }

    /// The next message if there is one.
    public func tryReceive() -> ZMQGroupMessage? {
        if case .message(let message, _) = core.take() { return ZMQGroupMessage(message) }
        return nil
    }

    /// Messages until the socket is closed. Not iterating is back-pressure, but over udp.
    public var messages: some AsyncSequence<ZMQGroupMessage, ZMQError> & Sendable { Arrivals(core: core).map { ZMQGroupMessage($0.0) } }
}
