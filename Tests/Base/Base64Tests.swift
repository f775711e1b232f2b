import MartletBytes
import Testing

@Suite struct Base64Tests {
    @Test(
        arguments: zip(
            [[], [0x66], [0x66, 0x6F], [0x66, 0x6F, 0x6F], [0x66, 0x6F, 0x6F, 0x62], [0xFF, 0xFE, 0xFD, 0]] as [[UInt8]],
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "//79AA=="]))
    func `bytes are written and read`(bytes: [UInt8], text: String) {
        #expect(Base64.text(bytes) == text)
        #expect(Base64.bytes(Array(text.utf8)) == bytes)
    }

    @Test func `every byte at every place comes back`() {
        for count in 0..<260 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ count) }
            #expect(Base64.bytes(Array(Base64.text(bytes).utf8)) == bytes)
        }
    }

    @Test(arguments: ["Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Z=g=", "Zm9 ", "Zm9-", "Zm9_", "Zh==", "Zm9=", "Zm\n9v", "=Zg="])
    func `what is not so written is nothing`(text: String) {
        #expect(Base64.bytes(Array(text.utf8)) == nil)
        var buffer = ByteBuffer()
        #expect(!Base64.append(decoding: Array(text.utf8).span, to: &buffer))
        let count = buffer.count
        #expect(count == 0)
    }
}
