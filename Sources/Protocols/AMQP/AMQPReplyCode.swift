/// Why a connection or a channel is closed, or a message comes back (the specification's constants).
public enum AMQPReplyCode: UInt16, Sendable, CaseIterable {
    case success = 200
    case contentTooLarge = 311
    case noRoute = 312
    case noConsumers = 313
    case connectionForced = 320
    case invalidPath = 402
    case accessRefused = 403
    case notFound = 404
    case resourceLocked = 405
    case preconditionFailed = 406
    case frameError = 501
    case syntaxError = 502
    case commandInvalid = 503
    case channelError = 504
    case unexpectedFrame = 505
    case resourceError = 506
    case notAllowed = 530
    case notImplemented = 540
    case internalError = 541

    /// A hard error: it closes the connection. A soft one closes its channel.
    public var closesConnection: Bool {
        switch self {
        case .success, .contentTooLarge, .noRoute, .noConsumers, .accessRefused, .notFound, .resourceLocked, .preconditionFailed: false
        default: true
        }
    }

    /// As RabbitMQ writes it in front of a reply text: `NOT_FOUND`.
    public var name: String {
        "\(self)".reduce(into: "") { name, letter in name += letter.isUppercase ? "_" + String(letter) : letter.uppercased() }
    }
}
