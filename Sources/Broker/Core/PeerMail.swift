public import MartletBytes

/// What one shard tells another, in bytes that one wake-up a tick carries over. Never leaves the process: no versions, no checks.
/// ```
/// message   1 · origin · flags · priority · opaque · expiry 8 · hub 4 · ticket 8 · publisher 4 · receipt 8 · counts 3x4 · bytes
/// answer    2 · publisher 4 · receipt 8 · outcome · fullness
/// durable   3 · ticket 8
/// ```
enum PeerMail {
    static func appendMessage(_ message: borrowing Message, ticket: UInt64, receipt: ReceiptID?, to mail: inout ByteBuffer) {
        let header = message.header
        mail.append(PeerLetter.Kind.message.rawValue)
        mail.append(header.origin.index)
        mail.append(header.flags.rawValue)
        mail.append(header.priority)
        mail.append(header.opaque)
        mail.append(UInt64(bitPattern: header.expiry.milliseconds))
        mail.append(message.hub.number)
        mail.append(ticket)
        mail.append(receipt?.publisher.number ?? 0)
        mail.append(receipt?.number ?? 0)
        mail.append(UInt32(message.address.count))
        mail.append(UInt32(message.properties.count))
        mail.append(UInt32(message.body.count))
        mail.append(message.address)
        mail.append(message.properties)
        mail.append(message.body)
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
        var header = MessageHeader(origin: GatewayID(0))
        var hub = HubID.none, ticket: UInt64 = 0, receipt = ReceiptID(publisher: .none, number: 0), outcome = PublishOutcome.routed, fullness: UInt8 = 0
        var address = ByteRange.empty, properties = ByteRange.empty, body = ByteRange.empty
        switch kind {
        case .message:
            header = MessageHeader(origin: GatewayID(mail.readUInt8()!), flags: MessageHeader.Flags(rawValue: mail.readUInt8()!))
            header.priority = mail.readUInt8()!
            header.opaque = mail.readUInt8()!
            header.expiry = WallTime(milliseconds: Int64(bitPattern: mail.readUInt64()!))
            hub = HubID(mail.readUInt32()!)
            ticket = mail.readUInt64()!
            receipt = ReceiptID(publisher: PublisherID(mail.readUInt32()!), number: mail.readUInt64()!)
            let counts = (Int(mail.readUInt32()!), Int(mail.readUInt32()!), Int(mail.readUInt32()!))
            address = mail.readRange(counts.0)!
            properties = mail.readRange(counts.1)!
            body = mail.readRange(counts.2)!
        case .answer:
            receipt = ReceiptID(publisher: PublisherID(mail.readUInt32()!), number: mail.readUInt64()!)
            outcome = PublishOutcome(rawValue: mail.readUInt8()!)!
            fullness = mail.readUInt8()!
        case .durable:
            ticket = mail.readUInt64()!
        }
        message = Message(hub: hub, address: mail.bytes.at(address), properties: mail.bytes.at(properties), body: mail.bytes.at(body), header: header)
        self.ticket = ticket
        self.receipt = receipt
        self.outcome = outcome
        self.fullness = fullness
    }
}
