/// One thing that was said, and its line:
///
///     2026-11-21T07:31:02.123Z info  mqtt  client connected client=meter-7 address=127.0.0.1:5000
///
/// Invariant: a record is always one line. Control characters are escaped, in the message as in values: a client's name
/// must not forge a line.
public struct LogRecord: Sendable {
    public let wallMilliseconds: Int64
    public let level: LogLevel
    public let label: String
    public let message: String
    public let metadata: [(key: String, value: String)]

    public init(wallMilliseconds: Int64, level: LogLevel, label: String, message: String, metadata: [(key: String, value: String)] = []) {
        self.wallMilliseconds = wallMilliseconds
        self.level = level
        self.label = label
        self.message = message
        self.metadata = metadata
    }

    /// The line without its newline.
    public var line: String {
        var line = Self.timestamp(wallMilliseconds)
        line += " "
        line += Self.padded(level.mark)
        line += " "
        line += Self.padded(label)
        line += " "
        line += Self.escaped(message)
        for (key, value) in metadata {
            line += " "
            line += Self.escaped(key)
            line += "="
            line += Self.needsQuotes(value) ? "\"\(Self.escaped(value, quotes: true))\"" : value
        }
        return line
    }

    private static func padded(_ word: String) -> String {
        let count = word.utf8.count
        return count >= 5 ? word : word + String(repeating: " ", count: 5 - count)
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
    }

    private static func needsQuotes(_ value: String) -> Bool {
        value.isEmpty || value.unicodeScalars.contains { isControl($0) || $0 == " " || $0 == "\"" || $0 == "=" || $0 == "\\" }
    }

    private static func escaped(_ text: String, quotes: Bool = false) -> String {
        guard text.unicodeScalars.contains(where: { isControl($0) || (quotes && ($0 == "\"" || $0 == "\\")) }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar == "\n" {
                result += "\\n"
            } else if isControl(scalar) {
                result += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                if quotes && (scalar == "\"" || scalar == "\\") { result += "\\" }
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// RFC 3339 in UTC. The calendar is counted in 400-year eras that start on 1 March, so that the leap day comes last.
    static func timestamp(_ wallMilliseconds: Int64) -> String {
        let (day, time) = (wallMilliseconds.floorDivided(by: 86_400_000), wallMilliseconds.floorRemainder(by: 86_400_000))
        let shifted = day + 719_468
        let era = shifted.floorDivided(by: 146_097), dayOfEra = shifted.floorRemainder(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let date = "\(digits(year, 4))-\(digits(month, 2))-\(digits(dayOfYear - (153 * monthFromMarch + 2) / 5 + 1, 2))"
        let clock = "\(digits(time / 3_600_000, 2)):\(digits(time / 60_000 % 60, 2)):\(digits(time / 1000 % 60, 2)).\(digits(time % 1000, 3))"
        return "\(date)T\(clock)Z"
    }

    private static func digits(_ number: Int64, _ count: Int) -> String {
        let text = String(number)
        return text.utf8.count >= count ? text : String(repeating: "0", count: count - text.utf8.count) + text
    }
}

extension Int64 {
    fileprivate func floorRemainder(by divisor: Int64) -> Int64 { let r = self % divisor; return r < 0 ? r + divisor : r }
    fileprivate func floorDivided(by divisor: Int64) -> Int64 { (self - floorRemainder(by: divisor)) / divisor }
}
