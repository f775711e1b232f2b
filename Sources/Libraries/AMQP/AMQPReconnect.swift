internal import MartletClient
internal import MartletNet

/// What a client does when its connection is lost: it connects again, waiting longer after each attempt that fails, and makes anew what it had.
///
/// What is made anew, in this order: exchanges, queues, bindings, channels with their confirm or transaction mode and prefetch, consumers under
/// their tags, then what waits. A queue that the server named gets another name, which its `AMQPQueue` then says, and the old one goes on
/// working in this connection's calls. Unacknowledged deliveries come again from the server; acknowledging the old ones does nothing.
///
/// At least once: a publish that still waits for its confirm is published again, so it may arrive twice. What was published without confirms and
/// had left is not. A transaction that was open fails at its commit.
///
/// A refusal that trying again cannot cure (credentials, virtual host, a connection exception for what was asked) ends it.
public struct AMQPReconnect: Sendable, Equatable {
    public var isEnabled = true
    /// The wait before the first attempt, doubled with each that fails. (RabbitMQ's Java client 5 s, always; aio-pika 5 s.)
    public var delayMin = Duration.milliseconds(500)
    /// The longest wait.
    public var delayMax = Duration.seconds(30)
    /// 0...1: which part of each wait is left to chance, so that the clients of a server that restarts do not come all at once.
    public var jitter = 0.5
    /// A connection that lived shorter does not count as a success: the waits go on growing.
    public var stableAfter = Duration.seconds(5)
    /// Attempts in a row that may fail before the client gives up.
    public var attemptsMax = Int.max
    /// Keep trying the first connection too. `false`: connecting throws when it fails.
    public var includesFirst = false
    /// `false`: a publish that waits for its confirm fails with `connectionLost` instead of being published again: at most once, and the caller decides.
    public var republishes = true
    /// `false`: exchanges, queues and bindings are not declared anew; channels and consumers are.
    public var recoversTopology = true

    public init() {}

    /// A lost connection is lost.
    public static var never: AMQPReconnect {
        var reconnect = AMQPReconnect()
        reconnect.isEnabled = false
        return reconnect
    }

    /// Before attempt number `attempt`, 1 for the first. `chance` is 0..<1.
    func delay(before attempt: Int, chance: Double) -> Duration {
        Backoff.delay(before: attempt, from: delayMin, to: delayMax, jitter: jitter, chance: chance)
    }
}

extension AMQPError {
    /// Whether the same may succeed later.
    var isCurable: Bool {
        switch self {
        case .unreachable(let error): ![.certificateExpired, .certificateWrongHost, .certificateUntrusted, .certificateRequired].contains(error.kind)
        case .noAnswer: true
        case .refused(_, let exception): ![.accessRefused, .notAllowed, .notImplemented].contains(exception.replyCode)
        case .channelClosed: true
        case .connectionLost(_, let loss):
            switch loss {
            // What was asked would be asked again; only what the server does by itself can pass.
            case .exception(let exception): [.connectionForced, .internalError, .resourceError].contains(exception.replyCode)
            case .layerFailed(let failure): !failure.isAboutCertificate
            case .ended, .failed, .violation: true
            case .unexpected: false
            }
        default: false
        }
    }
}
