import MartletCore
import MartletSimulation
import Testing

@Suite struct AddressConversionTests {
    @Test(
        "A topic and its routing key",
        arguments: [
            ("a/b", "a.b"), ("a.b/c", "a%2Eb.c"), ("a%2Fb/c", "a/b.c"), ("50%/x", "50%25.x"), ("50%25/x", "50%.x"), ("%2E", "%252E"), ("%252F", "%2F"),
            ("%2B%23%00", "+#\0"), ("a//", "a.."), ("caf%C3%A9", "caf%25C3%25A9"), ("é", "é"),
        ]) func pairs(topic: String, key: String)
    {
        #expect(convert(topic, to: .dots) == key)
        #expect(convert(key, to: .slashes) == topic)
    }

    @Test("Patterns keep their wildcards, and only those that are whole levels")
    func patterns() {
        #expect(convert("a.*.#", to: .slashes, isPattern: true) == "a/+/#")
        #expect(convert("a/+/#", to: .dots, isPattern: true) == "a.*.#")
        #expect(convert("a*.+.b#", to: .slashes, isPattern: true) == "a*/%2B/b%23")
    }

    @Test("The way back gives what was there", arguments: [AddressSpelling.slashes, .dots]) func roundTrip(old: AddressSpelling) {
        let other: AddressSpelling = old == .slashes ? .dots : .slashes
        // An MQTT topic holds no wildcards and no NUL.
        let alphabet = Array((old == .slashes ? "%25EFB3./a" : "%25EFB3./a+#0").utf8)
        var random = SeededRandom(7)
        var words: [[UInt8]] = [[]]
        var all = words
        for _ in 0..<3 {
            words = words.flatMap { word in alphabet.map { word + [$0] } }
            all += words
        }
        all += (0..<2000).map { _ in (0..<12).map { _ in alphabet[Int.random(in: 0..<min(5, alphabet.count), using: &random)] } }
        var seen: [[UInt8]: [UInt8]] = [:], wrong: [String] = []
        for word in all where !(old == .slashes && word.isEmpty) {
            let converted = Address.convert(word.span, to: other)
            let isTopic = other == .dots || !converted.contains { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "#") }
            if Address.convert(converted.span, to: old) != word || (seen.updateValue(word, forKey: converted) ?? word) != word || !isTopic {
                wrong.append(String(decoding: word, as: UTF8.self))
            }
        }
        #expect(wrong == [])
    }

    @Test("What is no UTF-8 becomes some") func invalidText() {
        let key: [UInt8] = [0x61, 0xFF, 0xC3, 0xA9, 0xE2, 0x82]
        #expect(Address.convert(key.span, to: .slashes) == Array("a%FFé%E2%82".utf8))
    }

    private func convert(_ address: String, to spelling: AddressSpelling, isPattern: Bool = false) -> String {
        String(decoding: Address.convert(Array(address.utf8).span, to: spelling, isPattern: isPattern), as: UTF8.self)
    }
}
