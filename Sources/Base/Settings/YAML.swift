import CYAML

/// YAML by libyaml into `SettingsValue`.
///
/// One document; no anchors, aliases or keys that are not scalars; at most 32 levels. Every refusal names file and line.
public enum YAML {
    private static let depthMax = 32

    public static func parse(_ text: String, named name: String) throws(SettingsMisuse) -> SettingsValue {
        var events = try YAMLEvents(text, named: name)
        defer { events.end() }
        guard var event = try events.next(), event.kind != .end else { return SettingsValue(.empty) }
        let root = try value(event, &events, depth: 0)
        event = try events.next() ?? YAMLEvents.Event(kind: .end, line: root.line)
        guard event.kind == .end else { throw SettingsMisuse("\(name):\(event.line): a second document; one file holds one configuration") }
        return root
    }

    private static func value(_ event: YAMLEvents.Event, _ events: inout YAMLEvents, depth: Int) throws(SettingsMisuse) -> SettingsValue {
        guard depth <= depthMax else { throw SettingsMisuse("\(events.name):\(event.line): more than \(depthMax) levels deep") }
        switch event.kind {
        case .scalar(let text, let plain):
            let isEmpty = plain && (text.isEmpty || text == "~" || text == "null")
            return SettingsValue(isEmpty ? .empty : .scalar(text), line: event.line)
        case .listStart:
            var list: [SettingsValue] = []
            while let next = try events.next(), next.kind != .close { list.append(try value(next, &events, depth: depth + 1)) }
            return SettingsValue(.list(list), line: event.line)
        case .mapStart:
            var entries: [SettingsValue.Entry] = []
            while let next = try events.next(), next.kind != .close {
                guard case .scalar(let key, _) = next.kind else { throw SettingsMisuse("\(events.name):\(next.line): a key must be a word") }
                if let earlier = entries.first(where: { $0.key == key }) {
                    throw SettingsMisuse("\(events.name):\(next.line): \"\(key)\" stands here and in line \(earlier.line)")
                }
                guard let content = try events.next() else { break }
                entries.append(.init(key: key, line: next.line, value: try value(content, &events, depth: depth + 1)))
            }
            return SettingsValue(.map(entries), line: event.line)
        case .alias: throw SettingsMisuse("\(events.name):\(event.line): anchors and aliases (& and *) are not supported")
        case .close, .end: return SettingsValue(.empty, line: event.line)
        }
    }
}

/// libyaml's event stream, reduced to what a configuration has. `end` must be called once.
private struct YAMLEvents {
    struct Event {
        enum Kind: Equatable {
            case scalar(String, plain: Bool)
            case listStart, mapStart, close, alias, end
        }
        let kind: Kind
        let line: Int
    }

    let name: String
    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let bytes: UnsafeMutableBufferPointer<UInt8>

    init(_ text: String, named name: String) throws(SettingsMisuse) {
        self.name = name
        parser = .allocate(capacity: 1)
        bytes = .allocate(capacity: text.utf8.count)
        _ = bytes.initialize(from: text.utf8)
        guard yaml_parser_initialize(parser) == 1 else {
            parser.deallocate()
            bytes.deallocate()
            throw SettingsMisuse("\(name): no memory to read it")
        }
        yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
    }

    func end() {
        yaml_parser_delete(parser)
        parser.deallocate()
        bytes.deallocate()
    }

    /// The next event that means something; `nil` at the end of the stream.
    mutating func next() throws(SettingsMisuse) -> Event? {
        while true {
            var event = yaml_event_t()
            guard yaml_parser_parse(parser, &event) == 1 else { throw refusal() }
            defer { yaml_event_delete(&event) }
            let line = Int(event.start_mark.line) + 1
            switch event.type {
            case YAML_STREAM_END_EVENT, YAML_NO_EVENT: return nil
            case YAML_SCALAR_EVENT:
                let scalar = event.data.scalar
                let text = String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
                return Event(kind: .scalar(text, plain: scalar.style == YAML_PLAIN_SCALAR_STYLE), line: line)
            case YAML_SEQUENCE_START_EVENT: return Event(kind: .listStart, line: line)
            case YAML_MAPPING_START_EVENT: return Event(kind: .mapStart, line: line)
            case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return Event(kind: .close, line: line)
            case YAML_ALIAS_EVENT: return Event(kind: .alias, line: line)
            default: continue
            }
        }
    }

    private func refusal() -> SettingsMisuse {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "not YAML"
        let mark = parser.pointee.error == YAML_READER_ERROR ? parser.pointee.mark : parser.pointee.problem_mark
        return SettingsMisuse("\(name):\(Int(mark.line) + 1): \(problem)")
    }
}
