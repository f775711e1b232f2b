import MartletBytes
import MartletDeflate
import MartletWebSocketProtocol

/// Frames as peers send them, and damaged ones.
enum WebSocketSamples {
    static let start = Instant(nanoseconds: 1_000_000_000)
    static let words = ["", "a", "Hello, ", "naïve ", "林檎", "😀", "the quick brown fox ", String(repeating: "ab", count: 70)]

    static func pick<Value>(_ values: [Value], _ rng: inout SeededGenerator) -> Value { values[Int.random(in: 0..<values.count, using: &rng)] }

    static func bytes(_ rng: inout SeededGenerator, atMost count: Int) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &rng)).map { _ in .random(in: 0...255, using: &rng) }
    }

    static func text(_ rng: inout SeededGenerator) -> [UInt8] {
        Array((0..<Int.random(in: 0...6, using: &rng)).map { _ in pick(words, &rng) }.joined().utf8)
    }

    static func frame(_ first: UInt8, _ payload: [UInt8], masked: Bool, _ rng: inout SeededGenerator) -> [UInt8] {
        let mask: [UInt8]? = masked ? (0..<4).map { _ in .random(in: 0...255, using: &rng) } : nil
        let flag: UInt8 = masked ? 0x80 : 0
        var bytes = [first]
        switch payload.count {
        case 0..<126: bytes.append(flag | UInt8(payload.count))
        case 0..<65536: bytes += [flag | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [flag | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard let mask else { return bytes + payload }
        return bytes + mask + payload.enumerated().map { $0.element ^ mask[$0.offset % 4] }
    }

    /// As zlib deflates it, without the end that is left out.
    static func deflated(_ bytes: [UInt8]) -> [UInt8] {
        guard !bytes.isEmpty, var deflater = Deflater(.raw) else { return [0] }
        var output = ByteBuffer()
        deflater.append(bytes.span, .sync, into: &output)
        return Array(output.span.array.dropLast(4))
    }

    /// A message in fragments, with pings and pongs between them.
    static func message(masked: Bool, deflates: Bool, _ rng: inout SeededGenerator) -> [UInt8] {
        let isText = Bool.random(using: &rng), isDeflated = deflates && Bool.random(using: &rng)
        let content = isText ? text(&rng) : bytes(&rng, atMost: 300)
        var rest = (isDeflated ? deflated(content) : content)[...], result: [UInt8] = []
        var opcode: UInt8 = (isText ? 1 : 2) | (isDeflated ? 0x40 : 0)
        while true {
            let isLast = Int.random(in: 0...2, using: &rng) == 0
            let piece = isLast ? rest : rest.prefix(Int.random(in: 0...rest.count, using: &rng))
            rest.removeFirst(piece.count)
            result += frame(opcode | (isLast ? 0x80 : 0), Array(piece), masked: masked, &rng)
            if isLast { return result }
            opcode = 0
            if Int.random(in: 0...3, using: &rng) == 0 { result += frame(pick([0x89, 0x8A], &rng), bytes(&rng, atMost: 20), masked: masked, &rng) }
        }
    }

    static func stream(messages: Int, masked: Bool, deflates: Bool, closes: Bool, _ rng: inout SeededGenerator) -> [UInt8] {
        let all = (0..<messages).flatMap { _ in message(masked: masked, deflates: deflates, &rng) }
        return closes ? all + frame(0x88, [0x03, 0xE8] + Array("bye".utf8), masked: masked, &rng) : all
    }

    /// A byte or a bit changed, left out or put in.
    static func mutated(_ bytes: [UInt8], _ rng: inout SeededGenerator) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...3, using: &rng) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &rng)
            switch Int.random(in: 0...3, using: &rng) {
            case 0: bytes[at] = .random(in: 0...255, using: &rng)
            case 1: bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &rng)
            case 2: bytes.remove(at: at)
            default: bytes.insert(.random(in: 0...255, using: &rng), at: at)
            }
        }
        return bytes
    }
}
