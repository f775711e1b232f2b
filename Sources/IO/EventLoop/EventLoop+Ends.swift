/// One direction's end, and what a writer wants to know of its output.
extension EventLoop {
    /// Ends the stream once the output has left; the other direction goes on. Nothing may be written afterwards. `Channel.outputEnded` tells when.
    public func finishWriting(_ channel: Channel) {
        let slot = channel.slot
        guard slot != 0 else { return }
        slots[Int(slot)].flags.insert(.finishing)
        willWrite(slot)
    }

    func endOutput(_ slot: UInt32) {
        slots[Int(slot)].flags.remove(.finishing)
        kernel.shutdownWrite(slots[Int(slot)].descriptor)
        slots[Int(slot)].channel?._withUnsafeGuaranteedRef { $0.outputEnded(on: self) }
    }

    /// Has `Channel.outputBlocked(false)` called as soon as a flush leaves no more than the low-water mark, this tick's at the earliest.
    public func awaitRoom(_ slot: UInt32) {
        slots[Int(slot)].flags.insert(.blocked)
        willWrite(slot)
    }

    /// Bytes that have left, and an end, that the peer's machine has not confirmed yet. A system call.
    public func unconfirmedCount(_ slot: UInt32) -> Int { kernel.unconfirmedCount(slots[Int(slot)].descriptor) }

    /// Closes at once with a reset: the peer sees an error instead of an end.
    public func abort(_ channel: Channel, _ reason: CloseReason) {
        if channel.slot != 0 { kernel.resetAtClose(slots[Int(channel.slot)].descriptor) }
        close(channel, reason)
    }
}
