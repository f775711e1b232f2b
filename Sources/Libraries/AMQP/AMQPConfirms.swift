internal import MartletClient

/// What was published on a channel in confirm mode and is not confirmed: the first has delivery tag 1, and each the next number.
///
/// What is confirmed before its turn, and what nobody waits for, holds its place as `nil`.
struct AMQPConfirms {
    private var flights = Line<AMQPPublication?>()
    private var firstTag: UInt64 = 1
    /// Mandatory messages that came back: by delivery tag, code and text. Their confirm comes after.
    private var returned: [UInt64: (code: UInt16, text: String)] = [:]
    private var lastReturned: UInt64 = 0
    /// Those that somebody waits for.
    private(set) var count = 0

    mutating func sent(_ publication: AMQPPublication) {
        flights.append(publication.awaitsConfirm ? publication : nil)
        if publication.awaitsConfirm { count += 1 }
    }

    /// basic.ack or basic.nack.
    mutating func confirmed(_ tag: UInt64, multiple: Bool, isAck: Bool, _ completions: inout AMQPCompletions) {
        // 0 with `multiple`: all.
        let last = tag == 0 && multiple ? firstTag + UInt64(flights.count) - 1 : tag
        guard last >= firstTag, last < firstTag + UInt64(flights.count) else { return }
        if !multiple, last != firstTag {
            if let publication = flights.exchange(Int(last - firstTag), with: nil) { complete(publication, last, isAck: isAck, &completions) }
            return
        }
        while firstTag <= last { takeFirst(isAck: isAck, &completions) }
    }

    private mutating func takeFirst(isAck: Bool, _ completions: inout AMQPCompletions) {
        let tag = firstTag
        firstTag += 1
        if case .some(.some(let publication)) = flights.popFirst() { complete(publication, tag, isAck: isAck, &completions) }
    }

    private mutating func complete(_ publication: AMQPPublication, _ tag: UInt64, isAck: Bool, _ completions: inout AMQPCompletions) {
        count -= 1
        let back = returned.isEmpty ? nil : returned.removeValue(forKey: tag)
        if let back {
            publication.complete(.returned(code: back.code, text: back.text, exchange: publication.exchange, routingKey: publication.routingKey))
        } else if isAck {
            completions.complete(publication)
        } else {
            publication.complete(.nacked(exchange: publication.exchange, routingKey: publication.routingKey))
        }
    }

    /// A mandatory message came back, which says not which: they come in the order in which they left. Answers false if nobody waits for it.
    mutating func returned(_ exchange: String, _ routingKey: String, _ body: [UInt8], code: UInt16, text: String) -> Bool {
        guard count > 0 else { return false }
        let first = max(firstTag, lastReturned + 1)
        for tag in first..<max(first, firstTag + UInt64(flights.count)) {
            guard let flight = flights[Int(tag - firstTag)], flight.isMandatory, flight.exchange == exchange, flight.routingKey == routingKey,
                flight.body == body
            else { continue }
            returned[tag] = (code, text)
            lastReturned = tag
            return true
        }
        return false
    }

    /// The channel, or its connection, is gone: what was not confirmed, in order.
    mutating func removeAll() -> [AMQPPublication] {
        let rest = flights.removeAll().compactMap { $0 }
        (firstTag, returned, lastReturned, count) = (1, [:], 0, 0)
        return rest
    }
}
