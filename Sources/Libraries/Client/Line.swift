/// A queue whose front moves; the array is compacted when half of it is gone. What has left it is released at once.
public struct Line<Element> {
    @usableFromInline var elements: [Element?] = []
    @usableFromInline var head = 0

    @inlinable public init() {}

    @inlinable public var isEmpty: Bool { head == elements.count }
    @inlinable public var count: Int { elements.count - head }
    @inlinable public var first: Element? { isEmpty ? nil : elements[head] }

    /// Traps outside of 0..<count.
    @inlinable public subscript(index: Int) -> Element {
        get { elements[head + index]! }
        set { elements[head + index] = newValue }
    }

    /// Puts another in its place and answers what was there.
    @inlinable public mutating func exchange(_ index: Int, with other: Element) -> Element {
        var element: Element? = other
        swap(&element, &elements[head + index])
        return element!
    }

    @inlinable public mutating func append(_ element: Element) { elements.append(element) }

    @inlinable public mutating func append(contentsOf others: [Element]) {
        elements.reserveCapacity(elements.count + others.count)
        for other in others { elements.append(other) }
    }

    @inlinable public mutating func removeFirst() { _ = popFirst() }

    @inlinable public mutating func popFirst() -> Element? {
        guard head < elements.count else { return nil }
        var first: Element?
        swap(&first, &elements[head])
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: elements.count <= 4_096)
            head = 0
        } else if head > 256, head > elements.count / 2 {
            elements.removeFirst(head)
            head = 0
        }
        return first
    }

    /// Of the front a step; of others behind it, one each.
    @inlinable public mutating func remove(at index: Int) -> Element {
        if index == 0, let first = popFirst() { return first }
        return elements.remove(at: head + index)!
    }

    @inlinable public mutating func removeAll() -> [Element] {
        let all = elements[head...].map { $0! }
        elements = []
        head = 0
        return all
    }
}

extension Line: Sendable where Element: Sendable {}
