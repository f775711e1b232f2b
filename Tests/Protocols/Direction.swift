import MartletBytes

/// One direction of a fake link: what was written and not yet read, delivered in pieces of any size.
struct Direction: ~Copyable {
    var inFlight: [UInt8] = []
    var unread = UnreadBytes()

    /// Takes what `machine`'s side wrote.
    mutating func take(_ output: inout ByteBuffer) {
        inFlight += output.span.array
        output.removeAll()
    }

    /// Shows the next piece to the reader and answers its events. `owned`: of a machine whose ranges speak of its own content.
    mutating func deliver<Machine: ProtocolMachine & ~Copyable>(
        _ size: Int, to machine: inout Machine, at now: Instant, into output: inout ByteBuffer,
        owned: (borrowing Machine, Machine.Event, Span<UInt8>) -> Machine.Event.Owned = { $1.owned(in: $2) },
        _ answer: (inout Machine, Machine.Event, inout ByteBuffer) throws -> Void
    ) throws -> [Machine.Event.Owned] {
        let piece = Array(inFlight.prefix(size))
        inFlight.removeFirst(piece.count)
        var events: [Machine.Event.Owned] = []
        var used = 0
        machine.heard(at: now)
        do {
            let all = unread.show(piece.span)
            var input = ByteReader(all)
            while let event = try machine.nextEvent(from: &input, into: &output) {
                events.append(owned(machine, event, all))
                try answer(&machine, event, &output)
            }
            used = input.offset
        }
        unread.keep(piece.span, used: used)
        return events
    }
}
