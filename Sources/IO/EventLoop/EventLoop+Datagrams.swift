import CLinux

/// Descriptors that carry datagrams: what a tick puts into a channel's output leaves by `Channel.flush`, not as one stream of bytes.
extension EventLoop {
    /// Takes over a datagram socket, or answers nil (and closes it) when the table is full.
    @discardableResult public func add(_ channel: Channel, datagrams descriptor: Int32) -> UInt32? {
        add(channel, descriptor, .datagrams, interest: UInt32(CL_READABLE))
    }

    /// Answers whether the channel waits for writability.
    func flushDatagrams(_ slot: UInt32) -> Bool {
        guard let owner = slots[Int(slot)].channel else { return false }
        return owner._withUnsafeGuaranteedRef { channel in
            let isWaiting = channel.flush(on: self)
            if channel.slot != 0 { schedule(channel) }
            return isWaiting
        }
    }
}
