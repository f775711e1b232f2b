import MartletBytes
import MartletWebSocketProtocol

/// Frames as tests make and read them, apart from the machine.
struct WireFrame: Equatable {
    var first: UInt8
    var payload: [UInt8]
    var isMasked = false

    var bytes: [UInt8] { bytes(mask: nil) }

    func bytes(mask: [UInt8]?) -> [UInt8] {
        var bytes = [first]
        let flag: UInt8 = mask == nil ? 0 : 0x80
        switch payload.count {
        case 0..<126: bytes.append(flag | UInt8(payload.count))
        case 0..<65536: bytes += [flag | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [flag | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard let mask else { return bytes + payload }
        return bytes + mask + payload.enumerated().map { $0.element ^ mask[$0.offset % 4] }
    }

    /// All of `bytes`, which has to be whole frames.
    static func all(_ bytes: [UInt8]) -> [WireFrame] {
        var frames: [WireFrame] = [], rest = bytes[...]
        while !rest.isEmpty {
            let first = rest.removeFirst(), second = rest.removeFirst()
            var count = Int(second & 0x7F)
            let more = count == 126 ? 2 : count == 127 ? 8 : 0
            if more > 0 {
                count = rest.prefix(more).reduce(0) { $0 << 8 | Int($1) }
                rest.removeFirst(more)
            }
            let mask = second & 0x80 == 0 ? nil : Array(rest.prefix(4))
            if mask != nil { rest.removeFirst(4) }
            let payload = rest.prefix(count).enumerated().map { $0.element ^ (mask?[$0.offset % 4] ?? 0) }
            rest.removeFirst(count)
            frames.append(WireFrame(first: first, payload: payload, isMasked: mask != nil))
        }
        return frames
    }
}

/// Events as lines: what the vectors and the tests compare.
enum WebSocketEventLine {
    static func text(_ event: WebSocketEvent.Owned) -> String? {
        switch event {
        case .text(let bytes): "text \(quoted(bytes))"
        case .binary(let bytes): "binary \(quoted(bytes))"
        case .part: nil
        case .ping(let bytes): "ping \(quoted(bytes))"
        case .pong(let bytes): "pong \(quoted(bytes))"
        case .close(let code, let reason): "close \(code) \(quoted(reason))"
        }
    }

    private static func quoted(_ bytes: [UInt8]) -> String {
        let text = bytes.map { byte in
            let isPlain = byte >= 0x20 && byte < 0x7F && byte != 0x22 && byte != 0x5C
            return isPlain ? String(Unicode.Scalar(byte)) : "\\" + hex([byte])
        }
        return "\"\(text.joined())\""
    }
}
