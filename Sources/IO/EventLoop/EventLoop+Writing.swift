import CLinux
public import MartletBytes

extension EventLoop {
    /// What a connection will be sent at the end of the tick. Call `willWrite` before appending.
    @inlinable public subscript(output slot: UInt32) -> ByteBuffer {
        @inline(__always) unsafeAddress { UnsafePointer(outputs.base + Int(slot)) }
        @inline(__always) unsafeMutableAddress { outputs.base + Int(slot) }
    }

    /// Marks a connection for the flush at the end of the tick and lends it a buffer until its output has left.
    @inline(__always) public func willWrite(_ slot: UInt32) {
        if !slots[Int(slot)].flags.contains(.dirty) { markDirty(slot) }
    }

    @inline(never) private func markDirty(_ slot: UInt32) {
        slots[Int(slot)].flags.insert(.dirty)
        dirty.value.append(slot)
        if !outputs[slot].ownsMemory { pool.value.lend(to: &outputs[slot]) }
    }

    /// Writes what a connection's output holds before the tick ends, because it has grown large. Answers whether it is below
    /// `limit` now. What an error means is left to the flush.
    public func flushEarly(_ slot: UInt32, limit: Int) -> Bool {
        if slots[Int(slot)].flags.contains(.awaitsWritable) { return false }
        if slots[Int(slot)].layer != nil { return sealAndWrite(slot) > 0 && unsentCount(slot) < limit }
        let written = kernel.write(slots[Int(slot)].descriptor, outputs[slot].readable, outputs[slot].count)
        guard written > 0 else { return false }
        tally.value.bytesWritten &+= UInt64(written)
        outputs[slot].consume(written)
        return outputs[slot].count < limit
    }

    /// Whether the peer reads too slowly: output above the high-water mark and not yet below the low one.
    public func isBlocked(_ slot: UInt32) -> Bool { slots[Int(slot)].flags.contains(.blocked) }

    /// What has been waiting the longest leaves; the rest after another look at what is ready.
    func flushBatch() {
        var index = flushed, left = limits.flushBatch
        while index < dirty.value.count, left > 0 {  // a flush may make others dirty
            flush(dirty.value[index])
            index += 1
            left -= 1
        }
        flushed = 0
        if index == dirty.value.count {
            dirty.value.removeAll(keepingCapacity: true)
        } else if index > dirty.value.count / 2 {
            dirty.value.removeFirst(index)
        } else {
            flushed = index
        }
    }

    /// Writes what a connection's output holds, and sees what the socket did not take.
    func flush(_ slot: UInt32) {
        let row = slots + Int(slot)
        row.pointee.flags.remove(.dirty)
        guard row.pointee.descriptor >= 0 else { outputs[slot].release(); return }
        if row.pointee.kind == .datagrams { return flushDatagrams(slot) }
        // What the socket did not take, and all that has not left.
        var left = 0, unsent = 0
        if row.pointee.layer == nil {
            if !outputs[slot].isEmpty {
                let written = kernel.write(row.pointee.descriptor, outputs[slot].readable, outputs[slot].count)
                if written > 0 {
                    tally.value.bytesWritten &+= UInt64(written)
                    outputs[slot].consume(written)
                } else if written != -Int(CL_EAGAIN), written != -Int(CL_EINTR) {
                    return fail(slot, errno: Int32(-written))
                }
            }
            left = outputs[slot].count
            unsent = left
        } else {
            let written = sealAndWrite(slot)
            if written < 0, written != -Int(CL_EAGAIN), written != -Int(CL_EINTR) { return fail(slot, errno: Int32(-written)) }
            (left, unsent) = leftOver(slot)
        }
        if unsent == 0 {
            pool.value.takeBack(&outputs[slot])
            if !row.pointee.flags.isDisjoint(with: [.lingering, .endsOutput]), endWriting(slot) { return }
        }
        // The common case, everything left, changes nothing below.
        if (left > 0) != row.pointee.flags.contains(.awaitsWritable) { awaitWritable(slot, left > 0) }
        if unsent > limits.outputHighWater, !row.pointee.flags.contains(.blocked) { setBlocked(slot, true) }
        if unsent <= limits.outputLowWater, row.pointee.flags.contains(.blocked) { setBlocked(slot, false) }
    }

    func awaitWritable(_ slot: UInt32, _ isWaiting: Bool) {
        if isWaiting { slots[Int(slot)].flags.insert(.awaitsWritable) } else { slots[Int(slot)].flags.remove(.awaitsWritable) }
        updateInterest(slot)
    }

    func setBlocked(_ slot: UInt32, _ blocked: Bool) {
        if blocked { slots[Int(slot)].flags.insert(.blocked) } else { slots[Int(slot)].flags.remove(.blocked) }
        if !limits.readsWhileBlocked { updateInterest(slot) }
        isTickOwed = true
        slots[Int(slot)].channel?._withUnsafeGuaranteedRef { channel in
            channel.outputBlocked(blocked, on: self)
            if channel.slot != 0 { schedule(channel) }
        }
    }
}
