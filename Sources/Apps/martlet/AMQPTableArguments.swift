import MartletAMQP

extension Arguments {
    /// A field table of `NAME=TEXT` and `NAME:=JSON`, httpie's way, each of which is one `flag`.
    func table(_ flag: String) throws(CommandFailure) -> AMQPTable {
        var table: AMQPTable = [:]
        for text in texts(flag) {
            guard let equals = text.firstIndex(of: "="), equals > text.startIndex else { throw .usage("\(flag) \(text): write NAME=TEXT or NAME:=JSON") }
            var name = text[..<equals]
            let value = Array(text[text.index(after: equals)...].utf8)
            if name.hasSuffix(":") {
                name = name.dropLast()
                let parser = JSONParser(value)
                guard let json = parser.whole() else { throw .usage("\(flag) \(text): what follows := is not JSON") }
                table.fields.append(.init(Array(name.utf8), AMQPValue(json)))
            } else {
                table.fields.append(.init(Array(name.utf8), .string(value)))
            }
            if name.isEmpty || name.utf8.count > 255 { throw .usage("\(flag) \(text): a name has 1 to 255 bytes") }
        }
        return table
    }
}

extension AMQPValue {
    init(_ json: JSONValue) {
        switch json {
        case .null: self = .void
        case .flag(let flag): self = .bool(flag)
        case .number(let text): self = Int64(text).map { .int64($0) } ?? .double(Double(text) ?? 0)
        case .text(let text): self = .string(Array(text.utf8))
        case .bytes(let bytes): self = .string(bytes)
        case .list(let values): self = .array(values.map { AMQPValue($0) })
        case .object(let members): self = .table(AMQPTable(members.map { AMQPTable.Field(Array($0.0.utf8), AMQPValue($0.1)) }))
        }
    }
}

extension JSONValue {
    init(_ value: AMQPValue) {
        switch value {
        case .bool(let flag): self = .flag(flag)
        case .int8(let number): self = .number("\(number)")
        case .uint8(let number): self = .number("\(number)")
        case .int16(let number): self = .number("\(number)")
        case .uint16(let number): self = .number("\(number)")
        case .int32(let number): self = .number("\(number)")
        case .uint32(let number): self = .number("\(number)")
        case .int64(let number): self = .number("\(number)")
        case .float(let number): self = .init(Double(number))
        case .double(let number): self = .init(number)
        case .decimal(let scale, let number): self = .text("\(number)e-\(scale)")
        case .string(let bytes), .bytes(let bytes): self = .bytes(bytes)
        case .array(let values): self = .list(values.map { JSONValue($0) })
        case .timestamp(let seconds): self = .number("\(seconds)")
        case .table(let table): self = .init(table)
        case .void: self = .null
        }
    }

    init(_ table: AMQPTable) { self = .object(table.fields.map { (String(decoding: $0.key, as: UTF8.self), JSONValue($0.value)) }) }

    /// JSON has no infinities.
    private init(_ number: Double) { self = number.isFinite ? .number("\(number)") : .text("\(number)") }
}
