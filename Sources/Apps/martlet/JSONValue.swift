import MartletBytes
import MartletJSON

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

/// Reads one JSON document.
struct JSONParser {
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The whole input, or `nil` if it is not one JSON value.
    func whole() -> JSONValue? {
        var reader = JSONReader(bytes.span)
        do throws(JSONViolation) {
            guard let first = try reader.next() else { return nil }
            let value = try value(first, &reader)
            return try reader.next() == nil ? value : nil
        } catch { return nil }
    }

    private func value(_ token: JSONReader.Token, _ reader: inout JSONReader) throws(JSONViolation) -> JSONValue {
        switch token {
        case .null: return .null
        case .flag(let flag): return .flag(flag)
        case .number(let range): return .number(Self.number(bytes.span.at(range).text))
        case .text(let string): return .text(try text(string))
        case .beginArray:
            var values: [JSONValue] = []
            while let next = try reader.next(), next != .endArray { values.append(try value(next, &reader)) }
            return .list(values)
        case .beginObject:
            var members: [(String, JSONValue)] = []
            while case .name(let name)? = try reader.next(), let next = try reader.next() { members.append((try text(name), try value(next, &reader))) }
            return .object(members)
        case .name, .endArray, .endObject: throw .unexpected(reader.offset)
        }
    }

    private func text(_ string: JSONString) throws(JSONViolation) -> String {
        var text = ByteBuffer()
        string.append(in: bytes.span, to: &text)
        guard let text = String(validating: text.span.array, as: UTF8.self) else { throw .unexpected(Int(string.range.start)) }
        return text
    }

    private static func number(_ text: String) -> String {
        let written = Double(text).map { "\($0)" } ?? text
        return written.hasSuffix(".0") ? String(written.dropLast(2)) : written
    }
}
