internal import MartletBytes

/// What a peer is in its pattern: the Socket-Type property (RFC 37).
///
/// The raw values of the first eleven are the octets of a 2.0 greeting (RFC 15, and libzmq's for XPUB and XSUB).
public enum ZMTPSocketType: UInt8, Sendable, Hashable, CaseIterable {
    case pair, pub, sub, req, rep, dealer, router, pull, push, xpub, xsub
    case client, server, radio, dish, scatter, gather, peer, channel

    /// As it stands in the property.
    public var name: StaticString {
        switch self {
        case .pair: "PAIR"
        case .pub: "PUB"
        case .sub: "SUB"
        case .req: "REQ"
        case .rep: "REP"
        case .dealer: "DEALER"
        case .router: "ROUTER"
        case .pull: "PULL"
        case .push: "PUSH"
        case .xpub: "XPUB"
        case .xsub: "XSUB"
        case .client: "CLIENT"
        case .server: "SERVER"
        case .radio: "RADIO"
        case .dish: "DISH"
        case .scatter: "SCATTER"
        case .gather: "GATHER"
        case .peer: "PEER"
        case .channel: "CHANNEL"
        }
    }

    /// Whether the two may talk to each other (RFC 37, The Socket-Type Property). It is the same both ways round.
    public func fits(_ other: ZMTPSocketType) -> Bool {
        switch self {
        case .pair: other == .pair
        case .pub, .xpub: other == .sub || other == .xsub
        case .sub, .xsub: other == .pub || other == .xpub
        case .req: other == .rep || other == .router
        case .rep: other == .req || other == .dealer
        case .dealer: other == .rep || other == .dealer || other == .router
        case .router: other == .req || other == .dealer || other == .router
        case .pull: other == .push
        case .push: other == .pull
        case .client: other == .server
        case .server: other == .client
        case .radio: other == .dish
        case .dish: other == .radio
        case .scatter: other == .gather
        case .gather: other == .scatter
        case .peer: other == .peer
        case .channel: other == .channel
        }
    }

    /// What a place that serves every type is to this peer: the type that may do all that the peer's pattern has.
    public var counterpart: ZMTPSocketType {
        switch self {
        case .pair: .pair
        case .pub, .xpub: .xsub
        case .sub, .xsub: .xpub
        case .req, .dealer, .router: .router
        case .rep: .dealer
        case .pull: .push
        case .push: .pull
        case .client: .server
        case .server: .client
        case .radio: .dish
        case .dish: .radio
        case .scatter: .gather
        case .gather: .scatter
        case .peer: .peer
        case .channel: .channel
        }
    }

    /// Whether its Identity counts: it may be what a ROUTER calls it.
    public var hasIdentity: Bool { self == .req || self == .dealer || self == .router }

    /// The octet of a 2.0 greeting, which knows no XPUB and XSUB (RFC 15, Publish-Subscribe), and nothing of what came later.
    var oldNumber: UInt8? {
        switch self {
        case .xpub: ZMTPSocketType.pub.rawValue
        case .xsub: ZMTPSocketType.sub.rawValue
        default: rawValue <= ZMTPSocketType.push.rawValue ? rawValue : nil
        }
    }

    init?(oldNumber: UInt8) {
        guard oldNumber <= ZMTPSocketType.xsub.rawValue, let type = ZMTPSocketType(rawValue: oldNumber) else { return nil }
        self = type
    }

    static func named(_ name: Span<UInt8>) -> ZMTPSocketType? {
        for type in allCases where name.equals(type.name.bytes) { return type }
        return nil
    }
}
