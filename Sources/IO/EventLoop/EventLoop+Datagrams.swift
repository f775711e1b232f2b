import CLinux
import MartletBytes

/// Descriptors that carry datagrams: what a tick puts into a channel's output leaves by `Channel.flush`, not as one stream of bytes.
extension EventLoop {
    /// Takes over a datagram socket, or answers nil (and closes it) when the table is full.
    @discardableResult public func add(_ channel: Channel, datagrams descriptor: Int32) -> UInt32? {
        add(channel, descriptor, .datagrams, interest: UInt32(CL_READABLE))
    }

    /// Has the channel send what this tick gave it, and waits for writability if not all has left.
    func flushDatagrams(_ slot: UInt32) {
        slots[Int(slot)].channel?._withUnsafeGuaranteedRef { channel in
            let isWaiting = channel.flush(on: self)
            guard channel.slot != 0 else { return }
            if outputs[slot].isEmpty { pool.value.takeBack(&outputs[slot]) }
            if isWaiting != slots[Int(slot)].flags.contains(.awaitsWritable) { awaitWritable(slot, isWaiting) }
        }
    }
}
