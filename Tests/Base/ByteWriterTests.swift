import MartletBytes
import Testing

@Suite("Fields into room reserved beforehand")
struct ByteWriterTests {
    @Test("Bytes of any length are copied as they are, and nothing around them is touched", arguments: 0...70)
    func copies(length: Int) {
        let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
        var buffer = ByteBuffer()
        buffer.write(capacity: length + 2) { writer in
            writer.write(0xEE as UInt8)
            writer.write(bytes.span)
            writer.write(0xDD as UInt8)
        }
        let written = buffer.span.array
        #expect(written == [0xEE] + bytes + [0xDD])
    }

    @Test("Numbers are written big-endian")
    func numbers() {
        var buffer = ByteBuffer()
        buffer.write(capacity: 15) { writer in
            writer.write(1 as UInt8)
            writer.write(0x0203 as UInt16)
            writer.write(0x0405_0607 as UInt32)
            writer.write(0x0809_0A0B_0C0D_0E0F as UInt64)
        }
        let written = buffer.span.array
        #expect(written == Array(1...15))
    }

    @Test("A write beyond the room traps", arguments: [1, 10, 20, 40])
    func traps(length: Int) async {
        await #expect(processExitsWith: .failure) { [length] in
            let bytes = [UInt8](repeating: 1, count: length)
            var buffer = ByteBuffer()
            buffer.write(capacity: length - 1) { $0.write(bytes.span) }
        }
    }
}
