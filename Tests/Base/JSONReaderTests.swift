import MartletBytes
import MartletJSON
import Testing

@Suite struct JSONReaderTests {
    /// The tokens in words, and how the document ends.
    private func tokens(_ text: String) -> (words: [String], violation: JSONViolation?) { tokens(Array(text.utf8)) }

    private func tokens(_ bytes: [UInt8]) -> (words: [String], violation: JSONViolation?) {
        var reader = JSONReader(bytes.span), words: [String] = []
        func said(_ string: JSONString) -> String {
            var buffer = ByteBuffer()
            string.append(in: bytes.span, to: &buffer)
            return buffer.span.text
        }
        do throws(JSONViolation) {
            while let token = try reader.next() {
                switch token {
                case .beginObject: words.append("{")
                case .endObject: words.append("}")
                case .beginArray: words.append("[")
                case .endArray: words.append("]")
                case .name(let name): words.append(said(name) + ":")
                case .text(let text): words.append("'" + said(text) + "'")
                case .number(let range): words.append(bytes.span.at(range).text)
                case .flag(let flag): words.append("\(flag)")
                case .null: words.append("null")
                }
            }
            return (words, nil)
        } catch { return (words, error) }
    }

    @Test func `tokens come in order, with what is between them left out`() {
        let (words, violation) = tokens(" {\"a\" : [1, -2.5e+3,\ttrue] ,\r\n\"b\":{}, \"c\":[ ],\"d\":null,\"\":\"x\"}\n")
        #expect(words == ["{", "a:", "[", "1", "-2.5e+3", "true", "]", "b:", "{", "}", "c:", "[", "]", "d:", "null", ":", "'x'", "}"])
        #expect(violation == nil)
    }

    @Test(
        arguments: ["7", "0", "-0.0", "1E9", "\"\"", "false", "[]", "{}", "[[[]]]", "[{\"a\":[{}]}]"])
    func `any value is a document`(text: String) { #expect(tokens(text).violation == nil) }

    @Test(
        arguments: [
            "", " ", "{", "[", "[1", "[1,", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "\"", "\"a", "\"\\", "\"\\u12", "\"\\ud83d", "\"\\ud83d\\ude0", "t",
            "nul",
            "-", "1.", "1e", "1e+",
        ])
    func `what is cut says so`(text: String) { #expect(tokens(text).violation == .cut) }

    @Test(
        arguments: [
            "}", "]", ",", ":", "[1 2]", "[1,]", "[,1]", "{1:2}", "{\"a\" 1}", "{\"a\":1,}", "{,}", "{\"a\":}", "[}", "{]", "1 2", "{}{}", "truE", "nulL", "+1",
            "01",
            "-01", ".5", "1.e5", "0x10", "NaN", "'a'", "\"\\x\"", "\"\\u00g0\"", "\"\\udc00\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"a\u{1}\"", "\"\n\"",
            "[1]\u{0}", "\u{FEFF}1",
        ])
    func `what is no document is refused`(text: String) {
        guard case .unexpected = tokens(text).violation else {
            Issue.record("\(text): \(tokens(text))")
            return
        }
    }

    @Test func `escapes say what they say`() {
        let text = #""\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00é""#
        #expect(tokens(text).words == ["'\"\\/\u{8}\u{C}\n\r\tAé€😀é'"])
    }

    @Test func `a string says a name, escaped or not`() {
        let bytes = Array(#"["topic","\u0074opic","topics",""]"#.utf8)
        var reader = JSONReader(bytes.span), found: [Bool] = []
        while let token = try? reader.next() { if case .text(let string) = token { found.append(string.says("topic", in: bytes.span)) } }
        #expect(found == [true, true, false, false])
    }

    @Test func `levels end somewhere`() {
        let levels = JSONReader.levelsMax - 1
        #expect(tokens(String(repeating: "[", count: levels) + String(repeating: "]", count: levels)).violation == nil)
        #expect(tokens(String(repeating: "[", count: levels + 1)).violation == .levels)
        #expect(tokens(String(repeating: "{\"a\":", count: levels + 1)).violation == .levels)
    }

    @Test func `what is skipped is one value, whole`() throws {
        let bytes = Array(#"{"a":{"b":[1,{"c":2}],"d":"}"},"e":7,"f":[[]],"g":8}"#.utf8)
        var reader = JSONReader(bytes.span), numbers: [String] = []
        while let token = try reader.next() {
            if case .name(let name) = token, !name.says("e", in: bytes.span), !name.says("g", in: bytes.span) { try reader.skip() }
            if case .number(let range) = token { numbers.append(bytes.span.at(range).text) }
        }
        #expect(numbers == ["7", "8"])
    }

    @Test func `what is written is read again`() {
        let text = (0..<128).map { String(Unicode.Scalar(UInt8($0))) }.joined() + "é€😀"
        var buffer = ByteBuffer()
        buffer.append(json: Array(text.utf8).span)
        #expect(tokens(buffer.span.array).words == ["'" + text + "'"])
        #expect(buffer.span.text.hasPrefix(#""\u0000\u0001"#) && buffer.span.text.contains(#"\b\t\n\u000b\f\r\u000e\u000f\u0010"#))
        #expect(buffer.span.text.contains(#"\u001f !\"#))
    }

    @Test func `no bytes trap`() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("{}[]\",:\\u0123456789abtrfnl-+.eE \n".utf8)
        for _ in 0..<20_000 {
            let count = Int.random(in: 0..<24, using: &generator)
            _ = tokens((0..<count).map { _ in alphabet.randomElement(using: &generator) ?? 0 })
        }
    }
}
