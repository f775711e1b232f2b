import MartletBytes

/// How the levels of a hub's addresses and patterns are joined, and what its patterns' wildcards are. The empty address has no level.
public enum AddressSpelling: UInt8, Sendable, BitwiseCopyable {
    /// Levels joined by `/`; `+` is exactly one level, `#` any number. MQTT's.
    case slashes
    /// Levels joined by `.`; `*` is exactly one level, `#` any number. AMQP's.
    case dots

    @inline(__always) var separator: UInt8 { self == .slashes ? UInt8(ascii: "/") : UInt8(ascii: ".") }
    @inline(__always) var oneLevel: UInt8 { self == .slashes ? UInt8(ascii: "+") : UInt8(ascii: "*") }
    @inline(__always) var anyLevels: UInt8 { UInt8(ascii: "#") }

    /// The end of the level that begins at `start`.
    @inline(__always) func endOfLevel(_ bytes: Span<UInt8>, from start: Int) -> Int {
        let separator = separator
        var end = start
        while end < bytes.count, bytes[end] != separator { end += 1 }
        return end
    }

    /// Where the walk over levels begins: an address without a level is over at once.
    @inline(__always) func start(of bytes: Span<UInt8>) -> Int { bytes.isEmpty ? 1 : 0 }

    func isWildcard(_ pattern: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
        end - start == 1 && (pattern[start] == oneLevel || pattern[start] == anyLevels)
    }

    func hasWildcard(_ pattern: Span<UInt8>) -> Bool {
        var start = 0
        while start <= pattern.count {
            let end = endOfLevel(pattern, from: start)
            if isWildcard(pattern, start, end) { return true }
            start = end + 1
        }
        return false
    }
}

/// An address is levels, and a pattern may hold wildcards as whole levels; both spelled as their hub has it.
public enum Address {
    static let reserved = UInt8(ascii: "$")

    /// Whether `pattern` matches `address`, one against one; many patterns are `TopicMatcher`'s work.
    public static func matches(_ pattern: Span<UInt8>, _ address: Span<UInt8>, spelled spelling: AddressSpelling = .slashes) -> Bool {
        var p = spelling.start(of: pattern), a = spelling.start(of: address)
        // Behind the last `#` seen, and the first level that it does not take yet: only it need ever take more, so the cost is at most the
        // product of the two lengths.
        var retryPattern = -1, retryAddress = 0
        while true {
            if p <= pattern.count {
                let end = spelling.endOfLevel(pattern, from: p)
                if end - p == 1, pattern[p] == spelling.anyLevels {
                    retryPattern = end + 1
                    retryAddress = a
                    p = end + 1
                    continue
                }
                if a <= address.count {
                    let addressEnd = spelling.endOfLevel(address, from: a)
                    let isOneLevel = end - p == 1 && pattern[p] == spelling.oneLevel
                    if isOneLevel || pattern.extracting(p..<end).equals(address.extracting(a..<addressEnd)) {
                        p = end + 1
                        a = addressEnd + 1
                        continue
                    }
                }
            } else if a > address.count {
                return true
            }
            guard retryPattern >= 0, retryAddress <= address.count else { return false }
            retryAddress = spelling.endOfLevel(address, from: retryAddress) + 1
            p = retryPattern
            a = retryAddress
        }
    }
}
