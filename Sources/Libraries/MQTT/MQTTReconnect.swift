internal import MartletClient
internal import MartletEventLoop
internal import MartletMQTTProtocol
internal import MartletNet

/// What a client does when its connection is lost: it connects again, waiting longer after each attempt that fails.
///
/// A refusal that trying again cannot cure (bad user name or password, not authorized, unsupported version, ...) ends it.
/// So does a session that another connection has taken over: two clients of one name would throw each other out for ever.
public struct MQTTReconnect: Sendable, Equatable {
    public var isEnabled = true
    /// The wait before the first attempt, doubled with each that fails. (paho 1 s, mqtt.js 1 s, HiveMQ client 1 s.)
    public var delayMin = Duration.milliseconds(500)
    /// The longest wait. (paho 120 s, HiveMQ client 120 s.)
    public var delayMax = Duration.seconds(30)
    /// 0...1: which part of each wait is left to chance, so that the clients of a server that restarts do not come all at once.
    public var jitter = 0.5
    /// A connection that lived shorter does not count as a success: the waits go on growing.
    public var stableAfter = Duration.seconds(5)
    /// Attempts in a row that may fail before the client gives up.
    public var attemptsMax = Int.max
    /// Keep trying the first connection too. `false`: `withConnection` throws when it fails.
    public var includesFirst = false
    /// How long the server shall keep the session of a lost connection (v5), also when `MQTTClientOptions.sessionExpiry` is
    /// shorter: what was under way then goes on where it was. Leaving in good order restores `sessionExpiry`.
    public var sessionExpiry = Duration.seconds(300)

    public init() {}

    /// A lost connection is lost.
    public static var never: MQTTReconnect {
        var reconnect = MQTTReconnect()
        reconnect.isEnabled = false
        return reconnect
    }

    /// Before attempt number `attempt`, 1 for the first. `chance` is 0..<1.
    func delay(before attempt: Int, chance: Double) -> Duration {
        Backoff.delay(before: attempt, from: delayMin, to: delayMax, jitter: jitter, chance: chance)
    }
}

extension MQTTClientError {
    /// Whether the same CONNECT may succeed later.
    var isCurable: Bool {
        switch self {
        case .unreachable(let error): ![.certificateExpired, .certificateWrongHost, .certificateUntrusted, .certificateRequired].contains(error.kind)
        case .noAnswer: true
        case .connectionLost(_, let loss):
            switch loss {
            case .disconnected(let reason, _): !Self.incurable.contains(reason)
            case .layerFailed(let failure): !failure.isAboutCertificate
            case .ended, .failed, .violation: true
            }
        case .refused(_, let reason, _): !Self.incurable.contains(reason)
        default: false
        }
    }

    private static let incurable: Set<MQTTReason> = [
        .malformedPacket, .protocolError, .unsupportedProtocolVersion, .clientIdentifierNotValid, .badUserNameOrPassword, .notAuthorized, .banned,
        .badAuthenticationMethod, .sessionTakenOver, .topicNameInvalid, .topicFilterInvalid, .packetTooLarge, .payloadFormatInvalid, .retainNotSupported,
        .qosNotSupported, .serverMoved,
    ]
}
