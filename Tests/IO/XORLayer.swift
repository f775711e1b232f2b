import MartletBytes
import MartletEventLoop

/// A layer that a test can see through. The client says HELLO, the server OLLEH; a record is its length in two bytes and as many
/// bytes, each XOR 0x5A; a length of 0 is the farewell; one over 9,999 is a failure, and the answer to it a `!`.
final class XORLayer: StreamLayer {
    let isClient: Bool
    private(set) var starts = 0
    private var kept: [UInt8] = []

    init(isClient: Bool) {
        self.isClient = isClient
        super.init()
    }

    override func start() {
        starts += 1
        if isClient { sealed.value.append(utf8: "HELLO") }
    }

    override func unseal(_ bytes: UnsafeRawPointer, count: Int, into plain: UnsafeMutableRawPointer) -> Int {
        kept += UnsafeRawBufferPointer(start: bytes, count: count)
        var written = 0
        if !isOpen {
            guard kept.count >= 5 else { return 0 }
            guard kept.prefix(5).elementsEqual((isClient ? "OLLEH" : "HELLO").utf8) else { return fail(.handshakeFailed, written) }
            kept.removeFirst(5)
            if !isClient { sealed.value.append(utf8: "OLLEH") }
            isOpen = true
        }
        while kept.count >= 2 {
            let length = Int(kept[0]) << 8 | Int(kept[1])
            if length == 0 { hasEnded = true; return written }
            if length > 9999 { return fail(.protocolError, written) }
            guard kept.count >= 2 + length else { break }
            for byte in kept[2..<2 + length] {
                plain.storeBytes(of: byte ^ 0x5A, toByteOffset: written, as: UInt8.self)
                written += 1
            }
            kept.removeFirst(2 + length)
        }
        return written
    }

    private func fail(_ kind: LayerFailure.Kind, _ written: Int) -> Int {
        failure = LayerFailure(kind, "not what was agreed")
        sealed.value.append(utf8: "!")
        return written
    }

    override func seal(_ plain: UnsafeRawPointer, count: Int) { Self.seal(Array(UnsafeRawBufferPointer(start: plain, count: count)), into: &sealed.value) }
    override func sealEnd() { sealed.value.append(UInt16(0)) }

    private static func seal(_ bytes: [UInt8], into sealed: inout ByteBuffer) {
        for start in stride(from: 0, to: bytes.count, by: 5000) {
            let piece = bytes[start..<min(bytes.count, start + 5000)]
            sealed.append(UInt16(piece.count))
            for byte in piece { sealed.append(byte ^ 0x5A) }
        }
    }

    /// What a peer would send.
    static func records(_ bytes: [UInt8]) -> [UInt8] {
        var sealed = ByteBuffer()
        seal(bytes, into: &sealed)
        return sealed.span.array
    }
}
