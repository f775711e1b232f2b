/// A line that is being typed, as keys come in: what a terminal's own editing does, and arrows, home, end and the lines before.
///
/// A machine: keys go in, finished lines come out, and `shown` is what the terminal has to show. Not here: the terminal.
struct LineEditor {
    enum Outcome: Equatable {
        /// Return was pressed.
        case line(String)
        /// Ctrl-D on an empty line.
        case end
    }

    private var line: [Character] = []
    private var cursor = 0
    private var history: [String] = []
    /// Which of `history` is shown; its count: the line that is typed.
    private var place = 0
    private var typed: [Character] = []
    /// Bytes of a key that is not whole: a character's, or an escape sequence.
    private var pending: [UInt8] = []
    private static let historyMax = 1000

    let prompt: String

    init(prompt: String) { self.prompt = prompt }

    /// Goes to the beginning of the terminal's line, clears it, and shows prompt and line with the cursor where it is.
    var shown: String {
        let back = Self.width(line[cursor...])
        return "\r\u{1B}[K" + prompt + String(line) + (back > 0 ? "\u{1B}[\(back)D" : "")
    }

    /// What the keys made, in their order.
    mutating func press(_ keys: [UInt8]) -> [Outcome] {
        var outcomes: [Outcome] = []
        for key in keys {
            pending.append(key)
            if let outcome = take() { outcomes.append(outcome) }
        }
        return outcomes
    }

    private mutating func take() -> Outcome? {
        guard let first = pending.first else { return nil }
        if first == 0x1B {
            takeEscape()
            return nil
        }
        if first < 0x20 || first == 0x7F {
            pending = []
            return control(first)
        }
        let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        guard pending.count >= length else { return nil }
        if let text = String(validating: pending, as: UTF8.self) { insert(text) }
        pending = []
        return nil
    }

    private mutating func insert(_ text: String) {
        // A mark may join the character before.
        let before = String(line[..<cursor]), joined = Array(before + text)
        line = joined + line[cursor...]
        cursor = joined.count
    }

    private mutating func control(_ key: UInt8) -> Outcome? {
        switch key {
        case 0x0D, 0x0A: return finish()
        case 0x04:
            if line.isEmpty { return .end }
            if cursor < line.count { line.remove(at: cursor) }
        case 0x7F, 0x08:
            if cursor > 0 {
                cursor -= 1
                line.remove(at: cursor)
            }
        case 0x01: cursor = 0
        case 0x05: cursor = line.count
        case 0x02: cursor = max(0, cursor - 1)
        case 0x06: cursor = min(line.count, cursor + 1)
        case 0x0B: line.removeSubrange(cursor...)
        case 0x15:
            line.removeSubrange(..<cursor)
            cursor = 0
        case 0x17: removeWord()
        case 0x10: recall(place - 1)
        case 0x0E: recall(place + 1)
        case 0x09: insert("\t")
        default: break
        }
        return nil
    }

    private mutating func removeWord() {
        let end = cursor
        while cursor > 0, line[cursor - 1] == " " { cursor -= 1 }
        while cursor > 0, line[cursor - 1] != " " { cursor -= 1 }
        line.removeSubrange(cursor..<end)
    }

    private mutating func finish() -> Outcome {
        let text = String(line)
        if !text.isEmpty, text != history.last { history.append(text) }
        if history.count > Self.historyMax { history.removeFirst() }
        (line, cursor, place, typed) = ([], 0, history.count, [])
        return .line(text)
    }

    private mutating func recall(_ wanted: Int) {
        guard (0...history.count).contains(wanted), wanted != place else { return }
        if place == history.count { typed = line }
        place = wanted
        line = wanted == history.count ? typed : Array(history[wanted])
        cursor = line.count
    }

    /// `ESC [ … letter`, `ESC O letter`; anything else behind ESC is dropped.
    private mutating func takeEscape() {
        guard pending.count > 1 else { return }
        guard pending[1] == UInt8(ascii: "[") || pending[1] == UInt8(ascii: "O") else {
            pending = []
            return
        }
        guard pending.count > 2, let last = pending.last, (0x40...0x7E).contains(last) else {
            if pending.count > 16 { pending = [] }
            return
        }
        let middle = String(decoding: pending[2..<(pending.count - 1)], as: UTF8.self)
        pending = []
        switch (last, middle) {
        case (UInt8(ascii: "A"), _): recall(place - 1)
        case (UInt8(ascii: "B"), _): recall(place + 1)
        case (UInt8(ascii: "C"), _): cursor = min(line.count, cursor + 1)
        case (UInt8(ascii: "D"), _): cursor = max(0, cursor - 1)
        case (UInt8(ascii: "H"), _), (UInt8(ascii: "~"), "1"), (UInt8(ascii: "~"), "7"): cursor = 0
        case (UInt8(ascii: "F"), _), (UInt8(ascii: "~"), "4"), (UInt8(ascii: "~"), "8"): cursor = line.count
        case (UInt8(ascii: "~"), "3"): if cursor < line.count { line.remove(at: cursor) }
        default: break
        }
    }

    /// Columns: those of East Asian characters and pictures are two.
    private static func width(_ characters: ArraySlice<Character>) -> Int {
        characters.reduce(0) { sum, character in
            guard let scalar = character.unicodeScalars.first else { return sum }
            let isWide =
                scalar.properties.isEmojiPresentation || (0x1100...0x115F).contains(scalar.value) || (0x2E80...0xA4CF).contains(scalar.value)
                || (0xAC00...0xD7A3).contains(scalar.value) || (0xF900...0xFAFF).contains(scalar.value) || (0xFE30...0xFE6F).contains(scalar.value)
                || (0xFF00...0xFF60).contains(scalar.value) || (0xFFE0...0xFFE6).contains(scalar.value) || (0x20000...0x3FFFD).contains(scalar.value)
            return sum + (isWide ? 2 : 1)
        }
    }
}
