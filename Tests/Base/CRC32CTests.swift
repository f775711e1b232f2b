import CLinux
import MartletBytes
import Testing

@Suite struct CRC32CTests {
    /// RFC 3720, B.4, and the check value of the CRC catalogues.
    @Test(
        arguments: [
            ([UInt8](repeating: 0, count: 32), 0x8A91_36AA), ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43), ([UInt8](0..<32), 0x46DD_794E),
            ([UInt8]((0..<32).reversed()), 0x113F_DB5C), ([UInt8]("123456789".utf8), 0xE306_9283), ([], 0),
        ] as [([UInt8], UInt32)])
    func `RFC 3720's vectors`(bytes: [UInt8], checksum: UInt32) {
        #expect(CRC32C(bytes.span).value == checksum)
        #expect(cl_crc32c_by_table(0, bytes, bytes.count) == checksum)
    }

    @Test func `every way gives what one bit at a time gives, at every length, alignment and cut`() {
        var random = SystemRandomNumberGenerator()
        let bytes = (0..<20_000).map { _ in UInt8.random(in: 0...255, using: &random) }
        let lengths = Array(0...70) + [127, 128, 383, 384, 385, 391, 768, 1_151, 6_143, 6_144, 6_145, 6_533, 12_288, 12_700, 19_990]
        for length in lengths {
            for start in length < 800 ? 0...8 : 0...1 {
                let piece = Array(bytes[start..<start + length])
                let expected = bitwise(piece)
                let byTable = bytes.withUnsafeBufferPointer { cl_crc32c_by_table(0, $0.baseAddress! + start, length) }
                #expect(CRC32C(bytes.span.extracting(start..<start + length)).value == expected, "\(length) from \(start)")
                #expect(byTable == expected, "\(length) from \(start), by table")
                let cut = Int.random(in: 0...length)
                var inTwo = CRC32C(piece.span.extracting(0..<cut))
                inTwo.append(piece.span.extracting(cut..<length))
                #expect(inTwo.value == expected, "\(length) cut at \(cut)")
            }
        }
    }

    @Test func `numbers count as their big-endian bytes`() {
        var numbers = CRC32C()
        numbers.append(0x0102_0304 as UInt32)
        numbers.append(0x0506_0708_090A_0B0C as UInt64)
        let bytes = [UInt8](1...12)
        #expect(numbers == CRC32C(bytes.span))
    }

    private func bitwise(_ bytes: [UInt8]) -> UInt32 {
        var crc = ~UInt32(0)
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
        }
        return ~crc
    }
}
