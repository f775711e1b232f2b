internal import MartletBytes
internal import MartletClient
internal import MartletEventLoop

/// A room's members on one loop. Confined to it.
final class WebSocketRoomMembers {
    let room: WebSocketRoom
    private var members: [WebSocketMembership] = []
    var seen = WebSocketRoom.Counters()

    init(of room: WebSocketRoom) { self.room = room }

    func add(_ member: WebSocketMembership) {
        member.index = members.count
        members.append(member)
        member.next = member.channel.membership
        member.channel.membership = member
    }

    func remove(_ member: WebSocketMembership, on loop: EventLoop) {
        let last = members.removeLast()
        if last !== member {
            members[member.index] = last
            last.index = member.index
        }
        room.left(loop, deflated: member.channel.state.contains(.deflates))
    }

    func deliver(_ frame: WebSocketFrame, _ key: String?, except: UInt64, on loop: EventLoop) {
        var tooSlow: [WebSocketMembership] = [], count: UInt64 = 0
        for member in members where member.channel.number != except {
            count &+= 1
            if !member.deliver(frame, key, on: loop) { tooSlow.append(member) }
        }
        seen.delivered &+= count
        // Callbacks hear of their end, and may send to this room, too.
        for member in tooSlow where member.channel.slot != 0 {
            seen.disconnected += 1
            member.channel.cutOff(on: loop)
        }
    }
}

/// One connection in one room: what waits for it, while it takes too little.
///
/// Invariant: nothing waits here unless the connection's output is above `flowMax`; what is in the output is beyond any policy. Confined to its loop.
final class WebSocketMembership {
    private struct Waiting {
        var frame: WebSocketFrame
        let key: String?
    }

    unowned let channel: WebSocketChannel
    private let members: WebSocketRoomMembers
    private let policy: WebSocketRoom.SlowPolicy
    var index = 0
    /// Of the connection's other rooms.
    var next: WebSocketMembership?
    private var waiting = Line<Waiting>()
    private var waitingCount = 0
    private var isOver = false

    /// Output above which messages wait here, where the policy sees them.
    private static let flowMax = 1 << 17
    private static let overhead = 64

    init(_ channel: WebSocketChannel, _ policy: WebSocketRoom.SlowPolicy, in members: WebSocketRoomMembers) {
        self.channel = channel
        self.policy = policy
        self.members = members
    }

    func isIn(_ room: WebSocketRoom) -> Bool { members.room === room }

    /// False: it is to be sent away.
    @inline(__always)
    func deliver(_ frame: WebSocketFrame, _ key: String?, on loop: EventLoop) -> Bool {
        guard waiting.isEmpty, loop[output: channel.slot].count < Self.flowMax else { return wait(frame, key, on: loop) }
        channel.send(frame, on: loop)
        return true
    }

    private func wait(_ frame: WebSocketFrame, _ key: String?, on loop: EventLoop) -> Bool {
        // What one tick sends at once may well leave.
        if waiting.isEmpty {
            if loop.flushEarly(channel.slot, limit: Self.flowMax) {
                channel.send(frame, on: loop)
                return true
            }
            loop.awaitRoom(channel.slot)
        }
        if case .conflate = policy, let key, let place = (0..<waiting.count).first(where: { waiting[$0].key == key }) {
            let old = waiting.exchange(place, with: Waiting(frame: frame, key: key))
            waitingCount += frame.count - old.frame.count
            members.seen.conflated += 1
        } else {
            waiting.append(Waiting(frame: frame, key: key))
            waitingCount += frame.count + Self.overhead
        }
        guard waitingCount > policy.bytesMax else { return true }
        if case .disconnect = policy { return false }
        while waitingCount > policy.bytesMax, let oldest = waiting.popFirst() {
            waitingCount -= oldest.frame.count + Self.overhead
            members.seen.dropped += 1
        }
        return true
    }

    /// The output has room: for this room and the connection's others.
    func refill(on loop: EventLoop) {
        while !waiting.isEmpty, channel.slot != 0, loop[output: channel.slot].count < Self.flowMax, let oldest = waiting.popFirst() {
            waitingCount -= oldest.frame.count + Self.overhead
            channel.send(oldest.frame, on: loop)
        }
        if !waiting.isEmpty, channel.slot != 0 { loop.awaitRoom(channel.slot) }
        next?.refill(on: loop)
    }

    /// It leaves the room. On the loop.
    func end() {
        guard !isOver else { return }
        isOver = true
        members.seen.dropped += UInt64(waiting.count)
        waiting = Line()
        members.remove(self, on: channel.home.loop)
        channel.forget(self)
    }
}

extension WebSocketChannel {
    func membership(in room: WebSocketRoom) -> WebSocketMembership? {
        var membership = membership
        while let found = membership, !found.isIn(room) { membership = found.next }
        return membership
    }

    func forget(_ gone: WebSocketMembership) {
        if membership === gone {
            membership = gone.next
            return
        }
        var before = membership
        while let found = before, found.next !== gone { before = found.next }
        before?.next = gone.next
    }

    /// A room's message. Once the connection is closing, nothing is sent.
    @inline(__always)
    func send(_ frame: WebSocketFrame, on loop: EventLoop) {
        loop.willWrite(slot)
        do throws(WebSocketMisuse) {
            try machine.value.send(frame, into: &loop[output: slot])
            home.seen.value.messagesSent &+= 1
        } catch {}
    }
}
