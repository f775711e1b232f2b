import MartletBytes
import MartletZMTPProtocol
import Testing

/// Deadlines under a virtual clock.
@Suite("ZMTP time")
struct ZMTPTimeTests {
    private static func heartbeat(_ interval: Int, timeout: Int, timeToLive: Duration? = nil) -> ZMTPHeartbeat {
        var heartbeat = ZMTPHeartbeat()
        heartbeat.interval = .seconds(interval)
        heartbeat.timeout = .seconds(timeout)
        heartbeat.timeToLive = timeToLive
        return heartbeat
    }

    @Test("A handshake that drips is over after 30 s, and is told so", arguments: [ZMTPPair.Mechanism.null, .plain, .curve])
    func drips(_ mechanism: ZMTPPair.Mechanism) throws {
        var pair = ZMTPPair(mechanism)
        try pair.a.greet(into: &pair.aOutput)
        pair.toB.take(&pair.aOutput)
        let deadline = pair.b.deadline
        #expect(deadline == ZMTPPair.start.advanced(bySeconds: 30))
        for second in 0..<11 {
            let now = ZMTPPair.start.advanced(bySeconds: second * 2)
            _ = try pair.toB.deliver(1, to: &pair.b, at: now, into: &pair.bOutput) { _, _, _ in }
            try pair.b.wake(at: now, into: &pair.bOutput)
            let later = pair.b.deadline
            #expect(later == deadline)
        }
        #expect(throws: ZMTPViolation.handshakeTimedOut) { try pair.b.wake(at: deadline, into: &pair.bOutput) }
        let isClosed = pair.b.isClosed && pair.b.deadline == .never
        #expect(isClosed)
    }

    @Test("Whoever is asked and never answers does not hold a connection for ever")
    func unanswered() throws {
        var pair = ZMTPPair(.plain)
        pair.refusal = .temporary
        try pair.a.greet(into: &pair.aOutput)
        pair.toB.take(&pair.aOutput)
        _ = try pair.toB.deliver(.max, to: &pair.b, at: pair.now, into: &pair.bOutput) { _, _, _ in }
        let deadline = pair.a.deadline
        #expect(throws: ZMTPViolation.handshakeTimedOut) { try pair.a.wake(at: deadline, into: &pair.aOutput) }
    }

    @Test("By default a PING goes every 15 s, and an answer is a sign of life", arguments: ZMTPPair.Mechanism.allCases)
    func beats(_ mechanism: ZMTPPair.Mechanism) throws {
        var pair = ZMTPPair(mechanism, heartbeat: ZMTPHeartbeat())
        try pair.open()
        pair.forget()
        for round in 1...4 {
            let now = ZMTPPair.start.advanced(bySeconds: round * 15)
            let due = pair.a.deadline
            #expect(due == now)
            pair.now = now
            try pair.a.wake(at: now, into: &pair.aOutput)
            try pair.settle()
            #expect(pair.heardByB.count == round && pair.heardByB.allSatisfy { $0 == .ping })
            #expect(pair.heardByA.count == round && pair.heardByA.allSatisfy { $0 == .pong })
        }
    }

    @Test("Nothing for the timeout after a PING is a missed heartbeat; anything in between is not")
    func missed() throws {
        var pair = ZMTPPair(.null, heartbeat: Self.heartbeat(10, timeout: 4))
        try pair.open()
        let first = ZMTPPair.start.advanced(bySeconds: 10)
        try pair.a.wake(at: first, into: &pair.aOutput)
        let silence = pair.a.deadline
        #expect(silence == first.advanced(bySeconds: 4))
        pair.a.heard(at: first.advanced(bySeconds: 3))
        try pair.a.wake(at: silence, into: &pair.aOutput)
        let second = pair.a.deadline
        #expect(second == first.advanced(bySeconds: 10))
        try pair.a.wake(at: second, into: &pair.aOutput)
        #expect(throws: ZMTPViolation.heartbeatMissed) { try pair.a.wake(at: second.advanced(bySeconds: 4), into: &pair.aOutput) }
        #expect(throws: ZMTPMisuse.outOfTurn) { try pair.a.send(.message([[1]]), into: &pair.aOutput) }
    }

    @Test("A timeout longer than the interval begins with the first PING, not with the last")
    func longTimeout() throws {
        var pair = ZMTPPair(.null, heartbeat: Self.heartbeat(2, timeout: 5))
        try pair.open()
        try pair.a.wake(at: ZMTPPair.start.advanced(bySeconds: 2), into: &pair.aOutput)
        try pair.a.wake(at: ZMTPPair.start.advanced(bySeconds: 4), into: &pair.aOutput)
        try pair.a.wake(at: ZMTPPair.start.advanced(bySeconds: 6), into: &pair.aOutput)
        let deadline = pair.a.deadline
        #expect(deadline == ZMTPPair.start.advanced(bySeconds: 7))
        #expect(throws: ZMTPViolation.heartbeatMissed) { try pair.a.wake(at: deadline, into: &pair.aOutput) }
    }

    @Test("A peer whose PING allows no more silence is given up after it")
    func timeToLive() throws {
        var pair = ZMTPPair(.null, heartbeat: Self.heartbeat(10, timeout: 60, timeToLive: .seconds(25)))
        try pair.open()
        let before = pair.b.deadline
        #expect(before == .never)
        pair.now = ZMTPPair.start.advanced(bySeconds: 10)
        try pair.a.wake(at: pair.now, into: &pair.aOutput)
        try pair.settle()
        let deadline = pair.b.deadline
        #expect(deadline == ZMTPPair.start.advanced(bySeconds: 35))
        #expect(throws: ZMTPViolation.timeToLiveOver) { try pair.b.wake(at: deadline, into: &pair.bOutput) }
    }

    @Test("What this side did not read by its own will is not held against the peer")
    func excused() throws {
        var pair = ZMTPPair(.null, heartbeat: Self.heartbeat(10, timeout: 4))
        try pair.open()
        try pair.a.wake(at: ZMTPPair.start.advanced(bySeconds: 10), into: &pair.aOutput)
        pair.a.excuse(at: ZMTPPair.start.advanced(bySeconds: 13))
        let deadline = pair.a.deadline
        #expect(deadline == ZMTPPair.start.advanced(bySeconds: 20))
    }

    @Test("A wake before the deadline does nothing")
    func early() throws {
        var pair = ZMTPPair(.null, heartbeat: ZMTPHeartbeat())
        try pair.open()
        try pair.a.wake(at: ZMTPPair.start.advanced(bySeconds: 14), into: &pair.aOutput)
        let isSilent = pair.aOutput.isEmpty
        #expect(isSilent)
    }
}
