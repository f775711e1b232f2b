import MartletBytes
import MartletFramingProtocol
import Testing

@Suite("The laws of a protocol machine: framing")
struct FramingLaws {
    private static let framings: [Framing] =
        [.lines, .fixed(1), .fixed(7)] + Framing.PrefixWidth.allCases.map { .lengthPrefixed(width: $0) }

    private func machine(_ framing: Framing) -> FramingMachine { FramingMachine(framing, limits: FramingLimits(max: 40)) }

    /// Frames that the framing can carry.
    private func frames(_ framing: Framing, _ rng: inout SeededGenerator) -> [[UInt8]] {
        (0..<Int.random(in: 0...12, using: &rng)).map { _ in
            switch framing {
            case .fixed(let size): return (0..<size).map { _ in .random(in: 0...255, using: &rng) }
            case .lines:
                let line = MQTTSamples.bytes(&rng, atMost: 40).filter { $0 != 10 }
                return line.last == 13 ? line.dropLast() + [97] : line
            default: return MQTTSamples.bytes(&rng, atMost: 40)
            }
        }
    }

    private func encoded(_ frames: [[UInt8]], _ framing: Framing) throws -> [UInt8] {
        var machine = machine(framing), output = ByteBuffer()
        for frame in frames { try machine.send(frame, into: &output) }
        return output.span.array
    }

    @Test("What one side sends, the other reads, however it is cut", arguments: 0..<100)
    func roundTrip(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        for framing in Self.framings {
            let frames = frames(framing, &rng)
            let bytes = try encoded(frames, framing)
            for size in [bytes.count, 1, 2, 5, 64] {
                let seen = observe({ machine(framing) }, bytes, pieces: size)
                #expect(seen.events == frames.map { .frame($0) } && seen.violation == nil && seen.output == [], "\(framing) in pieces of \(size)")
            }
        }
    }

    @Test("No bytes trap, and any split of them gives the same", arguments: 0..<200)
    func anyBytes(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        for framing in Self.framings {
            var bytes = Bool.random(using: &rng) ? MQTTSamples.mutated(try encoded(frames(framing, &rng), framing), &rng) : MQTTSamples.bytes(&rng, atMost: 90)
            // Ends of lines where random bytes have few.
            for index in bytes.indices where framing == .lines && UInt8.random(in: 0..<8, using: &rng) == 0 {
                bytes[index] = Bool.random(using: &rng) ? 10 : 13
            }
            let whole = observe({ machine(framing) }, bytes, pieces: bytes.count)
            for size in [1, 2, 3, 5, 64] {
                #expect(observe({ machine(framing) }, bytes, pieces: size) == whole, "\(framing): \(bytes) in pieces of \(size)")
            }
        }
    }

    @Test("No more is kept than a frame, its prefix or its CR", arguments: 0..<50)
    func keepsNoMoreThanAFrame(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        for framing in Self.framings {
            var machine = machine(framing), unread = UnreadBytes(), output = ByteBuffer()
            let bytes = (0..<400).map { _ in UInt8.random(in: 0...255, using: &rng) }
            do throws(FramingViolation) {
                for index in bytes.indices {
                    let new = bytes.span.extracting(index..<index + 1)
                    var used = 0
                    do {
                        let all = unread.show(new)
                        var input = ByteReader(all)
                        while try machine.nextEvent(from: &input, into: &output) != nil {}
                        used = input.offset
                    }
                    unread.keep(new, used: used)
                    let kept = unread.count
                    #expect(kept <= 40 + 8)
                }
            } catch { continue }
        }
    }

    @Test("Bytes that are not framed: any split gives the same bytes", arguments: 0..<20)
    func unframed(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        let bytes = MQTTSamples.bytes(&rng, atMost: 200)
        for size in [bytes.count, 1, 2, 5, 64] {
            let seen = observe({ FramingMachine(.bytes) }, bytes, pieces: size)
            let joined = seen.events.flatMap { event in
                switch event {
                case .frame(let bytes): bytes
                }
            }
            #expect(joined == bytes && seen.violation == nil)
        }
    }
}
