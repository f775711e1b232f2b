import CLinux
public import MartletBytes

/// One direction's end, what a writer wants to know of its output, and how a connection leaves a loop.
extension EventLoop {
    /// The descriptor of a row, -1 if it has none: for asking the kernel about it.
    public func descriptor(of slot: UInt32) -> Int32 { slots[Int(slot)].descriptor }

    /// Whether the peer has ended its stream, even if what it sent before is unread. A system call.
    public func hasPeerEnded(_ slot: UInt32) -> Bool { kernel.hasPeerEnded(slots[Int(slot)].descriptor) }

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

    /// Sends bytes of a file, which this process need not see; the output has to have left. Answers how many have left, 0 at the file's end, nil when the
    /// socket is full (`awaitWritable` tells when it has room), or a negative errno: also where there is no such call, and with a layer.
    public func sendFile(_ slot: UInt32, _ file: Int32, at offset: Int, count: Int) -> Int? {
        let row = slots + Int(slot)
        guard row.pointee.layer == nil, outputs[slot].isEmpty else { return -95 }  // EOPNOTSUPP
        let sent = kernel.sendFile(row.pointee.descriptor, file, offset, count)
        if sent == -Int(CL_EAGAIN) || sent == -Int(CL_EINTR) { return nil }
        if sent > 0 { tally.value.bytesWritten &+= UInt64(sent) }
        return sent
    }

    /// Has `Channel.outputBlocked(false)` called when the socket takes something again.
    public func awaitWritable(_ slot: UInt32) {
        slots[Int(slot)].flags.insert(.blocked)
        awaitWritable(slot, true)
    }

    /// The output has grown large before the tick's end: as if it had left the high-water mark behind already. Not while its channel is called.
    public func blockOutput(_ slot: UInt32) {
        if !isBlocked(slot) { setBlocked(slot, true) }
        willWrite(slot)
    }

    /// Has the channel shown again what it has not used, before this tick or the next one ends.
    public func showAgain(_ slot: UInt32) { if !slots[Int(slot)].unread.isEmpty { arrive(slot) } }

    /// The kernel hangs up: after both ends, or after a reset, which reading does not show once the peer has ended.
    func bothEnded(_ channel: Channel) {
        let error = kernel.takeError(slots[Int(channel.slot)].descriptor)
        if error == 0 { channel.bothEnded(on: self) } else { close(channel, .failed(error)) }
    }

    /// From `Channel.bothEnded`: the connection stays, to see whether what has left arrives. `bothEnded` is called again when something changes.
    public func stayEnded(_ slot: UInt32) {
        guard !slots[Int(slot)].flags.contains(.awaitsChange) else { return }
        slots[Int(slot)].flags.insert(.awaitsChange)
        updateInterest(slot)
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

    /// Takes a connection off the loop, for another channel: with its layer, with what it was to be sent, and with the bytes of `unread`, which its
    /// channel has not used. From `Channel.receive` it must not go back to this loop before that has returned.
    public func surrender(_ channel: Channel, unread bytes: Span<UInt8>) -> Transport {
        let slot = channel.slot, row = slots + Int(slot)
        // The bytes are copied first: they may lie in the row's own buffer, which `free` releases.
        let transport = Transport(
            descriptor: row.pointee.descriptor, layer: row.pointee.layer?.takeUnretainedValue(), unread: bytes.array, unsent: outputs[slot].span.array)
        _ = kernel.watch(transport.descriptor, CInt(CL_REMOVE), 0, token: 0)
        row.pointee.descriptor = -1
        released.append(row.pointee.channel!)
        row.pointee.channel = nil
        channel.slot = 0
        connectionCount -= 1
        free(slot)
        return transport
    }

    /// The same with all that was shown to the channel and that it has not used; not from `Channel.receive`.
    public func surrender(_ channel: Channel) -> Transport {
        let unread = slots[Int(channel.slot)].unread.span.array
        return surrender(channel, unread: unread.span)
    }
}
