import MartletBytes

/// An address is levels joined by `/`; a pattern may hold `+` (exactly one level) and `#` (any number of levels, also none) as
/// whole levels. Gateways translate their protocol's spelling to and from this one.
public enum Address {
    static let separator = UInt8(ascii: "/"), oneLevel = UInt8(ascii: "+"), anyLevels = UInt8(ascii: "#"), reserved = UInt8(ascii: "$")

    /// The end of the level that begins at `start`.
    @inline(__always) static func endOfLevel(_ bytes: Span<UInt8>, from start: Int) -> Int {
        var end = start
        while end < bytes.count, bytes[end] != separator { end += 1 }
        return end
    }

    static func isWildcard(_ pattern: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
        end - start == 1 && (pattern[start] == oneLevel || pattern[start] == anyLevels)
    }

    public static func hasWildcard(_ pattern: Span<UInt8>) -> Bool {
        var start = 0
        while start <= pattern.count {
            let end = endOfLevel(pattern, from: start)
            if isWildcard(pattern, start, end) { return true }
            start = end + 1
        }
        return false
    }

    /// Whether `pattern` matches `address`, one against one; many patterns are `TopicMatcher`'s work.
    public static func matches(_ pattern: Span<UInt8>, _ address: Span<UInt8>) -> Bool { matches(pattern, 0, address, 0) }

    private static func matches(_ pattern: Span<UInt8>, _ patternStart: Int, _ address: Span<UInt8>, _ addressStart: Int) -> Bool {
        var p = patternStart, a = addressStart
        while p <= pattern.count {
            let end = endOfLevel(pattern, from: p)
            if end - p == 1, pattern[p] == anyLevels {
                if end >= pattern.count { return true }
                var rest = a
                // `rest == count + 1` stands for "no level is left", which what follows may match too.
                while true {
                    if matches(pattern, end + 1, address, rest) { return true }
                    if rest > address.count { break }
                    rest = endOfLevel(address, from: rest) + 1
                }
                return false
            }
            guard a <= address.count else { return false }
            let addressEnd = endOfLevel(address, from: a)
            let isOneLevel = end - p == 1 && pattern[p] == oneLevel
            if !isOneLevel, !pattern.extracting(p..<end).equals(address.extracting(a..<addressEnd)) { return false }
            p = end + 1
            a = addressEnd + 1
        }
        return a > address.count
    }
}
