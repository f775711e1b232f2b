public import MartletBytes
public import MartletEventLoop

extension EventLoop {
    /// Drives a machine over what a connection has received: takes its events one by one until it wants more bytes, or `handle`
    /// answers false. Answers how many bytes were used.
    ///
    /// Throws the machine's violation; its farewell is then in the connection's output: `finish` the channel. `handle` may send
    /// through the machine it is given and append to any connection's output (`willWrite` first).
    @inlinable @inline(__always)
    public func drive<Machine: ProtocolMachine & ~Copyable>(
        _ machine: inout Machine, over bytes: Span<UInt8>, slot: UInt32, _ handle: (Machine.Event, inout Machine) -> Bool
    ) throws(Machine.Violation) -> Int {
        defer { if !self[output: slot].isEmpty { willWrite(slot) } }
        machine.heard(at: now)
        var input = ByteReader(bytes)
        while let event = try machine.nextEvent(from: &input, into: &self[output: slot]) {
            guard handle(event, &machine) else { break }
        }
        return input.offset
    }

    /// Tells a machine that its deadline came. Throws as `drive` does.
    @inlinable
    public func wake<Machine: ProtocolMachine & ~Copyable>(_ machine: inout Machine, slot: UInt32) throws(Machine.Violation) {
        defer { if !self[output: slot].isEmpty { willWrite(slot) } }
        try machine.wake(at: now, into: &self[output: slot])
    }

    /// Sends through a machine. Throws when the machine's state does not allow it.
    @inlinable
    public func send<Machine: ProtocolMachine & ~Copyable>(_ message: Machine.Outgoing, through machine: inout Machine, slot: UInt32) throws(Machine.Misuse) {
        willWrite(slot)
        try machine.send(message, into: &self[output: slot])
    }
}
