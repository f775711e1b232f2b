public import MartletEventLoop
public import MartletMQTTProtocol
public import MartletNet
public import MartletTLS

/// Why a client's call failed. `description` is one sentence: what was tried, what came back, what to do.
public enum MQTTClientError: Error, Sendable {
    /// The URL cannot be used; the text says why.
    case urlInvalid(String, reason: String)
    /// The options' certificates or keys cannot be used.
    case tlsUnusable(TLSError)
    /// No address of the server took the connection, its name has none, or TLS with it failed.
    case unreachable(NetError)
    /// The server took the connection and did not answer CONNECT.
    case noAnswer(server: String, after: Duration)
    /// The server answered CONNECT with a refusal; `text` is its own, v5 alone.
    case refused(server: String, reason: MQTTReason, text: String)
    /// The connection is gone. What was not acknowledged may or may not have arrived.
    case connectionLost(server: String, Loss)
    /// The server refused one request: the topic or filter, and its reason.
    case rejected(Request, MQTTReason)
    /// There is no connection, and as many messages wait for one as `MQTTClientLimits.offlineCountMax` and `offlineBytesMax` allow. It was not queued.
    case offlineQueueFull(server: String, count: Int)
    /// Nobody answered a request in time.
    case noResponse(topic: String, after: Duration)
    /// The `MQTTAuthenticator` threw: its method, and the error in words.
    case authenticationFailed(method: String, reason: String)
    /// The call makes no sense to the protocol; nothing was sent.
    case misuse(Request, MQTTMisuse)
    /// The scope of the connection has ended.
    case closed
    /// The task was cancelled. A publish may or may not have left.
    case cancelled

    public enum Request: Sendable, Equatable {
        case connect
        case publish(topic: String)
        case subscribe(filter: String)
    }

    /// How a connection was lost.
    public enum Loss: Sendable, Equatable {
        /// The server ended the stream without a word.
        case ended
        /// v5: the server sent DISCONNECT.
        case disconnected(MQTTReason, text: String)
        /// Reading or writing failed with this errno.
        case failed(errno: Int32)
        /// TLS or WebSocket failed or was cut off.
        case layerFailed(LayerFailure)
        /// One side broke the protocol, or the server stayed silent over the keep-alive.
        case violation(MQTTViolation)
    }

    /// The server does not let this user in, or not do this.
    public var isNotAuthorized: Bool {
        switch self {
        case .refused(_, let reason, _), .rejected(_, let reason), .connectionLost(_, .disconnected(let reason, _)):
            [.badUserNameOrPassword, .notAuthorized, .banned, .badAuthenticationMethod].contains(reason)
        default: false
        }
    }

    /// The server was not reached at all.
    public var isUnreachable: Bool {
        switch self {
        case .unreachable, .noAnswer: true
        default: false
        }
    }
}

extension MQTTClientError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .urlInvalid(let url, let reason): "cannot use the URL \"\(url)\": \(reason); expected mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]"
        case .tlsUnusable(let error): "cannot use TLS: \(error)"
        case .unreachable(let error): "\(error)"
        case .noAnswer(let server, let time): "connected to \(server), but no answer to CONNECT came within \(time); is it an MQTT server?"
        case .refused(let server, let reason, let text):
            "\(server) refused the connection: \(reason.name)\(text.isEmpty ? "" : " (\(text))"); \(Self.advice(reason))"
        case .connectionLost(let server, let loss): "the connection to \(server) was lost: \(loss); \(Self.advice(loss))"
        case .rejected(let request, let reason): "the server refused to \(request): \(reason.name); \(Self.advice(reason))"
        case .offlineQueueFull(let server, let count):
            "there is no connection to \(server) and \(count) messages wait for one already; publish less, or raise limits.offlineCountMax and offlineBytesMax"
        case .noResponse(let topic, let time): "nobody answered the request to \"\(topic)\" within \(time); is the responder connected and subscribed?"
        case .authenticationFailed(let method, let reason): "the authentication by \(method) failed on this side: \(reason)"
        case .misuse(let request, let misuse): "cannot \(request): \(misuse.sentence)"
        case .closed: "the connection was used after its scope had ended; keep the work inside of withConnection"
        case .cancelled: "the task was cancelled before the server answered"
        }
    }

    private static func advice(_ loss: Loss) -> String {
        if case .disconnected(let reason, _) = loss { advice(reason) } else { "connect again, or let `reconnect` do it" }
    }

    private static func advice(_ reason: MQTTReason) -> String {
        switch reason {
        case .sessionTakenOver: "another client has the same identifier: give each its own"
        case .badAuthenticationMethod: "ask for the methods that the server knows"
        case .packetTooLarge: "send smaller messages, or raise the server's limit"
        case .topicNameInvalid, .topicFilterInvalid: "choose another topic"
        case .badUserNameOrPassword, .notAuthorized, .banned: "check user name, password and the server's access rules"
        case .clientIdentifierNotValid: "choose another client identifier"
        case .unsupportedProtocolVersion: "try another version of MQTT (5, 3.1.1 or 3.1)"
        case .serverBusy, .serverUnavailable, .quotaExceeded, .connectionRateExceeded: "try again later"
        case .useAnotherServer, .serverMoved: "ask for the server's new address"
        default: "the server's log may say more"
        }
    }
}

extension MQTTClientError.Request: CustomStringConvertible {
    public var description: String {
        switch self {
        case .connect: "connect"
        case .publish(let topic): "publish to \"\(topic)\""
        case .subscribe(let filter): "subscribe to \"\(filter)\""
        }
    }
}

extension MQTTClientError.Loss: CustomStringConvertible {
    public var description: String {
        switch self {
        case .ended: "the server closed it without a word (another client with the same identifier, or a restart?)"
        case .disconnected(let reason, let text): "the server sent DISCONNECT, \(reason.name)\(text.isEmpty ? "" : " (\(text))")"
        case .failed(errno: 104): "reset by the server"
        case .failed(errno: 32): "the server takes nothing more"
        case .failed(errno: 110): "the network timed out"
        case .failed(let errno): "system error \(errno)"
        case .layerFailed(let failure): failure.layer == .security ? "TLS: \(failure)" : "\(failure)"
        case .violation(.keepAliveExpired): "the server did not answer PINGREQ"
        case .violation(let violation): "the server broke the protocol, \(violation)"
        }
    }
}

extension MQTTMisuse {
    /// What to do about it.
    var sentence: String {
        switch self {
        case .notOpen, .alreadySent: "the connection is not open"
        case .topicNameInvalid: "a topic name has 1 to 65,535 bytes and no +, # or NUL"
        case .topicFilterInvalid: "+ must be a whole level and # the last one; NUL and the empty filter are not allowed"
        case .propertiesInvalid: "a property is not allowed there"
        case .connectInvalid: "client identifier, user name or password do not fit the version (3.1.1 knows no password without a user name)"
        case .packetIdentifierZero, .nothingListed: "no topic filter was given"
        case .fieldTooLong: "a text is longer than 65,535 bytes"
        case .packetTooLarge: "the message is larger than the server takes"
        case .qosNotSupported: "the server does not take this quality of service"
        case .retainNotSupported: "the server keeps no retained messages"
        case .wildcardSubscriptionsNotSupported: "the server takes no wildcards in topic filters"
        case .sharedSubscriptionsNotSupported: "the server has no shared subscriptions"
        case .subscriptionIdentifiersNotSupported: "the server has no subscription identifiers"
        case .authenticationInvalid: "an enhanced authentication goes step by step, by CONNECT's method"
        case .receiveMaximumReached: "too many messages are under way"
        }
    }
}
