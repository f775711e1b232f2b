import CLinux
import MartletBytes

/// Connections with a layer between socket and channel.
///
/// ```
/// socket -> read area -> unseal -> plain area, after the kept bytes of a cut frame -> channel
/// channel -> output -> seal -> layer.sealed -> socket
/// ```
/// Invariant: ciphertext is unsealed as soon as it is read, so what a channel left unread is plaintext, as without a layer.
extension EventLoop {
    /// Sealed at a time: whole TLS records of 16 KiB that with their headers fit a small buffer of the pool.
    private static let sealSize = 7 << 14
    /// Sealed bytes to which more is added: a handshake's last ones leave with the first output. With more, the socket is full.
    private static let sealedMax = 4096
    /// Sealed bytes above which a peer, who has the layer answer (renewed keys, say) and takes nothing, is cut off: output alone never makes so many.
    private static let answersMax = 4 * sealSize

    /// The layer of a row, if it has one.
    public func layer(of slot: UInt32) -> StreamLayer? { slots[Int(slot)].layer?.takeUnretainedValue() }

    /// What a connection still has to be sent: its output, and what of it is sealed.
    public func unsentCount(_ slot: UInt32) -> Int {
        outputs[slot].count + (slots[Int(slot)].layer?._withUnsafeGuaranteedRef { $0.sealed.value.count } ?? 0)
    }

    /// Gives a new row its layer.
    func begin(_ layer: StreamLayer, _ slot: UInt32) {
        slots[Int(slot)].layer = .passRetained(layer)
        if !layer.hasStarted {
            layer.hasStarted = true
            layer.start()
        }
        if !layer.sealed.value.isEmpty { willWrite(slot) }
        if layer.hasEnded || layer.failure != nil { arrive(slot) }
    }

    // MARK: Writing

    /// Seals the output and writes it until all has left or the socket takes no more. The last write's result: a count, 0 when
    /// there was nothing to write, or a negative errno.
    func sealAndWrite(_ slot: UInt32) -> Int {
        let row = slots + Int(slot)
        guard let owner = row.pointee.layer else { return 0 }
        return owner._withUnsafeGuaranteedRef { layer in
            while true {
                seal(slot, layer)
                let count = layer.sealed.value.count
                guard count > 0 else { return 0 }
                let written = kernel.write(row.pointee.descriptor, layer.sealed.value.readable, count)
                guard written > 0 else { return written }
                tally.value.bytesWritten &+= UInt64(written)
                layer.sealed.value.consume(written)
                if written < count { return written }
                if outputs[slot].isEmpty {
                    pool.value.takeBack(&layer.sealed.value)
                    return written
                }
            }
        }
    }

    /// After `sealAndWrite`: what the socket did not take, and all that has not left. In a handshake output weighs nothing, since the
    /// connection has to be read from however much waits.
    func leftOver(_ slot: UInt32) -> (left: Int, unsent: Int) {
        guard let layer = layer(of: slot) else { return (0, 0) }
        if layer.failure != nil { report(slot, layer) }
        let left = layer.sealed.value.count
        guard layer.isOpen else { return (left, left + min(1, outputs[slot].count)) }
        return (left, left + outputs[slot].count)
    }

    private func seal(_ slot: UInt32, _ layer: StreamLayer) {
        let flags = slots[Int(slot)].flags
        let lasts = layer.isOpen && layer.failure == nil && !layer.hasSealedEnd
        if lasts, !outputs[slot].isEmpty, layer.sealed.value.count <= Self.sealedMax {
            if !layer.sealed.value.ownsMemory { pool.value.lend(to: &layer.sealed.value) }
            let count = min(outputs[slot].count, Self.sealSize)
            layer.seal(outputs[slot].readable, count: count)
            outputs[slot].consume(count)
        }
        guard !flags.isDisjoint(with: [.lingering, .endsOutput]) else { return }
        if !lasts {  // nobody is left to wait for an opening, and what cannot be sealed never leaves
            if flags.contains(.lingering) || layer.isOpen { outputs[slot].removeAll() }
        } else if outputs[slot].isEmpty {
            layer.hasSealedEnd = true
            layer.sealEnd()
        }
    }

    // MARK: Reading

    func readSealed(_ slot: UInt32) {
        let row = slots + Int(slot)
        let count = kernel.read(row.pointee.descriptor, readArea + Self.headroom, Self.readSize)
        if count > 0 { return unseal(slot, count) }
        if count == 0 {
            guard let layer = layer(of: slot), !layer.hasEnded else { return receiveEnd(slot) }
            layer.receiveEnd()
            if let channel = channel(at: slot) { close(channel, layer.failure.map { .layerFailed($0) } ?? .ended) }
        } else if count != -Int(CL_EAGAIN), count != -Int(CL_EINTR) {
            fail(slot, errno: Int32(-count))
        }
    }

    /// Unseals what lies in the read area, tells the channel what has changed, and shows it its bytes.
    private func unseal(_ slot: UInt32, _ count: Int) {
        let row = slots + Int(slot), generation = row.pointee.generation
        guard let layer = layer(of: slot) else { return }
        tally.value.bytesRead &+= UInt64(count)
        let kept = row.pointee.unread.count, isLarge = kept > Self.headroom, wasOpen = layer.isOpen
        let place = isLarge ? row.pointee.unread.reserve(count + StreamLayer.heldMax) : plainArea + Self.headroom
        // A handshake answers, and its buffer is the pool's like any other.
        if !wasOpen, !layer.sealed.value.ownsMemory { pool.value.lend(to: &layer.sealed.value) }
        let plain = layer.unseal(readArea + Self.headroom, count: count, into: place)
        if isLarge { row.pointee.unread.commit(plain) }
        if layer.sealed.value.count > Self.answersMax, layer.failure == nil {
            layer.failure = LayerFailure(.protocolError, "the peer asks for answers and does not take them")
        }
        if !layer.sealed.value.isEmpty { willWrite(slot) } else if layer.sealed.value.ownsMemory { pool.value.takeBack(&layer.sealed.value) }
        if layer.isOpen, !wasOpen {
            if !outputs[slot].isEmpty || !row.pointee.flags.isDisjoint(with: [.lingering, .endsOutput]) { willWrite(slot) }
            row.pointee.channel?._withUnsafeGuaranteedRef { channel in
                channel.secured(on: self)
                if channel.slot != 0 { schedule(channel) }
            }
            guard isSame(slot, generation) else { return }
        }
        if plain > 0 {
            if isLarge { show(slot) } else { offer(slot, kept: kept, readTo: plainArea + Self.headroom, plain) }
            guard isSame(slot, generation) else { return }
        }
        report(slot, layer)
    }

    /// The end of what a layer lets through.
    private func report(_ slot: UInt32, _ layer: StreamLayer) {
        if let failure = layer.failure {
            if let channel = channel(at: slot) { finish(channel, .layerFailed(failure)) }
        } else if layer.hasEnded, !slots[Int(slot)].flags.contains(.ended) {
            receiveEnd(slot)
        }
    }

    func isSame(_ slot: UInt32, _ generation: UInt32) -> Bool {
        slots[Int(slot)].generation == generation && slots[Int(slot)].descriptor >= 0 && slots[Int(slot)].channel != nil
    }

    // MARK: Arrivals

    /// A connection came with bytes that its channel has not seen, or with an end: both are shown before this tick ends.
    func arrive(_ slot: UInt32) {
        arrivals.append((slot, slots[Int(slot)].generation))
        isTickOwed = true
    }

    func showArrivals() {
        var index = 0
        while index < arrivals.count {
            let (slot, generation) = arrivals[index]
            index += 1
            guard isSame(slot, generation) else { continue }
            if !slots[Int(slot)].unread.isEmpty { show(slot) }
            if isSame(slot, generation), let layer = layer(of: slot) { report(slot, layer) }
        }
        arrivals.removeAll(keepingCapacity: true)
    }
}
