import MartletBytes

/// What the world can see of a machine.
struct Observed<Owned: Equatable & Sendable>: Equatable {
    var events: [Owned] = []
    var output: [UInt8] = []
    /// The violation's description.
    var violation: String?
    /// The most bytes that were ever left over for the next read.
    var keptMax = 0
}

/// Shows `bytes` to a machine in pieces of `size`, as a driver does, and stops at a violation. Every law is written over this.
/// `answer` may send after each event, as a gateway does. `mayBeEmpty`: an event that consumes nothing (the end of counted content). `owned`: of a machine whose
/// ranges may speak of its own buffer.
func observe<Machine: ProtocolMachine & ~Copyable>(
    _ make: () -> Machine, _ bytes: [UInt8], pieces size: Int, mayBeEmpty: (Machine.Event) -> Bool = { _ in false },
    owned: (borrowing Machine, Machine.Event, Span<UInt8>) -> Machine.Event.Owned = { $1.owned(in: $2) },
    answer: (inout Machine, Machine.Event, inout ByteBuffer) -> Void = { _, _, _ in }
) -> Observed<Machine.Event.Owned> {
    var machine = make()
    var observed = Observed<Machine.Event.Owned>()
    var unread = UnreadBytes()
    var output = ByteBuffer()
    do {
        for at in stride(from: 0, to: bytes.count, by: max(1, size)) {
            let new = bytes.span.extracting(at..<min(at + max(1, size), bytes.count))
            var used = 0
            do {
                let all = unread.show(new)
                var input = ByteReader(all)
                while true {
                    let before = input.offset
                    guard let event = try machine.nextEvent(from: &input, into: &output) else {
                        precondition(input.offset == before, "nothing is consumed on nil")
                        break
                    }
                    precondition(input.offset > before || mayBeEmpty(event), "an event consumes its bytes")
                    observed.events.append(owned(machine, event, all))
                    answer(&machine, event, &output)
                }
                used = input.offset
            }
            unread.keep(new, used: used)
            // What comes after the end (DISCONNECT) its driver throws away.
            if machine.deadline != .never { observed.keptMax = max(observed.keptMax, unread.count) }
        }
    } catch {
        observed.violation = "\(error)"
        let said = output.count
        var input = ByteReader(bytes.span)
        let silent = (try? machine.nextEvent(from: &input, into: &output)) ?? nil
        precondition(silent == nil && input.offset == 0 && output.count == said && machine.deadline == .never, "nothing follows a violation")
    }
    observed.output = output.span.array
    return observed
}

/// A generator that its seed repeats (splitmix64).
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
