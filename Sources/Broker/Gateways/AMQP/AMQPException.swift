import MartletAMQPProtocol

/// Why a channel or a connection is closed: the specification's code, and a text as RabbitMQ words it.
struct AMQPException: Error {
    let code: AMQPReplyCode
    let text: String

    init(_ code: AMQPReplyCode, _ text: String) {
        self.code = code
        self.text = text
    }

    /// A reply text is a short string: where it is longer, it is cut between characters.
    var replyText: [UInt8] {
        let whole = "\(code.name) - \(text)"
        guard whole.utf8.count > 255 else { return Array(whole.utf8) }
        var end = whole.startIndex, count = 0
        while count + whole.unicodeScalars[end].utf8.count <= 252 {
            count += whole.unicodeScalars[end].utf8.count
            end = whole.unicodeScalars.index(after: end)
        }
        return Array(whole[..<end].utf8) + Array("...".utf8)
    }
}

/// A resource as RabbitMQ names it: `queue 'q' in vhost '/'`.
struct AMQPResource: CustomStringConvertible {
    enum Kind: String { case queue, exchange }
    let kind: Kind
    let name: [UInt8]
    let virtualHost: [UInt8]

    var description: String { "\(kind.rawValue) '\(name.text)' in vhost '\(virtualHost.text)'" }

    var isMissing: AMQPException { AMQPException(.notFound, "no \(self)") }

    /// `argument`: `durable`, `x-queue-mode`.
    func differs(in argument: String, received: String, current: String) -> AMQPException {
        AMQPException(.preconditionFailed, "inequivalent arg '\(argument)' for \(self): received \(received) but current is \(current)")
    }

    /// Of an argument that may be missing on a side.
    func differs(in argument: String, received: String?, current: String?, type: String) -> AMQPException {
        func words(_ value: String?, beside other: String?) -> String {
            guard let value else { return "none" }
            return other == nil ? "the value '\(value)' of type '\(type)'" : "'\(value)'"
        }
        return differs(in: argument, received: words(received, beside: current), current: words(current, beside: received))
    }
}

extension [UInt8] {
    var text: String { String(decoding: self, as: UTF8.self) }
}
