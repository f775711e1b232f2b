import MartletBytes
import MartletCollections

/// Deadlines: each channel has one, in a heap of all.
extension EventLoop {
    /// Looks at a channel's deadline again. Needed only when it moved nearer outside of a call from the loop.
    public func schedule(_ channel: Channel) { schedule(channel, noEarlierThan: Instant(nanoseconds: .min)) }

    func schedule(_ channel: Channel, noEarlierThan earliest: Instant) {
        let deadline = max(channel.deadline, earliest)
        guard deadline < channel.scheduled else { return }
        channel.scheduled = deadline
        timers.insert(Timer(at: deadline, slot: channel.slot, generation: slots[Int(channel.slot)].generation))
        guard timers.count > timersMax else { return }
        timers.removeAll { slots[Int($0.slot)].generation != $0.generation }
        timersMax = 2 * timers.count + 1024
    }

    func fireTimers() {
        while let timer = timers.first, timer.at <= now {
            _ = timers.removeFirst()
            let row = slots + Int(timer.slot)
            guard row.pointee.generation == timer.generation else { continue }
            guard let owner = row.pointee.channel else {
                if row.pointee.flags.contains(.lingering) { free(timer.slot) }
                continue
            }
            owner._withUnsafeGuaranteedRef { channel in
                // An entry for a deadline that has moved nearer since is stale: the nearer one has its own.
                guard channel.scheduled == timer.at else { return }
                channel.scheduled = .never
                if channel.deadline <= now { channel.wake(on: self) }
                // One that still wants to be woken gets its next turn in the next tick.
                if channel.slot != 0 { schedule(channel, noEarlierThan: Instant(nanoseconds: now.nanoseconds + 1)) }
            }
        }
    }

    /// A tick has ended. The clock that costs nothing may be 4 ms behind; what it shows to be long is measured with the other.
    @inline(__always) func noteTick() {
        tally.value.ticks &+= 1
        if kernel.roughNow().nanoseconds &- now.nanoseconds > 5_000_000 { noteLongTick(kernel.now() - now) }
    }

    @inline(never) private func noteLongTick(_ time: Duration) {
        if time > .milliseconds(10) { tally.value.ticksOver10ms += 1 }
        if time > .milliseconds(100) { tally.value.ticksOver100ms += 1 }
        tally.value.longestTick = max(tally.value.longestTick, time)
    }
}
