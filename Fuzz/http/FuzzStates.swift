import MartletBytes
import MartletHTTPProtocol

/// Small limits, so that a fuzzer meets them.
let fuzzLimits: HTTPLimits = {
    var limits = HTTPLimits()
    limits.startLineMax = 64
    limits.fieldsBytesMax = 200
    limits.fieldsMax = 8
    limits.bodyMax = 100
    limits.chunkLineMax = 24
    return limits
}()

/// What the world saw of a machine; content in one piece.
struct FuzzSeen<Owned: Equatable>: Equatable {
    var events: [Owned] = []
    var output: [UInt8] = []
    var violation: HTTPViolation?
}

/// Shows the bytes in pieces, then the end. Traps when something is kept beyond the limits or follows a violation.
func fuzzObserve<Machine: ProtocolMachine & ~Copyable>(
    _ machine: inout Machine, _ bytes: [UInt8], pieces size: Int, join: (inout [Machine.Event.Owned], Machine.Event.Owned) -> Void,
    answer: (inout Machine, Machine.Event.Owned, inout ByteBuffer) -> Void
) -> FuzzSeen<Machine.Event.Owned> where Machine.Violation == HTTPViolation {
    var seen = FuzzSeen<Machine.Event.Owned>(), output = ByteBuffer(), unread = UnreadBytes()
    do throws(HTTPViolation) {
        var at = 0
        while at <= bytes.count {
            let new = bytes.span.extracting(at..<min(at + size, bytes.count))
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
                    let owned = event.owned(in: all)
                    join(&seen.events, owned)
                    answer(&machine, owned, &output)
                }
                used = input.offset
            }
            unread.keep(new, used: used)
            at += size
        }
        try machine.receiveEnd(at: Instant(nanoseconds: 0), into: &output)
        var input = ByteReader(Span())
        while let event = try machine.nextEvent(from: &input, into: &output) { join(&seen.events, event.owned(in: Span())) }
    } catch {
        seen.violation = error
        let said = output.count
        var input = ByteReader(bytes.span)
        let silent = (try? machine.nextEvent(from: &input, into: &output)) ?? nil
        precondition(silent == nil && input.offset == 0 && output.count == said && machine.deadline == .never, "something follows a violation")
    }
    seen.output = output.span.array
    return seen
}
