internal import MartletBytes

/// What strings, topic names and topic filters may hold (MQTT 5.0 sections 1.5.4 and 4.7).
///
/// A topic name is checked on each PUBLISH, so plain ASCII goes eight bytes at a time and the rest takes the slow way.
/// U+0001 to U+001F and noncharacters are let through: the specification leaves that to the receiver, and clients send them.
enum MQTTText {
    /// [MQTT-1.5.4-1], [MQTT-1.5.4-2]: valid UTF-8 without U+0000.
    static func isText(_ bytes: Span<UInt8>) -> Bool {
        var high: UInt8 = 0
        for index in bytes.indices {
            let byte = bytes[index]
            if byte == 0 { return false }
            high |= byte
        }
        return high < 0x80 || isUTF8(bytes)
    }

    private static func isUTF8(_ bytes: Span<UInt8>) -> Bool {
        do {
            _ = try UTF8Span(validating: bytes)
            return true
        } catch { return false }
    }

    /// [MQTT-3.3.2-1], [MQTT-3.3.2-2], [MQTT-4.7.3-2]: text without wildcards. An empty name is the caller's to judge.
    @inline(__always)
    static func checkTopicName(_ bytes: Span<UInt8>, _ range: ByteRange, levelsMax: UInt16) throws(MQTTViolation) {
        // A name has at most one level more than it has bytes.
        if range.count < UInt32(levelsMax), isPlain(bytes, from: Int(range.start), to: range.end) { return }
        try checkUnusualName(bytes.at(range), levelsMax: levelsMax)
    }

    @inline(never)
    private static func checkUnusualName(_ name: Span<UInt8>, levelsMax: UInt16) throws(MQTTViolation) {
        guard isText(name) else { throw .malformed(.text) }
        var levels = 1
        for index in name.indices {
            switch name[index] {
            case UInt8(ascii: "+"), UInt8(ascii: "#"): throw .topicNameInvalid
            case UInt8(ascii: "/"): levels += 1
            default: break
            }
        }
        guard levels <= Int(levelsMax) else { throw .topicNameInvalid }
    }

    /// Whether all bytes are ASCII other than NUL, '+' and '#'. `false` may also be said of a good name; it is then looked at closely.
    @inline(__always)
    private static func isPlain(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> Bool {
        let count = end - start
        if count >= 8 {
            var at = start
            while at + 8 <= end {
                if isUnusual(bytes.word(at: at)) { return false }
                at += 8
            }
            return !isUnusual(bytes.word(at: end - 8))
        }
        // Eight bytes that end with the name: those before it (the fixed header and the length) are shifted out, letters shifted in.
        guard end >= 8 else { return false }
        if count == 0 { return true }
        let kept = UInt64(truncatingIfNeeded: count) &* 8
        let word = bytes.word(at: end - 8) &>> (64 &- kept)
        return !isUnusual(word | (0x6161_6161_6161_6161 &<< kept))
    }

    /// Whether a byte of `word` is 0, '+', '#', or not ASCII. '+' and '#' differ in the bit 0x08 alone.
    @inline(__always)
    private static func isUnusual(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highs: UInt64 = 0x8080_8080_8080_8080
        let wildcards = (word | (ones &* 0x08)) ^ (ones &* 0x2B)
        return (word | ((word &- ones) & ~word) | ((wildcards &- ones) & ~wildcards)) & highs != 0
    }

    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.7.3-1]: a wildcard is a whole level, and '#' the last. With `shared`, also
    /// [MQTT-4.8.2-1] and [MQTT-4.8.2-2]: `$share/name/filter`, where neither name nor filter is empty.
    static func checkTopicFilter(_ filter: Span<UInt8>, version: MQTTVersion, levelsMax: UInt16) throws(MQTTViolation) {
        guard isText(filter) else { throw .malformed(.text) }
        guard version == .v5, isShared(filter) else { return try checkLevels(filter, levelsMax: levelsMax) }
        var at = 7
        while at < filter.count, filter[at] != UInt8(ascii: "/") {
            if filter[at] == UInt8(ascii: "+") || filter[at] == UInt8(ascii: "#") { throw .topicFilterInvalid }
            at += 1
        }
        guard at > 7, at < filter.count else { throw .topicFilterInvalid }
        try checkLevels(filter.extracting((at + 1)...), levelsMax: levelsMax)
    }

    /// Tells texts apart where their bytes cannot be kept; never 0 (FNV-1a, 32 bits).
    static func fingerprint(_ text: Span<UInt8>) -> UInt32 {
        var hash: UInt32 = 0x811C_9DC5
        for index in text.indices { hash = (hash ^ UInt32(text[index])) &* 0x0100_0193 }
        return max(hash, 1)
    }

    /// Whether `filter` begins with `$share/`.
    static func isShared(_ filter: Span<UInt8>) -> Bool {
        let prefix = sharePrefix
        return filter.count >= prefix.count && filter.extracting(first: prefix.count).equals(prefix.span)
    }

    private static let sharePrefix: [UInt8] = Array("$share/".utf8)

    private static func checkLevels(_ filter: Span<UInt8>, levelsMax: UInt16) throws(MQTTViolation) {
        guard !filter.isEmpty else { throw .topicFilterInvalid }
        var levels = 1
        for index in filter.indices {
            let byte = filter[index]
            if byte == UInt8(ascii: "/") {
                levels += 1
            } else if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "#") {
                let begins = index == 0 || filter[index - 1] == UInt8(ascii: "/")
                let isLast = index + 1 == filter.count
                let ends = isLast || byte == UInt8(ascii: "+") && filter[index + 1] == UInt8(ascii: "/")
                guard begins, ends else { throw .topicFilterInvalid }
            }
        }
        guard levels <= Int(levelsMax) else { throw .topicFilterInvalid }
    }
}
