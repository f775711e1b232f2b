/// Peers that take turns: PUSH, DEALER and REQ send round-robin, everybody receives fair-queued (RFC 28, 30). Those that cannot now (a queue is full, or
/// empty) sit out without losing their place among the others, and a message of several frames stays with one.
/// ```
/// peers   a b c | d e      the first `active` take turns
///           ^ turn
/// ```
/// Each call takes the same time for any number of peers. Not here: why one cannot.
public struct ZMTPRotation: Sendable {
    private var peers: [UInt32] = []
    private var positions: [UInt32: Int] = [:]
    private var active = 0
    private var turn = 0
    private var isInMessage = false

    public init() {}

    public var count: Int { peers.count }
    public var activeCount: Int { active }

    /// A peer has come, and can: its turn is after all others'.
    public mutating func insert(_ peer: UInt32) {
        precondition(positions[peer] == nil, "a peer that is there")
        positions[peer] = peers.count
        peers.append(peer)
        activate(peer)
    }

    /// A peer has gone. What it began is not ended: the next frame is another message's.
    public mutating func remove(_ peer: UInt32) {
        guard let position = positions[peer] else { return }
        if position < active { deactivate(peer) }
        if let position = positions[peer] { swap(position, peers.count - 1) }
        peers.removeLast()
        positions[peer] = nil
    }

    /// It can again.
    public mutating func activate(_ peer: UInt32) {
        guard let position = positions[peer], position >= active else { return }
        swap(position, active)
        active += 1
    }

    /// It cannot now.
    public mutating func deactivate(_ peer: UInt32) {
        guard let position = positions[peer], position < active else { return }
        if position == turn { isInMessage = false }
        // Those behind it move up, so that the order stays: at most as far as the turn.
        active -= 1
        if position < turn {
            swap(position, turn - 1)
            swap(turn - 1, active)
            turn -= 1
        } else {
            swap(position, active)
        }
        if turn >= active { turn = 0 }
    }

    /// Whose turn it is; nil when nobody can.
    public var next: UInt32? { active == 0 ? nil : peers[turn] }

    /// A frame went to, or came from, `next`. With its message's last the turn goes on.
    public mutating func advance(more: Bool) {
        guard active > 0 else { return }
        isInMessage = more
        if !more { turn = turn + 1 == active ? 0 : turn + 1 }
    }

    /// Whether `next` has the rest of a message to take or give.
    public var holdsTurn: Bool { isInMessage }

    private mutating func swap(_ a: Int, _ b: Int) {
        guard a != b else { return }
        peers.swapAt(a, b)
        positions[peers[a]] = a
        positions[peers[b]] = b
    }
}
