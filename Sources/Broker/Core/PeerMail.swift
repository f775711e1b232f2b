public import MartletBytes

/// What one shard tells another, in bytes that one wake-up a tick carries over. Never leaves the process: no versions, no checks.
/// ```
/// message   1 · ticket 8 · publisher 4 · receipt 8 · message (`Message.append`) · version 8, of a retained one
///           · if there is a ticket: segment 4 · ordinal 4 · offset 4 · count 4 · serial numbers of the queues that these are the entries of 8 each
/// answer    2 · publisher 4 · receipt 8 · outcome · fullness
/// durable   3 · ticket 8
/// joining   4 · membership 8 · hub 4 · at most once · present · limit 4 · counts of name, pattern 2x4 · their bytes
/// leaving   5 · membership 8
/// presence  6 · membership 8 · present · limit 4
/// fed       7 · membership 8 · position 8 · the entry's name in the journal 8 · message
/// passed    8 · membership 8 · position 8 · no name 8 · message
/// settled   9 · membership 8 · position 8 · settlement
/// ended    10 · segment 4 · ordinal 4
/// fetch    11 · read 8 · segment 4 · offset 4
/// fetched  12 · read 8 · count 4 · the record from its kind on
/// taken    13 · membership 8 · position 8
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

    /// Behind a message that has a ticket.
    static func appendPlace(_ first: PagedEntries.Place, count: Int, to mail: inout ByteBuffer) {
        mail.append(first.name.segment)
        mail.append(first.name.ordinal)
        mail.append(first.offset)
        mail.append(UInt32(count))
    }

    static func appendFetch(_ read: RecordRead, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.fetch.rawValue)
        mail.append(read.id)
        mail.append(read.segment)
        mail.append(read.offset)
    }

    static func appendFetched(_ id: UInt64, _ record: Span<UInt8>, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.fetched.rawValue)
        mail.append(id)
        mail.append(UInt32(record.count))
        mail.append(record)
    }

    static func appendEnded(_ name: JournalName, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.ended.rawValue)
        mail.append(name.segment)
        mail.append(name.ordinal)
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

    /// `name`: the group's entry in the journal.
    static func appendFed(
        _ message: borrowing Message, _ membership: UInt64, at position: UInt64, _ name: JournalName, settles: Bool, to mail: inout ByteBuffer
    ) {
        mail.append(settles ? PeerLetter.Kind.fed.rawValue : PeerLetter.Kind.passed.rawValue)
        mail.append(membership)
        mail.append(position)
        mail.append(name.segment)
        mail.append(name.ordinal)
        message.append(to: &mail)
    }

    static func appendTaken(_ membership: UInt64, _ position: UInt64, to mail: inout ByteBuffer) {
        mail.append(PeerLetter.Kind.taken.rawValue)
        mail.append(membership)
        mail.append(position)
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
    enum Kind: UInt8 { case message = 1, answer, durable, joining, leaving, presence, fed, passed, settled, ended, fetch, fetched, taken }
    let kind: Kind
    /// Empty unless the letter holds one: deliveries without a stored copy are of it.
    public let message: Message
    private(set) var ticket: UInt64 = 0
    /// Where the record is, and the name of its first entry; the serial numbers of all queues that have one, or the record that was read.
    private(set) var place = PagedEntries.Place()
    let serials: Span<UInt8>
    private(set) var read: UInt64 = 0
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
        var place = MessagePlace(), serialsPlace = ByteRange.empty
        switch kind {
        case .message:
            ticket = mail.readUInt64()!
            receipt = ReceiptID(publisher: PublisherID(mail.readUInt32()!), number: mail.readUInt64()!)
            place = MessagePlace(from: &mail)
            if place.isRetained { version = mail.readUInt64()! }
            if ticket != 0 {
                self.place.name = JournalName(segment: mail.readUInt32()!, ordinal: mail.readUInt32()!)
                self.place.offset = mail.readUInt32()!
                serialsPlace = mail.readRange(8 * Int(mail.readUInt32()!))!
            }
        case .answer:
            receipt = ReceiptID(publisher: PublisherID(mail.readUInt32()!), number: mail.readUInt64()!)
            outcome = PublishOutcome(rawValue: mail.readUInt8()!)!
            fullness = mail.readUInt8()!
        case .ended:
            self.place.name = JournalName(segment: mail.readUInt32()!, ordinal: mail.readUInt32()!)
        case .fetch:
            read = mail.readUInt64()!
            self.place.name = JournalName(segment: mail.readUInt32()!, ordinal: 0)
            self.place.offset = mail.readUInt32()!
        case .fetched:
            read = mail.readUInt64()!
            serialsPlace = mail.readRange(Int(mail.readUInt32()!))!
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
            self.place.name = JournalName(segment: mail.readUInt32()!, ordinal: mail.readUInt32()!)
            place = MessagePlace(from: &mail)
        case .taken:
            membership = mail.readUInt64()!
            position = mail.readUInt64()!
        case .settled:
            membership = mail.readUInt64()!
            position = mail.readUInt64()!
            settlement = Settlement(rawValue: mail.readUInt8()!)!
        }
        message = place.message(in: mail.bytes)
        serials = mail.bytes.at(serialsPlace)
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
