import MartletBytes
import MartletFramingProtocol
import Testing

/// `Tests/Vectors/framing`: one table for decoding, refusing and encoding.
@Suite("Framing vectors")
struct FramingVectorTests {
    @Test("The folder holds at least 30 vectors, each under a name of its own")
    func enough() throws {
        let names = try TestVector.all(in: "framing").map(\.description)
        #expect(names.count >= 30)
        #expect(Set(names).count == names.count)
    }

    @Test("Each vector gives its frames and violation, however it is cut", arguments: try TestVector.all(in: "framing"))
    func decodes(_ vector: TestVector) throws {
        for size in [vector.input.count, 1, 2, 3, 7] {
            let machine = try machine(vector.on)
            let observed = observe({ machine }, vector.input, pieces: size, ends: vector.ends)
            #expect(observed.events == (try vector.events.map { .frame(try frame($0)) }), "in pieces of \(size)")
            #expect(observed.violation.map(caseName) == vector.violation)
            #expect(observed.output == [])
        }
    }

    @Test("Sending the frames gives the bytes", arguments: try TestVector.all(in: "framing").filter(\.encodes))
    func encodes(_ vector: TestVector) throws {
        var machine = try machine(vector.on)
        var output = ByteBuffer()
        for event in vector.events { try machine.send(frame(event), into: &output) }
        let written = output.span.array
        #expect(hex(written) == hex(vector.input))
    }

    @Test("What the framing cannot say is refused, and nothing is written")
    func misuse() throws {
        let cases: [(FramingMachine, [UInt8], FramingMisuse)] = [
            (try machine("lines max=2"), [97, 98, 99], .frameTooLong(max: 2)),
            (try machine("lines"), [97, 10], .notOneLine),
            (try machine("lines"), [97, 13], .notOneLine),
            (try machine("prefix8"), [UInt8](repeating: 0, count: 256), .frameTooLong(max: 255)),
            (try machine("prefix16 max=3"), [1, 2, 3, 4], .frameTooLong(max: 3)),
            (try machine("fixed4"), [1, 2, 3], .wrongSize(expected: 4)),
        ]
        for (machine, frame, misuse) in cases {
            var machine = machine
            var output = ByteBuffer()
            #expect(throws: misuse) { try machine.send(frame, into: &output) }
            let isSilent = output.isEmpty
            #expect(isSilent)
        }
    }

    @Test("After a violation nothing is sent")
    func nothingFollowsAViolation() throws {
        var machine = try machine("fixed4")
        var output = ByteBuffer()
        let bytes: [UInt8] = [1]
        var input = ByteReader(bytes.span)
        _ = try machine.nextEvent(from: &input, into: &output)
        #expect(throws: FramingViolation.endedInFrame) { try machine.receiveEnd(at: Instant(nanoseconds: 0), into: &output) }
        #expect(throws: FramingMisuse.closed) { try machine.send([1, 2, 3, 4], into: &output) }
        try machine.receiveEnd(at: Instant(nanoseconds: 0), into: &output)
    }

    @Test("Bytes that are not framed arrive as they came")
    func unframed() throws {
        var machine = FramingMachine(.bytes)
        var output = ByteBuffer()
        let bytes = [UInt8](0...255)
        var input = ByteReader(bytes.span)
        let event = try machine.nextEvent(from: &input, into: &output), next = try machine.nextEvent(from: &input, into: &output)
        #expect(event == .frame(ByteRange(0, 256)) && next == nil)
        try machine.send(bytes, into: &output)
        try machine.receiveEnd(at: Instant(nanoseconds: 0), into: &output)
        let written = output.span.array
        #expect(written == bytes)
    }

    private func caseName(_ violation: FramingViolation) -> String {
        switch violation {
        case .frameTooLong: "frameTooLong"
        case .endedInFrame: "endedInFrame"
        }
    }

    private func frame(_ text: String) throws -> [UInt8] { text == "empty" ? [] : try TestVector.bytes(text) }

    private func machine(_ on: String) throws -> FramingMachine {
        let words = on.split(separator: " ")
        let limits = words.count > 1 ? FramingLimits(max: try #require(Int(words[1].dropFirst(4)))) : FramingLimits()
        let framing: Framing =
            switch words[0] {
            case "lines": .lines
            case "fixed1": .fixed(1)
            case "fixed4": .fixed(4)
            default: .lengthPrefixed(width: try #require(.init(rawValue: (Int(words[0].dropFirst(6)) ?? 0) / 8)))
            }
        return FramingMachine(framing, limits: limits)
    }

    /// What a driver does: shows the bytes in pieces, then the end.
    private func observe(_ make: () -> FramingMachine, _ bytes: [UInt8], pieces size: Int, ends: Bool) -> Seen {
        var machine = make()
        var seen = Seen(), unread = UnreadBytes(), output = ByteBuffer()
        do throws(FramingViolation) {
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
            if ends { try machine.receiveEnd(at: Instant(nanoseconds: 0), into: &output) }
        } catch { seen.violation = error }
        seen.output = output.span.array
        return seen
    }

    private struct Seen {
        var events: [FramingEvent.Owned] = []
        var violation: FramingViolation?
        var output: [UInt8] = []
    }
}
