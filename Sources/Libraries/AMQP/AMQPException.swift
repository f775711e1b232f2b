public import MartletAMQPProtocol

/// A channel or connection exception: what the server says in channel.close or connection.close (section 1.2 of the specification).
public struct AMQPException: Error, Sendable, Equatable {
    /// As `AMQPReplyCode` names it; servers may send others.
    public let code: UInt16
    /// The server's own words: "NOT_FOUND - no queue 'x' in vhost '/'".
    public let text: String
    /// The class and the method that it is about; 0 and 0: none in particular.
    public let classID: UInt16
    public let methodID: UInt16

    public init(code: UInt16, text: String, classID: UInt16 = 0, methodID: UInt16 = 0) {
        (self.code, self.text, self.classID, self.methodID) = (code, text, classID, methodID)
    }

    /// `nil`: a code of the server's own.
    public var replyCode: AMQPReplyCode? { AMQPReplyCode(rawValue: code) }

    /// "queue.declare"; `nil`: about no method, or one that nobody knows.
    public var method: String? { AMQPMethodID(rawValue: UInt32(classID) << 16 | UInt32(methodID))?.dotted }
}

extension AMQPException: CustomStringConvertible {
    public var description: String {
        let name = replyCode.map(\.name)
        let words = name.map { text.hasPrefix($0) ? text : "\($0) - \(text)" } ?? text
        return "\(code) \(words)" + (method.map { " (\($0))" } ?? "")
    }
}

extension AMQPMethodID {
    /// "queue.declare", as the specification writes it.
    var dotted: String {
        let words = "\(self)"
        guard let end = words.firstIndex(where: \.isUppercase) else { return words }
        let method = words[end...].reduce(into: "") { text, letter in
            text += letter.isUppercase ? (text.isEmpty ? "" : "-") + letter.lowercased() : String(letter)
        }
        return "\(words[..<end]).\(method)"
    }
}
