public import MartletNet

/// Why a call on a socket failed. `description` is a sentence.
public enum ZMQError: Error, Sendable, Equatable {
    /// The endpoint is none: the text says why.
    case endpointInvalid(String, reason: String)
    /// It could not be bound.
    case bindFailed(NetError)
    /// Nobody is bound or connected there.
    case noSuchEndpoint(String)
    /// Another socket of the process is bound to this `inproc` name.
    case nameInUse(String)
    /// The two `inproc` sockets' types do not fit.
    case typesDoNotFit(String)
    /// ROUTER with `isRouterMandatory`: no peer has this routing id.
    case noPeer(routingID: [UInt8])
    /// SERVER: no client has this number.
    case noClient(ZMQClientID)
    /// A group is of over 255 bytes, or has a zero (RFC 48).
    case groupInvalid
    /// The message is not what the pattern sends: the text says what is missing.
    case messageInvalid(String)
    /// REQ: a request is under way.
    case requestUnderWay
    /// REQ with `supersedesRequests`: another request has taken its place.
    case superseded
    /// REQ: the peer that had the request has gone.
    case peerLost
    /// The socket is closed.
    case closed
    /// The time was over first.
    case timedOut
    /// The task was cancelled.
    case cancelled
}

extension ZMQError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .endpointInvalid(let text, let reason): "\(text) is no endpoint: \(reason)"
        case .bindFailed(let error): "\(error)"
        case .noSuchEndpoint(let text): "the socket is neither bound nor connected to \(text)"
        case .nameInUse(let name): "inproc://\(name) is in use by another socket"
        case .typesDoNotFit(let text): text
        case .noPeer(let routingID): "no peer has the routing id \(String(decoding: routingID, as: UTF8.self))"
        case .noClient(let id): "no client has the number \(id)"
        case .groupInvalid: "a group has at most 255 bytes, and none of them is zero"
        case .messageInvalid(let text): text
        case .requestUnderWay: "a REQ socket has one request at a time; wait for its reply, or use DEALER"
        case .superseded: "another request has taken this one's place"
        case .peerLost: "the peer that had the request has gone before its reply came; send the request again"
        case .closed: "the socket is closed"
        case .timedOut: "timed out"
        case .cancelled: "cancelled"
        }
    }
}
