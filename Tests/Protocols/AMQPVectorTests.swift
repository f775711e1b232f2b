import MartletAMQPProtocol
import MartletBytes
import Testing

/// `Tests/Vectors/amqp`: one table for decoding, refusing and encoding.
@Suite("AMQP vectors")
struct AMQPVectorTests {
    @Test("The folder holds at least 120 vectors, each under a name of its own, and one for each method")
    func enough() throws {
        let vectors = try TestVector.all(in: "amqp")
        let names = vectors.map(\.description)
        #expect(names.count >= 120)
        #expect(Set(names).count == names.count)
        let told = Set(vectors.filter(\.encodes).flatMap(\.events).compactMap { $0.split(separator: " ").dropFirst().first.map(String.init) })
        #expect(AMQPMethodID.allCases.map { "\($0)" }.filter { !told.contains($0) } == [])
    }

    @Test("Each vector gives its events, output and violation, however it is cut", arguments: try TestVector.all(in: "amqp"))
    func decodes(_ vector: TestVector) throws {
        for size in [vector.input.count, 1, 2, 3, 7, 64] {
            let seen = try observe(vector, pieces: size)
            #expect(seen.events.map(\.line) == vector.events, "in pieces of \(size)")
            #expect(hex(seen.output) == hex(vector.output), "in pieces of \(size)")
            #expect(seen.violation?.line == vector.violation, "in pieces of \(size)")
        }
    }

    @Test("The other side turns the events back into the bytes", arguments: try TestVector.all(in: "amqp").filter(\.encodes))
    func encodes(_ vector: TestVector) throws {
        let events = try observe(vector, pieces: vector.input.count).events
        let (isServer, state) = split(vector.on)
        var states = try AMQPStates(state)
        var output = ByteBuffer()
        for event in events {
            let message = try #require(event.outgoing)
            if isServer { try states.client.send(message, into: &output) } else { try states.server.send(message, into: &output) }
        }
        let written = output.span.array
        #expect(hex(written) == hex(vector.input))
    }

    private struct Seen {
        var events: [AMQPEvent.Owned] = []
        var output: [UInt8] = []
        var violation: AMQPViolation?
    }

    private func split(_ on: String) -> (isServer: Bool, state: String) { (on.hasPrefix("server "), String(on.dropFirst(7))) }

    private func observe(_ vector: TestVector, pieces size: Int) throws -> Seen {
        let (isServer, state) = split(vector.on)
        let states = try AMQPStates(state)
        return isServer ? observe(states.takeServer(), vector.input, pieces: size) : observe(states.takeClient(), vector.input, pieces: size)
    }

    private func observe<Machine: ProtocolMachine & ~Copyable>(
        _ machine: consuming Machine, _ bytes: [UInt8], pieces size: Int
    ) -> Seen where Machine.Event == AMQPEvent, Machine.Violation == AMQPViolation {
        var machine = machine
        var seen = Seen(), unread = UnreadBytes(), output = ByteBuffer()
        do throws(AMQPViolation) {
            for at in stride(from: 0, to: bytes.count, by: max(1, size)) {
                let new = bytes.span.extracting(at..<min(at + max(1, size), bytes.count))
                var used = 0
                do {
                    let all = unread.show(new)
                    var input = ByteReader(all)
                    while let event = try machine.nextEvent(from: &input, into: &output) { seen.events.append(event.owned(in: all)) }
                    used = input.offset
                }
                unread.keep(new, used: used)
            }
        } catch { seen.violation = error }
        seen.output = output.span.array
        return seen
    }
}
