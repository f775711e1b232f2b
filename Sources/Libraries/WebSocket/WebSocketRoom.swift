internal import MartletBytes
internal import MartletEventLoop
public import MartletWebSocketProtocol
internal import Synchronization

/// Whom a message goes to that all are to have: it is framed, masked by nobody and deflated once, whatever the number of members.
///
/// Members may be on any loops, and the room be used from any thread. The messages of one thread come to each member in its order; who leaves before a
/// message is sent does not get it. A member is in one room once; when its connection ends it leaves by itself.
public final class WebSocketRoom: Sendable {
    /// What happens to a member that takes too little of what is sent. What waits counts with its frames' bytes, and each message with 64 more.
    public enum SlowPolicy: Sendable, Hashable {
        /// Above the limit the oldest messages that wait are dropped.
        case dropOldest(bytesMax: Int)
        /// Of those that wait and have the same key the newest alone goes out, in the place of the oldest; above the limit, the oldest are dropped.
        case conflate(bytesMax: Int)
        /// Above the limit its connection is closed: 1008.
        case disconnect(bytesMax: Int)

        var bytesMax: Int {
            switch self {
            case .dropOldest(let bytes), .conflate(let bytes), .disconnect(let bytes): max(0, bytes)
            }
        }
    }

    /// What a room has seen.
    public struct Counters: Sendable, Equatable {
        public var members = 0
        /// Messages that were sent to it.
        public var sent: UInt64 = 0
        /// Messages to members, written or waiting.
        public var delivered: UInt64 = 0
        /// Of these, those that never left: dropped for age, or because their member went.
        public var dropped: UInt64 = 0
        /// Replaced by a newer one of their key.
        public var conflated: UInt64 = 0
        /// Members that were sent away for slowness.
        public var disconnected: UInt64 = 0
    }

    private struct State {
        var branches: [Branch] = []
        var sent: UInt64 = 0
        /// Made when a member that takes deflated messages joins.
        var compression: WebSocketCompression?
    }
    /// The members on one loop.
    private struct Branch {
        let members: LoopBound<WebSocketRoomMembers>
        var count = 0
        /// Of them, those that take deflated messages.
        var deflatingCount = 0
    }
    private let state = Mutex(State())
    let policy: SlowPolicy

    /// `policy`: of members that join without one. Default: a member may be 1 MiB behind, then the oldest goes.
    public init(slow policy: SlowPolicy = .dropOldest(bytesMax: 1 << 20)) { self.policy = policy }

    // MARK: Members

    /// From a callback.
    public func join(_ peer: WebSocketPeer, slow policy: SlowPolicy? = nil) { join(peer.channel, policy ?? self.policy, on: peer.loop) }

    /// From a callback.
    public func leave(_ peer: WebSocketPeer) { peer.channel.membership(in: self)?.end() }

    /// Returns when it is a member; at once on its connection's loop. Does nothing if the connection has ended.
    public func join(_ connection: WebSocketConnection, slow policy: SlowPolicy? = nil) async {
        let policy = policy ?? self.policy
        await connection.core.run { [self] channel, loop in join(channel, policy, on: loop) }
    }

    /// Returns when it is none any more.
    public func leave(_ connection: WebSocketConnection) async {
        await connection.core.run { [self] channel, _ in channel.membership(in: self)?.end() }
    }

    private func join(_ channel: WebSocketChannel, _ policy: SlowPolicy, on loop: EventLoop) {
        guard channel.slot != 0, !channel.state.contains(.isClient), channel.membership(in: self) == nil else { return }
        let deflates = channel.state.contains(.deflates)
        let members = state.withLock { state -> WebSocketRoomMembers in
            if deflates, state.compression == nil, let options = channel.home.compression?.options { state.compression = WebSocketCompression(options) }
            if let index = state.branches.firstIndex(where: { $0.members.loop === loop }) {
                state.branches[index].count += 1
                if deflates { state.branches[index].deflatingCount += 1 }
                return state.branches[index].members()
            }
            let fresh = WebSocketRoomMembers(of: self)
            state.branches.append(Branch(members: LoopBound(fresh, on: loop), count: 1, deflatingCount: deflates ? 1 : 0))
            return fresh
        }
        members.add(WebSocketMembership(channel, policy, in: members))
    }

    /// One has left. On its loop.
    func left(_ loop: EventLoop, deflated: Bool) {
        state.withLock { state in
            guard let index = state.branches.firstIndex(where: { $0.members.loop === loop }) else { return }
            state.branches[index].count -= 1
            if deflated { state.branches[index].deflatingCount -= 1 }
        }
    }

    public var count: Int { state.withLock { $0.branches.reduce(0) { $0 + $1.count } } }

    // MARK: Messages

    /// Sends a message to all members but `except`. `key`: what `SlowPolicy.conflate` goes by; without one it is never replaced.
    /// Throws nothing: who takes too little is dealt with as its policy says.
    public func broadcast(_ message: WebSocketMessage, except: WebSocketConnection? = nil, key: String? = nil) {
        switch message {
        case .text(let text): broadcast(.text, text.utf8.span, except: except?.core.number ?? 0, key)
        case .binary(let bytes): broadcast(.binary, bytes.span, except: except?.core.number ?? 0, key)
        }
    }

    /// The same from a callback. Text must be UTF-8: other bytes are not sent.
    public func broadcast(_ kind: WebSocketMessageKind, _ content: Span<UInt8>, except: WebSocketPeer? = nil, key: String? = nil) {
        broadcast(kind, content, except: except?.id ?? 0, key)
    }

    private func broadcast(_ kind: WebSocketMessageKind, _ content: Span<UInt8>, except: UInt64, _ key: String?) {
        let made = state.withLock { state -> (frame: WebSocketFrame, branches: [Branch])? in
            let takesDeflated = state.branches.contains { $0.deflatingCount > 0 }
            do throws(WebSocketMisuse) {
                let frame = try WebSocketFrame(kind, content, compression: takesDeflated ? state.compression : nil)
                state.sent += 1
                return (frame, state.branches)
            } catch { return nil }
        }
        guard let (frame, branches) = made else { return }
        for branch in branches where branch.count > 0 {
            let members = branch.members
            if members.loop.isCurrent {
                members().deliver(frame, key, except: except, on: members.loop)
            } else {
                members.loop.execute { members().deliver(frame, key, except: except, on: $0) }
            }
        }
    }

    public func counters() async -> Counters {
        let (branches, sent) = state.withLock { ($0.branches, $0.sent) }
        var counters = Counters()
        counters.sent = sent
        for branch in branches {
            let counted = Once<Counters>(), members = branch.members
            members.loop.execute { _ in counted.resume(returning: members().seen) }
            let seen = await counted.wait()
            counters.members += branch.count
            counters.delivered += seen.delivered
            counters.dropped += seen.dropped
            counters.conflated += seen.conflated
            counters.disconnected += seen.disconnected
        }
        return counters
    }
}
