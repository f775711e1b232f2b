import MartletBytes

/// What the journal is given for a message: its ticket and the message, once however many queues it goes to.
/// `length 4 · ticket 8 · hub 4 · origin · flags · priority · opaque · expiry 8 · counts 3x4 · bytes`
public enum JournalRecord {
    static func appendMessage(_ message: borrowing Message, ticket: UInt64, to records: inout ByteBuffer) {
        let header = message.header
        records.append(UInt32(36 + message.byteCount))
        records.append(ticket)
        records.append(message.hub.number)
        records.append(header.origin.index)
        records.append(header.flags.rawValue)
        records.append(header.priority)
        records.append(header.opaque)
        records.append(UInt64(bitPattern: header.expiry.milliseconds))
        records.append(UInt32(message.address.count))
        records.append(UInt32(message.properties.count))
        records.append(UInt32(message.body.count))
        records.append(message.address)
        records.append(message.properties)
        records.append(message.body)
    }
}
