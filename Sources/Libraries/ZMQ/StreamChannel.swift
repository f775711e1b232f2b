internal import MartletBytes
internal import MartletEventLoop

/// A connection of a STREAM socket: bytes as they come and go, without ZMTP. What a read brings is a message.
final class StreamChannel: PeerChannel {
    override func greet() {
        core.change { [peer] in _ = $0.state.connected(peer.index, identity: []) }
        becomeReady()
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard !isEnding else { return bytes.count }
        staging.value.append(bytes, more: false)
        if core.deliver(&staging.value, from: peer.index) { loop.pauseReading(slot, true) }
        return bytes.count
    }

    override func write(_ run: Span<UInt8>) { host.loop[output: slot].append(run) }

    /// What has not left is for this connection's peer, and nobody else.
    override func unsentRun(on loop: EventLoop) -> (bytes: [UInt8], count: Int) { ([], 0) }

    override func pump() {
        super.pump()
        if slot != 0, core.isFinishing(peer) { host.loop.awaitRoom(slot) }
    }

    override func outboxIsEmpty() {
        if core.isFinishing(peer) { host.finish(self) } else { super.outboxIsEmpty() }
    }

    /// Whether the peer ends its stream, too, is not waited for.
    override func outputEnded(on loop: EventLoop) { loop.finish(self, .finished) }

    override var deadline: Instant { .never }

    override func wake(on loop: EventLoop) {}
}
