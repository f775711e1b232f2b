import MartletBytes
import MartletCollections

/// Patterns of one hub -> the bindings under them. Not Sendable: lives under the router's lock.
protocol Matcher: AnyObject {
    /// Adds a binding under a pattern; `bindings[number]` is already there.
    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>)
    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>)
    /// The place that bindings under `pattern` have (`Binding.matcherPlace`); 0 if there are none.
    func find(_ pattern: Pattern) -> UInt32
    /// What a binding was bound under.
    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern
    /// Appends the numbers of all bindings that match; one may come twice.
    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32])
    /// Whether a cached answer for an address stays true until the bindings change.
    var dependsOnAddressOnly: Bool { get }
}

/// What a binding asks for: an address pattern or key, or conditions on the message's headers.
public enum Pattern: Hashable, Sendable {
    case address([UInt8])
    case headers(HeaderCondition)

    var address: [UInt8] {
        if case .address(let bytes) = self { bytes } else { [] }
    }
}

/// All or any of some headers, each with a value or merely present.
public struct HeaderCondition: Hashable, Sendable {
    public enum Quantifier: Sendable { case all, any }
    public var quantifier: Quantifier
    /// Names and wanted values, in the origin's encoding; nil: any value.
    public var fields: [[UInt8]: [UInt8]?]
    /// Matches nothing: it only tells a binding from the others of its target (AMQP's routing key).
    public var label: [UInt8] = []

    public init(_ quantifier: Quantifier, _ fields: [[UInt8]: [UInt8]?]) {
        self.quantifier = quantifier
        self.fields = fields
    }
}

/// Reads one header out of an origin's property bytes: each gateway registers one for its protocol, so that a headers hub works
/// for every origin and nothing is converted before it must be.
public protocol HeaderReader: Sendable {
    /// The value of the header `name`, in the encoding in which conditions hold it; nil if the message has none.
    func header(_ name: [UInt8], in properties: Span<UInt8>) -> [UInt8]?
}

extension Slab where Element == Binding {
    /// Puts a binding at the front of a matcher's list.
    mutating func link(_ number: UInt32, before first: inout UInt32, place: UInt32) {
        self[number].nextInMatcher = first
        self[number].previousInMatcher = 0
        if first != 0 { self[first].previousInMatcher = number }
        self[number].matcherPlace = place
        first = number
    }

    /// Takes a binding out of a matcher's list.
    mutating func unlink(_ number: UInt32, from first: inout UInt32) {
        let next = self[number].nextInMatcher, previous = self[number].previousInMatcher
        if previous == 0 { first = next } else { self[previous].nextInMatcher = next }
        if next != 0 { self[next].previousInMatcher = previous }
    }

    func append(all first: UInt32, to found: inout [UInt32]) {
        var number = first
        while number != 0 {
            found.append(number)
            number = self[number].nextInMatcher
        }
    }
}
