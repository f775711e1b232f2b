internal import MartletBytes
internal import MartletCollections

/// What a ROUTER calls its peers (RFC 28; SERVER's numbers are the same without names): by the Identity a peer gave, or by five bytes of our own that begin with
/// zero, which no peer may give.
///
/// Invariant: a name is one peer's, and a peer has one. Not here: what is done with a message to nobody (mandatory: `find` is nil, so refuse it; otherwise drop and count).
public struct ZMTPRoutingTable: ~Copyable {
    public enum Insertion: Sendable, Equatable {
        case inserted
        /// The name was another's, which has none any more: end its connection (libzmq's ROUTER_HANDOVER).
        case tookOver(from: UInt32)
        /// The name is another's: end this connection.
        case taken(by: UInt32)
    }

    private var numbers: ByteMap<UInt32>
    private var names: [UInt32: [UInt8]] = [:]
    private var nextName: UInt32
    /// Whether who comes later gets a name that somebody has.
    public let handsOver: Bool

    /// `seed`: drawn at random; it also says with which name of ours we begin, so that one of a former process is nobody's.
    public init(handsOver: Bool = false, seed: UInt64) {
        numbers = ByteMap(seed: seed)
        nextName = UInt32(truncatingIfNeeded: seed >> 32)
        self.handsOver = handsOver
    }

    public var count: Int { names.count }

    /// A peer is ready. `identity`: what it gave, or nothing.
    public mutating func insert(_ peer: UInt32, identity: Span<UInt8>) -> Insertion {
        precondition(names[peer] == nil, "a peer that has a name")
        if identity.isEmpty {
            var name: [UInt8]
            repeat {
                name = [0]
                for shift in [24, 16, 8, 0] as [UInt32] { name.append(UInt8(truncatingIfNeeded: nextName >> shift)) }
                nextName &+= 1
            } while numbers.find(name.span) != nil
            numbers.insert(peer, name.span)
            names[peer] = name
            return .inserted
        }
        guard let place = numbers.find(identity) else {
            numbers.insert(peer, identity)
            names[peer] = identity.array
            return .inserted
        }
        let other = numbers[place: place]
        guard handsOver else { return .taken(by: other) }
        numbers[place: place] = peer
        names[other] = nil
        names[peer] = identity.array
        return .tookOver(from: other)
    }

    /// A peer has gone; one that was refused or replaced has no name to lose.
    public mutating func remove(_ peer: UInt32) {
        guard let name = names.removeValue(forKey: peer), let place = numbers.find(name.span) else { return }
        numbers.remove(at: place)
    }

    /// Whom a message's first frame names.
    public func find(_ name: Span<UInt8>) -> UInt32? { numbers.find(name).map { numbers[place: $0] } }

    /// What stands in front of a message from this peer.
    public func name(of peer: UInt32) -> [UInt8]? { names[peer] }
}
