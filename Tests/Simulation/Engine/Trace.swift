/// What happened in a run: a number that is the same for the same run, and the words for it when somebody reads them.
package final class Trace {
    /// Of everything that was noted, in order.
    package private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    /// What should not have happened.
    package private(set) var problems: [String] = []
    private let show: ((String) -> Void)?
    /// Steps made so far.
    package internal(set) var step = 0
    private static let problemsMax = 20
    /// The disk has lost something, and said so: what was there may be gone, and what was gone may be there.
    package internal(set) var isDamaged = false

    package init(show: ((String) -> Void)? = nil) { self.show = show }

    private func mix(_ value: UInt64) { hash = (hash ^ value) &* 0x0000_0100_0000_01B3 }

    func note(_ kind: StaticString, _ number: Int = 0, _ text: @autoclosure () -> String = "") {
        kind.withUTF8Buffer { for byte in $0 { mix(UInt64(byte)) } }
        mix(UInt64(truncatingIfNeeded: number))
        if let show { show("\(step) \(kind) \(number) \(text())") }
    }

    func note(_ kind: StaticString, _ bytes: [UInt8], _ text: @autoclosure () -> String = "") {
        for byte in bytes { mix(UInt64(byte)) }
        note(kind, bytes.count, text())
    }

    func fail(_ text: String) {
        note("FAILED", 0, text)
        if problems.count < Self.problemsMax { problems.append("step \(step): \(text)") }
    }

    /// What holds unless the disk has lost something.
    func expectUndamaged(_ holds: Bool, _ text: @autoclosure () -> String) { if !holds, !isDamaged { fail(text()) } }

    func expect(_ holds: Bool, _ text: @autoclosure () -> String) { if !holds { fail(text()) } }
}
