public import MartletBytes

/// Dates as fields spell them (RFC 9110 section 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT".
public enum HTTPDate {
    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Of seconds since 1970.
    public static func text(_ seconds: Int64) -> String {
        let day = Int((Double(seconds) / 86400).rounded(.down)), rest = Int(seconds) - day * 86400
        let (year, month, date) = civil(day)
        let weekday = ((day + 4) % 7 + 7) % 7
        return "\(days[weekday]), \(two(date)) \(months[month - 1]) \(String(repeating: "0", count: max(0, 4 - "\(year)".count)))\(year) "
            + "\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60)) GMT"
    }

    private static func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }

    /// To the minute, in the order in which it sorts: "1994-11-06 08:49".
    static func minute(_ seconds: Int64) -> String {
        let day = Int((Double(seconds) / 86400).rounded(.down)), rest = Int(seconds) - day * 86400
        let (year, month, date) = civil(day)
        return "\(year)-\(two(month))-\(two(date)) \(two(rest / 3600)):\(two(rest / 60 % 60))"
    }

    public static func text(_ time: WallTime) -> String { text(time.milliseconds / 1000) }

    /// Seconds since 1970; nil for what is no date. All three forms that the RFC names are understood.
    public static func seconds(_ text: String) -> Int64? {
        let words = text.split(whereSeparator: { $0 == " " || $0 == "," || $0 == "-" }).map { $0 }
        // Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT; Sun Nov  6 08:49:37 1994
        let parts: (day: Substring, month: Substring, year: Substring, clock: Substring)
        if words.count == 6, words[5] == "GMT" {
            parts = (words[1], words[2], words[3], words[4])
        } else if words.count == 5 {
            parts = (words[2], words[1], words[4], words[3])
        } else {
            return nil
        }
        let clock = parts.clock.split(separator: ":", omittingEmptySubsequences: false).map { $0.count == 2 ? Int($0) ?? -1 : -1 }
        guard let month = months.firstIndex(where: { $0 == parts.month }), let date = Int(parts.day), var year = Int(parts.year), clock.count == 3 else {
            return nil
        }
        if parts.year.count == 2 { year += year < 70 ? 2000 : 1900 }
        guard (1...31).contains(date), (0...23).contains(clock[0]), (0...59).contains(clock[1]), (0...60).contains(clock[2]), (1...9999).contains(year) else {
            return nil
        }
        return Int64(dayNumber(year, month + 1, date) * 86400 + clock[0] * 3600 + clock[1] * 60 + clock[2])
    }

    /// Days since 1970 of a date, and the reverse (the proleptic Gregorian calendar; years begin in March, so that leap days are last).
    private static func dayNumber(_ year: Int, _ month: Int, _ date: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400, yearOfEra = year - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + date - 1
        return era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468
    }

    private static func civil(_ day: Int) -> (year: Int, month: Int, date: Int) {
        let shifted = day + 719468
        let era = (shifted >= 0 ? shifted : shifted - 146096) / 146097, dayOfEra = shifted - era * 146097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let index = (5 * dayOfYear + 2) / 153, month = index < 10 ? index + 3 : index - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * index + 2) / 5 + 1)
    }
}
