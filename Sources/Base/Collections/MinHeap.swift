/// The least element first. Equal elements come out in any order.
public struct MinHeap<Element: Comparable> {
    @usableFromInline var elements: [Element] = []

    @inlinable public init() {}
    @inlinable public var count: Int { elements.count }
    @inlinable public var isEmpty: Bool { elements.isEmpty }
    @inlinable public var first: Element? { elements.first }
    /// All elements, in no order.
    @inlinable public var all: [Element] { elements }

    @inlinable public mutating func insert(_ element: Element) {
        elements.append(element)
        raise(elements.count - 1)
    }

    /// Removes every element that `condition` holds for. Looks at all of them.
    @inlinable public mutating func removeAll(where condition: (Element) -> Bool) {
        elements.removeAll(where: condition)
        for index in elements.indices { raise(index) }
    }

    @usableFromInline mutating func raise(_ last: Int) {
        var index = last
        while index > 0, elements[index] < elements[(index - 1) / 2] {
            elements.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    @inlinable public mutating func removeFirst() -> Element {
        let first = elements[0]
        let last = elements.removeLast()
        guard !elements.isEmpty else { return first }
        elements[0] = last
        var index = 0
        while true {
            var least = index
            for child in (2 * index + 1)..<(2 * index + 3) where child < elements.count && elements[child] < elements[least] { least = child }
            if least == index { return first }
            elements.swapAt(index, least)
            index = least
        }
    }
}
