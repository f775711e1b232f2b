import CLinux
import MartletBytes

extension EventLoop {
    func read(_ slot: UInt32) {
        let row = slots + Int(slot)
        if row.pointee.layer != nil, row.pointee.channel != nil { return readSealed(slot) }
        let kept = row.pointee.unread.count
        let count: Int
        if kept <= Self.headroom {
            count = kernel.read(row.pointee.descriptor, readArea + Self.headroom, Self.readSize)
        } else {  // a large frame is read to where it is kept
            count = kernel.read(row.pointee.descriptor, row.pointee.unread.reserve(Self.readSize), Self.readSize)
            if count > 0 { row.pointee.unread.commit(count) }
        }
        guard count > 0 else {
            if count == 0 { return receiveEnd(slot) }
            if count != -Int(CL_EAGAIN), count != -Int(CL_EINTR) { fail(slot, errno: Int32(-count)) }
            return
        }
        tally.value.bytesRead &+= UInt64(count)
        guard row.pointee.channel != nil else {  // lingering: what the peer still says is thrown away
            row.pointee.unread.removeAll()
            return
        }
        if kept > Self.headroom { return show(slot) }
        offer(slot, kept: kept, readTo: readArea + Self.headroom, count)
    }

    /// Shows the channel `count` bytes that were read to `place`, with the kept ones put in front.
    @inline(__always) func offer(_ slot: UInt32, kept: Int, readTo place: UnsafeMutableRawPointer, _ count: Int) {
        let row = slots + Int(slot), start = place - kept
        if kept > 0 {
            memcpy(start, row.pointee.unread.readable, kept)
            row.pointee.unread.removeAll()
        }
        let used = offer(slot, start, kept + count)
        guard row.pointee.descriptor >= 0, row.pointee.channel != nil else { return }
        if used < kept + count { row.pointee.unread.append(start + used, count: kept + count - used) } else { row.pointee.unread.release() }
    }

    /// Shows the channel the bytes that lie in its own buffer.
    func show(_ slot: UInt32) {
        let row = slots + Int(slot)
        let used = offer(slot, row.pointee.unread.readable, row.pointee.unread.count)
        guard row.pointee.descriptor >= 0, row.pointee.channel != nil else { return }
        row.pointee.unread.consume(used)
        if row.pointee.unread.isEmpty { row.pointee.unread.release() }
    }

    private func offer(_ slot: UInt32, _ start: UnsafeRawPointer, _ count: Int) -> Int {
        guard let owner = slots[Int(slot)].channel else { return count }
        return owner._withUnsafeGuaranteedRef { channel in
            let used = channel.receive(Span(_unsafeStart: start.assumingMemoryBound(to: UInt8.self), count: count), on: self)
            // Whether it is still there, asked of the row: a class's field is checked for exclusive access.
            if slots[Int(slot)].channel?.toOpaque() == owner.toOpaque() { schedule(channel) }
            return used
        }
    }

    func receiveEnd(_ slot: UInt32) {
        let row = slots + Int(slot)
        // A second end is the kernel's hang-up: the peer takes nothing any more either, or both sides have ended.
        if row.pointee.flags.contains(.ended) {
            guard row.pointee.flags.contains(.outputEnded), let channel = channel(at: slot) else { return fail(slot, errno: CInt(CL_EPIPE)) }
            return bothEnded(channel)
        }
        row.pointee.flags.insert(.ended)
        guard let owner = row.pointee.channel else {
            if unsentCount(slot) == 0, !row.pointee.flags.contains(.dirty) { free(slot) } else { updateInterest(slot) }
            return
        }
        updateInterest(slot)
        owner._withUnsafeGuaranteedRef { channel in
            channel.receiveEnd(on: self)
            if channel.slot != 0 { schedule(channel) }
        }
    }
}
