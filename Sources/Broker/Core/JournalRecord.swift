import MartletBytes

/// What the journal is given for a message: its ticket and the message, once however many queues it goes to.
/// `length of what follows 4 · ticket 8 · message (`Message.append`)`
enum JournalRecord {
    static func appendMessage(_ message: borrowing Message, ticket: UInt64, to records: inout ByteBuffer) {
        records.append(UInt32(8 + Message.fixedByteCount + message.byteCount))
        records.append(ticket)
        message.append(to: &records)
    }
}
