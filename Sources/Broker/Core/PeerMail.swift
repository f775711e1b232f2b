public import MartletBytes

/// What one shard tells another, in bytes that one wake-up a tick carries over. Never leaves the process: no versions, no checks.
/// ```
/// message   1 · ticket 8 · publisher 4 · receipt 8 · message (`Message.append`) · version 8, of a retained one
/// answer    2 · publisher 4 · receipt 8 · outcome · fullness
/// durable   3 · ticket 8
/// joining   4 · membership 8 · hub 4 · at most once · present · limit 4 · counts of name, pattern 2x4 · their bytes
/// leaving   5 · membership 8
/// presence  6 · membership 8 · present · limit 4
/// fed       7 · membership 8 · position 8 · message
/// passed    8 · membership 8 · position 8 · message
/// settled   9 · membership 8 · position 8 · settlement
/// ```
enum PeerMail {
    static func appendMessage(_ message: borrowing Message, ticket: UInt64, receipt: ReceiptID?, version: UInt64, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.message.rawValue)
        mail.append(ticket)
        mail.append(receipt?.publisher.number ?? 0)
        mail.append(receipt?.number ?? 0)
        message.append(to: &mail)
        if version != 0 { mail.append(version) }
    }

    static func appendAnswer(_ receipt: ReceiptID, _ outcome: PublishOutcome, fullness: UInt8, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.answer.rawValue)
        mail.append(receipt.publisher.number)
        mail.append(receipt.number)
        mail.append(outcome.rawValue)
        mail.append(fullness)
    }

    static func appendDurable(_ ticket: UInt64, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.durable.rawValue)
        mail.append(ticket)
    }

    static func appendJoining(_ joining: Joining, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.joining.rawValue)
        mail.append(joining.membership)
        mail.append(joining.key.hub.number)
        mail.append(joining.isAtMostOnce ? 1 as UInt8 : 0)
        mail.append(joining.isPresent ? 1 as UInt8 : 0)
        mail.append(joining.limit)
        mail.append(UInt32(joining.key.name.count))
        mail.append(UInt32(joining.key.pattern.count))
        mail.append(joining.key.name.span)
        mail.append(joining.key.pattern.span)
    }

    static func appendLeaving(_ membership: UInt64, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.leaving.rawValue)
        mail.append(membership)
    }

    static func appendPresence(_ membership: UInt64, _ isPresent: Bool, limit: UInt32, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.presence.rawValue)
        mail.append(membership)
        mail.append(isPresent ? 1 as UInt8 : 0)
        mail.append(limit)
    }

    static func appendFed(_ message: borrowing Message, _ membership: UInt64, at position: UInt64, settles: Bool, to mail: inout ByteBuffer) {
        mail.append(settles ? PeerLetter.Kind.fed.rawValue : PeerLetter.Kind.passed.rawValue)
        mail.append(membership)
        mail.append(position)
        message.append(to: &mail)
    }

    static func appendSettled(_ membership: UInt64, _ position: UInt64, _ settlement: Settlement, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.settled.rawValue)
        mail.append(membership)
        mail.append(position)
        mail.append(settlement.rawValue)
    }
}

/// One letter, read where it lies.
public struct PeerLetter: ~Escapable {
    enum Kind: UInt8 { case message = 1, answer, durable, joining, leaving, presence, fed, passed, settled }
    let kind: Kind
    /// Empty unless the letter holds one: deliveries without a stored copy are of it.
    public let message: Message
    private(set) var ticket: UInt64 = 0
    /// What a retained message was stored as (`Retained.version`); else 0.
    private(set) var version: UInt64 = 0
    private(set) var receipt = ReceiptID(publisher: .none, number: 0)
    private(set) var outcome = PublishOutcome.routed
    /// How full the fullest queue on that shard is that took the message (`Effects.fullness`).
    private(set) var fullness: UInt8 = 0
    private(set) var membership: UInt64 = 0
    private(set) var position: UInt64 = 0
    private(set) var settlement = Settlement.accepted
    private(set) var isPresent = false
    private(set) var limit: UInt32 = 0
    private(set) var joining: Joining?
    /// Its deliveries are of the message it holds, and must be made while the letter is valid.
    public var hasMessage: Bool { kind == .message || kind == .passed }

    /// The next letter; nil at the end.
    @_lifetime(copy mail)
    public init?(from mail: inout ByteReader) {
        guard let code = mail.readUInt8(), let kind = Kind(rawValue: code) else { return nil }
        self.kind = kind
        var place = MessagePlace()
        switch kind {
        case .message:
            ticket = mail.readUInt64()!
            receipt = ReceiptID(publisher: PublisherID(mail.readUInt32()!), number: mail.readUInt64()!)
            place = MessagePlace(from: &mail)
            if place.isRetained { version = mail.readUInt64()! }
        case .answer:
            receipt = ReceiptID(publisher: PublisherID(mail.readUInt32()!), number: mail.readUInt64()!)
            outcome = PublishOutcome(rawValue: mail.readUInt8()!)!
            fullness = mail.readUInt8()!
        case .durable:
            ticket = mail.readUInt64()!
        case .joining:
            joining = Joining(from: &mail)
        case .leaving:
            membership = mail.readUInt64()!
        case .presence:
            membership = mail.readUInt64()!
            isPresent = mail.readUInt8()! == 1
            limit = mail.readUInt32()!
        case .fed, .passed:
            membership = mail.readUInt64()!
            position = mail.readUInt64()!
            place = MessagePlace(from: &mail)
        case .settled:
            membership = mail.readUInt64()!
            position = mail.readUInt64()!
            settlement = Settlement(rawValue: mail.readUInt8()!)!
        }
        message = place.message(in: mail.bytes)
    }
}

extension Joining {
    fileprivate init(from mail: inout ByteReader) {
        membership = mail.readUInt64()!
        let hub = HubID(mail.readUInt32()!)
        isAtMostOnce = mail.readUInt8()! == 1
        isPresent = mail.readUInt8()! == 1
        limit = mail.readUInt32()!
        let counts = (Int(mail.readUInt32()!), Int(mail.readUInt32()!))
        let name = mail.bytes.at(mail.readRange(counts.0)!).array
        key = GroupKey(hub: hub, name: name, pattern: mail.bytes.at(mail.readRange(counts.1)!).array)
    }
}
