public import MartletBytes

/// What one shard tells another, in bytes that one wake-up a tick carries over. Never leaves the process: no versions, no checks.
/// ```
/// message   1 · ticket 8 · publisher 4 · receipt 8 · message (`Message.append`) · version 8, of a retained one
/// answer    2 · publisher 4 · receipt 8 · outcome · fullness
/// durable   3 · ticket 8
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
}

/// One letter, read where it lies.
public struct PeerLetter: ~Escapable {
    enum Kind: UInt8 { case message = 1, answer, durable }
    let kind: Kind
    /// Empty unless the letter holds one: deliveries without a stored copy are of it.
    public let message: Message
    let ticket: UInt64
    /// What a retained message was stored as (`Retained.version`); else 0.
    let version: UInt64
    let receipt: ReceiptID
    let outcome: PublishOutcome
    /// How full the fullest queue on that shard is that took the message (`Effects.fullness`).
    let fullness: UInt8
    public var hasMessage: Bool { kind == .message }

    /// The next letter; nil at the end.
    @_lifetime(copy mail)
    public init?(from mail: inout ByteReader) {
        guard let code = mail.readUInt8(), let kind = Kind(rawValue: code) else { return nil }
        self.kind = kind
        var ticket: UInt64 = 0, receipt = ReceiptID(publisher: .none, number: 0), outcome = PublishOutcome.routed, fullness: UInt8 = 0, version: UInt64 = 0
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
        }
        message = place.message(in: mail.bytes)
        self.ticket = ticket
        self.version = version
        self.receipt = receipt
        self.outcome = outcome
        self.fullness = fullness
    }
}
