/// "Did you mean …?": the known word that takes the fewest edits.
public enum Nearest {
    /// `nil` when nothing is near: more than a third of the letters would have to change. Case costs nothing.
    public static func word(to text: String, among words: some Sequence<String>) -> String? {
        let near = words.map { (word: $0, edits: edits(text.lowercased(), $0.lowercased())) }.min { $0.edits < $1.edits }
        guard let near, near.edits <= max(1, max(text.count, near.word.count) / 3) else { return nil }
        return near.word
    }

    /// The sentence's end, or nothing: `; did you mean "loops"?`
    public static func suggestion(for text: String, among words: some Sequence<String>) -> String {
        word(to: text, among: words).map { "; did you mean \"\($0)\"?" } ?? ""
    }

    /// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
    static func edits(_ a: String, _ b: String) -> Int {
        let a = Array(a.unicodeScalars), b = Array(b.unicodeScalars)
        var beforeLast = [Int](repeating: 0, count: b.count + 1)
        var last = Array(0...b.count)
        for i in a.indices {
            var row = [i + 1] + [Int](repeating: 0, count: b.count)
            for j in b.indices {
                row[j + 1] = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { row[j + 1] = min(row[j + 1], beforeLast[j - 1] + 1) }
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
