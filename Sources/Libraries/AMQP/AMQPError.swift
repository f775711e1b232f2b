public import MartletAMQPProtocol
public import MartletClient
public import MartletEventLoop
public import MartletNet
public import MartletTLS

/// Why a call failed. `description` is one sentence: what was tried, what came back, what to do.
public enum AMQPError: Error, Sendable {
    /// The URL cannot be used; the text says why.
    case urlInvalid(String, reason: String)
    /// The options' certificates or keys cannot be used.
    case tlsUnusable(TLSError)
    /// No address of the server took the connection, its name has none, or TLS with it failed.
    case unreachable(NetError)
    /// The server took the connection and did not open it in time.
    case noAnswer(server: String, after: Duration)
    /// The server does not let this user in, or not into this virtual host.
    case refused(server: String, AMQPException)
    /// The server offers none of the SASL mechanisms that this client was told to use.
    case mechanismNotOffered(server: String, offered: String)
    /// The connection is gone. What was not confirmed may or may not have arrived.
    case connectionLost(server: String, Loss)
    /// A channel exception: the server has closed the channel. Nothing more can be done with it; open another.
    case channelClosed(AMQPException)
    /// The server could not take care of the message (basic.nack).
    case nacked(exchange: String, routingKey: String)
    /// A mandatory message was routed to no queue; the server's code and text (basic.return).
    case returned(code: UInt16, text: String, exchange: String, routingKey: String)
    /// The server has ended the consumer, as it does when its queue is deleted (basic.cancel).
    case consumerCancelled(queue: String)
    /// The connection was lost within a transaction: nothing of it has been done.
    case transactionLost(server: String)
    /// There is no connection, and as many messages wait for one as `AMQPClientLimits.offlineCountMax` and `offlineBytesMax` allow. It was not queued.
    case offlineQueueFull(server: String, count: Int)
    /// The connection has as many channels as both sides agreed on.
    case channelsExhausted(server: String, count: Int)
    /// A message came that is longer than `AMQPClientLimits.bodySizeMax`; its channel was closed.
    case bodyTooLarge(size: UInt64)
    /// The call makes no sense to the protocol; nothing was sent. The method, and what is wrong.
    case misuse(method: String, reason: String)
    /// The connection's or the channel's scope has ended.
    case closed
    /// The task was cancelled. What it asked for may or may not have left.
    case cancelled

    /// How a connection was lost.
    public enum Loss: Sendable, Equatable {
        /// The server ended the stream without a word.
        case ended
        /// A connection exception: the server sent connection.close.
        case exception(AMQPException)
        /// Reading or writing failed with this errno.
        case failed(errno: Int32)
        /// TLS failed or was cut off.
        case layerFailed(LayerFailure)
        /// The server broke the protocol, or stayed silent over two heartbeats.
        case violation(AMQPViolation)
        /// The server answered another method than it was asked.
        case unexpected(method: String)
    }

    /// The server does not let this user in, or not do this.
    public var isAccessRefused: Bool {
        switch self {
        case .refused(_, let exception), .channelClosed(let exception), .connectionLost(_, .exception(let exception)): exception.replyCode == .accessRefused
        default: false
        }
    }

    /// The queue or exchange is not there.
    public var isNotFound: Bool { if case .channelClosed(let exception) = self { exception.replyCode == .notFound } else { false } }

    /// It is there, and other than declared; or a delivery tag was not known.
    public var isPreconditionFailed: Bool { if case .channelClosed(let exception) = self { exception.replyCode == .preconditionFailed } else { false } }

    /// The server was not reached at all.
    public var isUnreachable: Bool {
        switch self {
        case .unreachable, .noAnswer: true
        default: false
        }
    }
}

extension AMQPError: ClientFailure {}

extension AMQPError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .urlInvalid(let url, let reason): "cannot use the URL \"\(url)\": \(reason); expected amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST]"
        case .tlsUnusable(let error): "cannot use TLS: \(error)"
        case .unreachable(let error): "\(error)"
        case .noAnswer(let server, let time): "connected to \(server), but it did not open the connection within \(time); is it an AMQP 0-9-1 server?"
        case .refused(let server, let exception): "\(server) refused the connection: \(exception); \(Self.advice(exception))"
        case .mechanismNotOffered(let server, let offered): "\(server) offers \(offered) alone to log in by; choose another `AMQPConnectionOptions.login`"
        case .connectionLost(let server, let loss): "the connection to \(server) was lost: \(loss); connect again, or let `reconnect` do it"
        case .channelClosed(let exception): "the server closed the channel: \(exception); \(Self.advice(exception))"
        case .nacked(let exchange, let key):
            "the server did not take the message to exchange \"\(exchange)\" with routing key \"\(key)\" (basic.nack); publish it again later"
        case .returned(let code, let text, let exchange, let key):
            "the message to exchange \"\(exchange)\" with routing key \"\(key)\" came back: \(code) \(text); bind a queue, or do without mandatory"
        case .consumerCancelled(let queue): "the server ended the consumer of queue \"\(queue)\"; was the queue deleted?"
        case .transactionLost(let server): "the connection to \(server) was lost within the transaction, nothing of which was done; do it all again"
        case .offlineQueueFull(let server, let count):
            "there is no connection to \(server) and \(count) messages wait for one already; publish less, or raise limits.offlineCountMax and offlineBytesMax"
        case .channelsExhausted(let server, let count):
            "the connection to \(server) has \(count) channels and no more are allowed; close some, or connect again"
        case .bodyTooLarge(let size): "a message of \(size) bytes came, more than limits.bodySizeMax; its channel was closed"
        case .misuse(let method, let reason): "cannot \(method): \(reason)"
        case .closed: "the connection or channel was used after its scope had ended; keep the work inside of it"
        case .cancelled: "the task was cancelled before the server answered"
        }
    }

    private static func advice(_ exception: AMQPException) -> String {
        switch exception.replyCode {
        case .accessRefused: "check user name, password and what the user may do"
        case .notFound: "declare it first"
        case .resourceLocked: "it belongs to another connection: choose another name"
        case .preconditionFailed where exception.classID == AMQPMethodID.basicAck.classID: "acknowledge each delivery once, on its own channel"
        case .preconditionFailed: "declare it as it is, or delete it first"
        case .notAllowed: "does the virtual host exist, and may the user enter it?"
        case .notImplemented: "this server does not know it"
        default: "the server's log may say more"
        }
    }
}

extension AMQPError.Loss: CustomStringConvertible {
    public var description: String {
        switch self {
        case .ended: "the server closed it without a word (a restart?)"
        case .exception(let exception): "the server closed it, \(exception)"
        case .failed(errno: 104): "reset by the server"
        case .failed(errno: 32): "the server takes nothing more"
        case .failed(errno: 110): "the network timed out"
        case .failed(let errno): "system error \(errno)"
        case .layerFailed(let failure): "TLS: \(failure)"
        case .violation(.heartbeatMissed): "the server was silent over two heartbeats"
        case .violation(let violation): "the server broke the protocol, \(violation)"
        case .unexpected(let method): "the server answered \(method), which was not asked for"
        }
    }
}

extension AMQPMisuse {
    /// What to do about it.
    var sentence: String {
        switch self {
        case .notOpen, .outOfOrder: "the connection is not open"
        case .wrongDirection: "that is for the server to send"
        case .channelNotOpen, .channelInUse, .wrongChannel: "the channel is not open"
        case .textTooLong: "names, keys, tags and properties have at most 255 bytes"
        case .frameTooLarge: "its arguments or headers do not fit into one frame"
        case .tuningInvalid: "frame-max is at least 4,096 bytes"
        case .contentMismatch: "it has no content, or needs one"
        }
    }
}
