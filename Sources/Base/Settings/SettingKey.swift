/// One thing that can be set: its name (`mqtt.packetSizeMax`), its form, its default and a sentence about it.
///
/// Names are words in camelCase, sections joined by `.`. The environment knows `mqtt.packetSizeMax` as
/// `MARTLET_MQTT_PACKETSIZEMAX`; case and further underscores do not matter there.
public struct SettingKey<Value: Sendable>: Sendable {
    public let name: String
    public let form: SettingForm<Value>
    public let initial: Value
    public let about: String

    public init(_ name: String, _ form: SettingForm<Value>, default initial: Value, _ about: String) {
        self.name = name
        self.form = form
        self.initial = initial
        self.about = about
    }

    /// The key as the schema sees it, without its type.
    public var declaration: SettingDeclaration {
        let form = form
        return SettingDeclaration(
            name: name, initial: form.show(initial), about: about, isList: form.isList,
            check: { value throws(SettingsMisuse) in _ = try form.read(value) })
    }
}

/// A key without its type: what the schema checks and documents.
public struct SettingDeclaration: Sendable {
    public let name: String
    /// As it would be written; an empty list is nothing.
    public let initial: String
    public let about: String
    let isList: Bool
    /// Throws the end of a sentence that starts with place and name.
    let check: @Sendable (SettingsValue) throws(SettingsMisuse) -> Void

    var environmentName: String { EnvironmentName.folded(name) }
}

/// How a value is written. `read` throws the end of a sentence (`"many" is not a whole number from 1 to 64`).
public struct SettingForm<Value: Sendable>: Sendable {
    let isList: Bool
    let read: @Sendable (SettingsValue) throws(SettingsMisuse) -> Value
    let show: @Sendable (Value) -> String

    init(
        isList: Bool = false, show: @escaping @Sendable (Value) -> String,
        read: @escaping @Sendable (SettingsValue) throws(SettingsMisuse) -> Value
    ) {
        self.isList = isList
        self.show = show
        self.read = read
    }

    /// A scalar that `parse` understands, or the sentence that it is not `expected`.
    init(_ expected: String, show: @escaping @Sendable (Value) -> String, parse: @escaping @Sendable (String) -> Value?) {
        self.init(show: show) { value throws(SettingsMisuse) in
            guard case .scalar(let text) = value.content, let parsed = parse(text) else {
                throw SettingsMisuse("\(value.kind) is not \(expected)")
            }
            return parsed
        }
    }
}

extension SettingForm where Value == String {
    public static var text: SettingForm { SettingForm("a text", show: { $0 }, parse: { $0 }) }
}
extension SettingForm where Value == Bool {
    public static var flag: SettingForm {
        SettingForm("true or false", show: { $0 ? "true" : "false" }, parse: { ["true": true, "false": false][$0] })
    }
}
extension SettingForm where Value == Int {
    public static func integer(_ range: ClosedRange<Int>) -> SettingForm {
        SettingForm("a whole number from \(range.lowerBound) to \(range.upperBound)", show: { String($0) }) { text in
            Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }
    /// Bytes: a number with B, KB, MB, GB (thousands) or KiB, MiB, GiB (1024s), or none.
    public static func byteSize(_ range: ClosedRange<Int>) -> SettingForm {
        let expected = "a size from \(ByteSize.text(range.lowerBound)) to \(ByteSize.text(range.upperBound)), such as 64KiB or 1MiB"
        return SettingForm(expected, show: ByteSize.text) { text in
            ByteSize.parse(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}
extension SettingForm where Value == Duration {
    /// A number with ms, s, m, h or d.
    public static func duration(_ range: ClosedRange<Duration>) -> SettingForm {
        let expected = "a duration from \(DurationText.text(range.lowerBound)) to \(DurationText.text(range.upperBound)), such as 500ms, 10s or 2m"
        return SettingForm(expected, show: DurationText.text) { text in
            DurationText.parse(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}
extension SettingForm where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    public static var choice: SettingForm {
        SettingForm("one of \(Value.allCases.map(\.rawValue).joined(separator: ", "))", show: { $0.rawValue }) { Value(rawValue: $0) }
    }
}
extension SettingForm {
    /// A YAML list, or one element alone. On the command line the option repeats; in the environment a comma separates.
    public static func list<Element: Sendable>(of element: SettingForm<Element>) -> SettingForm where Value == [Element] {
        SettingForm(isList: true, show: { $0.map(element.show).joined(separator: ",") }) { value throws(SettingsMisuse) in
            var elements: [Element] = []
            switch value.content {
            case .empty: break
            case .list(let values): for value in values { elements.append(try element.read(value)) }
            case .scalar, .map: elements.append(try element.read(value))
            }
            return elements
        }
    }

    /// What `transform` makes of this form; it throws the end of the sentence.
    public func map<Other: Sendable>(
        show showOther: @escaping @Sendable (Other) -> String, _ transform: @escaping @Sendable (Value) throws(SettingsMisuse) -> Other
    ) -> SettingForm<Other> {
        let read = read
        return SettingForm<Other>(isList: isList, show: showOther) { value throws(SettingsMisuse) in try transform(try read(value)) }
    }
}
