import MartletAMQPProtocol
import MartletBytes
import Testing

@Suite("AMQP client and server machine, face to face: time")
struct AMQPPairTimeTests {
    private static func limits(heartbeat: UInt16) -> AMQPLimits {
        var limits = AMQPStates.limits
        limits.heartbeat = heartbeat
        return limits
    }

    private static func at(_ seconds: Int) -> Instant { AMQPStates.start.advanced(bySeconds: seconds) }

    @Test("An idle connection keeps itself alive by heartbeats, at least one an interval from each side")
    func keepsAlive() throws {
        var pair = try AMQPPair.open(channels: 1...1, limits: Self.limits(heartbeat: 10))
        try pair.run(until: Self.at(100))
        let beats = (pair.heardByServer.filter { $0 == .heartbeat }.count, pair.heardByClient.filter { $0 == .heartbeat }.count)
        #expect((10...20).contains(beats.0) && (10...20).contains(beats.1))
    }

    @Test("Who says something twice an interval sends no heartbeats")
    func busy() throws {
        var pair = try AMQPPair.open(channels: 1...1, limits: Self.limits(heartbeat: 10))
        for second in stride(from: 2, through: 100, by: 2) {
            try pair.client.send(.method(channel: 1, .basicAck(.init(deliveryTag: 1))), into: &pair.clientOutput)
            try pair.client.ack(channel: 1, deliveryTag: 2, into: &pair.clientOutput)
            try pair.settle()
            try pair.run(until: Self.at(second))
        }
        let beats = (pair.heardByServer.filter { $0 == .heartbeat }.count, pair.heardByClient.filter { $0 == .heartbeat }.count)
        #expect(beats.0 == 0 && beats.1 >= 10)
    }

    @Test("No heartbeats, no deadline", arguments: [(0, 60), (60, 0), (0, 0)] as [(UInt16, UInt16)])
    func none(client: UInt16, server: UInt16) throws {
        let pair = try AMQPPair(client: Self.limits(heartbeat: client), server: Self.limits(heartbeat: server))
        let deadlines = (pair.client.deadline, pair.server.deadline)
        #expect(deadlines == (.never, .never))
    }

    @Test("A peer that is silent for two intervals is given up, without a farewell; any byte counts as life")
    func silence() throws {
        var pair = try AMQPPair.open(channels: 1...1, limits: Self.limits(heartbeat: 10))
        // The client is gone: what the server says goes nowhere.
        func wake(_ pair: inout AMQPPair, at second: Int) throws { try pair.server.wake(at: Self.at(second), into: &pair.serverOutput) }
        for second in stride(from: 5, through: 15, by: 5) { try wake(&pair, at: second) }
        pair.server.heard(at: Self.at(15))
        for second in stride(from: 20, through: 30, by: 5) { try wake(&pair, at: second) }
        let deadline = pair.server.deadline
        #expect(deadline == Self.at(35))
        pair.serverOutput.removeAll()
        #expect(throws: AMQPViolation.heartbeatMissed) { try wake(&pair, at: 35) }
        let end = (pair.serverOutput.isEmpty, pair.server.isClosed, pair.server.deadline)
        #expect(end == (true, true, .never))
    }

    @Test("A connection that does not open in time ends, at any step of the peer", arguments: ["new", "started", "challenged", "tuned", "agreed"])
    func serverWaits(state: String) throws {
        var server = try AMQPStates(state).takeServer(), output = ByteBuffer()
        let deadline = server.deadline
        #expect(deadline == Self.at(10))
        #expect(throws: AMQPViolation.openTimedOut) { try server.wake(at: Self.at(10), into: &output) }
        let end = (output.isEmpty, server.isClosed)
        #expect(end == (true, true))
    }

    @Test("While the answer is a server's own, no time runs", arguments: ["header", "authenticated", "opening"])
    func serverOwes(state: String) throws {
        let server = try AMQPStates(state).takeServer()
        let deadline = server.deadline
        #expect(deadline == .never)
    }

    @Test("A client waits for its server no longer than that", arguments: ["header", "authenticated", "opening"])
    func clientWaits(state: String) throws {
        var client = try AMQPStates(state).takeClient(), output = ByteBuffer()
        let deadline = client.deadline
        #expect(deadline == Self.at(10))
        #expect(throws: AMQPViolation.openTimedOut) { try client.wake(at: Self.at(10), into: &output) }
    }

    @Test("Who closed waits for close-ok so long and no longer", arguments: [true, false])
    func closeTimesOut(isClients: Bool) throws {
        func check<Machine: ProtocolMachine & ~Copyable>(_ machine: consuming Machine) throws where Machine.Violation == AMQPViolation {
            var machine = machine, output = ByteBuffer()
            let first = machine.deadline
            #expect(first < Self.at(3))
            try machine.wake(at: Self.at(3), into: &output)
            let second = machine.deadline
            #expect(second == Self.at(13))
            #expect(throws: AMQPViolation.closeTimedOut) { try machine.wake(at: Self.at(13), into: &output) }
            let end = (output.isEmpty, machine.deadline)
            #expect(end == (true, .never))
        }
        let states = try AMQPStates("closing by \(isClients ? "client" : "server")")
        if isClients { try check(states.takeClient()) } else { try check(states.takeServer()) }
    }
}
