/// JSON, written as cJSON does: minimal, or with tabs.
indirect enum JSONValue: Sendable {
    case null
    case flag(Bool)
    case number(String)
    case text(String)
    /// Text that may not be UTF-8.
    case bytes([UInt8])
    case list([JSONValue])
    case object([(String, JSONValue)])

    /// `depth`: of the value in a pretty document.
    func append(to output: inout [UInt8], depth: Int? = nil) {
        switch self {
        case .null: output += "null".utf8
        case .flag(let flag): output += (flag ? "true" : "false").utf8
        case .number(let text): output += text.utf8
        case .text(let text): Self.append(Array(text.utf8), to: &output)
        case .bytes(let bytes): Self.append(bytes, to: &output)
        case .list(let values):
            output += "[".utf8
            for (index, value) in values.enumerated() {
                if index > 0 { output += (depth == nil ? "," : ", ").utf8 }
                value.append(to: &output, depth: depth.map { $0 + 1 })
            }
            output += "]".utf8
        case .object(let members):
            output += "{".utf8
            for (index, (name, value)) in members.enumerated() {
                if index > 0 { output += ",".utf8 }
                if let depth { output += ("\n" + String(repeating: "\t", count: depth + 1)).utf8 }
                Self.append(Array(name.utf8), to: &output)
                output += (depth == nil ? ":" : ":\t").utf8
                value.append(to: &output, depth: depth.map { $0 + 1 })
            }
            if let depth { output += ("\n" + String(repeating: "\t", count: depth)).utf8 }
            output += "}".utf8
        }
    }

    private static func append(_ text: [UInt8], to output: inout [UInt8]) {
        let short: [UInt8: String] = [34: "\\\"", 92: "\\\\", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t"]
        output.append(34)
        for byte in text {
            if let escape = short[byte] {
                output += escape.utf8
            } else if byte < 32 {
                output += ("\\u00" + (byte < 16 ? "0" : "") + String(byte, radix: 16)).utf8
            } else {
                output.append(byte)
            }
        }
        output.append(34)
    }
}

/// Reads one JSON document, of at most 512 levels.
struct JSONParser {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    /// The whole input, or `nil` if it is not one JSON value.
    mutating func whole() -> JSONValue? {
        guard let value = value(512) else { return nil }
        skipBlanks()
        return rest.isEmpty ? value : nil
    }

    private mutating func skipBlanks() { while let byte = rest.first, byte == 32 || byte == 10 || byte == 13 || byte == 9 { rest.removeFirst() } }

    private mutating func take(_ text: String) -> Bool {
        guard rest.starts(with: text.utf8) else { return false }
        rest.removeFirst(text.utf8.count)
        return true
    }

    private mutating func value(_ levels: Int) -> JSONValue? {
        skipBlanks()
        guard levels > 0, let first = rest.first else { return nil }
        switch first {
        case UInt8(ascii: "{"): return object(levels)
        case UInt8(ascii: "["): return list(levels)
        case UInt8(ascii: "\""): return text().map { .text($0) }
        case UInt8(ascii: "t"): return take("true") ? .flag(true) : nil
        case UInt8(ascii: "f"): return take("false") ? .flag(false) : nil
        case UInt8(ascii: "n"): return take("null") ? .null : nil
        default: return number()
        }
    }

    private mutating func list(_ levels: Int) -> JSONValue? {
        rest.removeFirst()
        var values: [JSONValue] = []
        skipBlanks()
        if take("]") { return .list([]) }
        repeat {
            guard let value = value(levels - 1) else { return nil }
            values.append(value)
            skipBlanks()
        } while take(",")
        return take("]") ? .list(values) : nil
    }

    private mutating func object(_ levels: Int) -> JSONValue? {
        rest.removeFirst()
        var members: [(String, JSONValue)] = []
        skipBlanks()
        if take("}") { return .object([]) }
        repeat {
            skipBlanks()
            guard rest.first == UInt8(ascii: "\""), let name = text() else { return nil }
            skipBlanks()
            guard take(":"), let value = value(levels - 1) else { return nil }
            members.append((name, value))
            skipBlanks()
        } while take(",")
        return take("}") ? .object(members) : nil
    }

    private mutating func text() -> String? {
        rest.removeFirst()
        var bytes: [UInt8] = []
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return String(validating: bytes, as: UTF8.self)
            case UInt8(ascii: "\\"):
                guard let escaped = escape() else { return nil }
                bytes += escaped
            case 0..<32: return nil
            default: bytes.append(byte)
            }
        }
        return nil
    }

    private mutating func escape() -> [UInt8]? {
        let plain: [UInt8: UInt8] = [34: 34, 92: 92, 47: 47, 98: 8, 102: 12, 110: 10, 114: 13, 116: 9]
        guard let letter = rest.popFirst() else { return nil }
        if let byte = plain[letter] { return [byte] }
        guard letter == UInt8(ascii: "u"), var code = unit() else { return nil }
        if code >= 0xD800, code < 0xDC00 {
            guard take("\\u"), let low = unit(), low >= 0xDC00, low < 0xE000 else { return nil }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        return Unicode.Scalar(code).map { Array(String($0).utf8) }
    }

    private mutating func unit() -> UInt32? {
        guard rest.count >= 4, rest.prefix(4).allSatisfy({ ($0 >= 48 && $0 <= 57) || ($0 | 32 >= 97 && $0 | 32 <= 102) }) else { return nil }
        defer { rest.removeFirst(4) }
        return UInt32(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16)
    }

    private mutating func number() -> JSONValue? {
        let text = rest.prefix { ($0 >= 48 && $0 <= 57) || [43, 45, 46, 69, 101].contains($0) }
        guard let last = text.last, last >= 48, last <= 57, text.first != 43, let number = Double(String(decoding: text, as: UTF8.self)) else { return nil }
        rest.removeFirst(text.count)
        let written = "\(number)"
        return .number(written.hasSuffix(".0") ? String(written.dropLast(2)) : written)
    }
}
