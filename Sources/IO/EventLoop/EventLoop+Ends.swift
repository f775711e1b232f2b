public import MartletBytes

/// One direction's end, and what a writer wants to know of its output.
extension EventLoop {
    /// Ends the stream once the output has left; the other direction goes on. Nothing may be written afterwards. `Channel.outputEnded` tells when.
    public func finishWriting(_ channel: Channel) {
        let slot = channel.slot
        guard slot != 0 else { return }
        slots[Int(slot)].flags.insert(.endsOutput)
        willWrite(slot)
    }

    /// Everything has left, and our side of the stream is to end. Answers whether there is nothing more to do for the row.
    func endWriting(_ slot: UInt32) -> Bool {
        let row = slots + Int(slot), isLingering = row.pointee.flags.contains(.lingering)
        if isLingering, row.pointee.flags.contains(.ended) {
            free(slot)
            return true
        }
        kernel.shutdownWrite(row.pointee.descriptor)
        row.pointee.flags.remove(.endsOutput)
        row.pointee.flags.insert(.outputEnded)
        guard isLingering else {
            row.pointee.channel?._withUnsafeGuaranteedRef { $0.outputEnded(on: self) }
            return row.pointee.descriptor < 0
        }
        row.pointee.flags.remove([.awaitsWritable, .blocked])
        updateInterest(slot)
        return true
    }

    /// Has `Channel.outputBlocked(false)` called as soon as a flush leaves no more than the low-water mark, this tick's at the earliest.
    public func awaitRoom(_ slot: UInt32) {
        slots[Int(slot)].flags.insert(.blocked)
        willWrite(slot)
    }

    /// The time now, where `now`, when the tick began, is not good enough. A reading of the clock; from any thread, if the kernel is Linux.
    public func currentTime() -> Instant { kernel.now() }

    /// Bytes that have left, and an end, that the peer's machine has not confirmed yet. A system call.
    public func unconfirmedCount(_ slot: UInt32) -> Int { kernel.unconfirmedCount(slots[Int(slot)].descriptor) }

    /// Closes at once with a reset: the peer sees an error instead of an end.
    public func abort(_ channel: Channel, _ reason: CloseReason) {
        if channel.slot != 0 { kernel.resetAtClose(slots[Int(channel.slot)].descriptor) }
        close(channel, reason)
    }
}
