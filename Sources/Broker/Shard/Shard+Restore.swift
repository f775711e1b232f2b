import MartletBytes
public import MartletCore
import MartletJournal

/// After a restart: what the journal holds comes back before the shard's gateways take anybody in: definitions by kind and order, then
/// messages by order, then `begin`.
extension Shard {
    /// Offers a definition to the gateway that wrote it, which takes it if it is at home on this shard. `payload`: gateway 1 · kind 1 · the
    /// gateway's bytes.
    public func restore(definition payload: Span<UInt8>, as name: JournalName) {
        guard payload.count >= 2 else { return }
        let bytes = payload.extracting(2..<payload.count), gateway = GatewayID(payload[0])
        if gateway == BrokerCore.definer {
            if number == 0 { core.value.restore(bytes, as: name) }
        } else if Int(gateway.index) < allGateways.count {
            self.gateway(gateway).restore(kind: payload[1], bytes, as: name)
        }
    }

    /// Puts a message back into queues of this shard.
    public func restore(message payload: Span<UInt8>, order: UInt64, first: JournalName, offset: UInt32, entries: ArraySlice<BrokerCore.RestoredEntry>) {
        guard let record = MessageRecord(payload) else { return }
        core.value.restore(record, order: order, first: first, offset: offset, entries: entries, into: &effects.value)
    }

    /// An entry of the journal that nobody wants any more.
    public func end(_ name: JournalName) { core.value.undefine(name, into: &effects.value) }

    /// Everything is back.
    public func endRestoring() {
        for gateway in allGateways { gateway.endRestoring() }
        core.value.endRestoring()
        if number == 0 { core.value.endGroups(into: &effects.value) }
    }
}

extension JournalTail {
    init(_ cursor: JournalCursor) { self.init(segment: cursor.segment, offset: cursor.offset, ordinal: cursor.ordinal) }
}
