import MartletBytes
import MartletCollections
import MartletCore
import MartletEventLoop
import MartletLogging
import MartletMQTTProtocol
import MartletShard

/// After a restart: sessions come back with their subscriptions, their wills and the packet identifiers in use. Nobody speaks for them; a
/// connection that ended with the server has ended now.
extension MQTTGateway {
    func restore(_ kind: MQTTDefinitions.Kind, _ definition: Span<UInt8>, as name: JournalName) {
        var bytes = ByteReader(definition)
        guard let home = bytes.readUInt32(), Int(home) % shard.count == Int(shard.number), let serial = bytes.readUInt64() else { return }
        guard kind != .session else { return restoreSession(&bytes, home, serial, as: name) }
        // Its session has ended, and the journal does not know yet that so did this.
        guard let session = pending.value.restored.sessions[serial] else { return shard.end(name) }
        switch kind {
        case .session: break
        case .will: restoreWill(&bytes, session, as: name)
        case .subscription:
            guard let options = bytes.readUInt8(), let identifier = bytes.readUInt32() else { return }
            let filter = definition.extracting(bytes.offset..<definition.count).array
            bind(session, identifier, filter, MQTTSubscriptionOptions(rawValue: options), .none, record: name)
        case .received:
            guard let identifier = bytes.readUInt16() else { return }
            _ = sessions.value[session].receive(identifier, as: name)
        case .underWay: restoreUnderWay(&bytes, session, as: name)
        }
    }

    private func restoreSession(_ bytes: inout ByteReader, _ home: UInt32, _ serial: UInt64, as name: JournalName) {
        guard let milliseconds = bytes.readUInt64(), let end = bytes.readUInt64() else { return }
        let clientID = bytes.bytes.extracting(bytes.offset..<bytes.bytes.count).array, lifetime = Duration.milliseconds(Int64(clamping: milliseconds))
        let (owner, older) = shard.router.claim(clientID.span, for: shard.number)
        guard owner == shard.number else { return }
        // It was begun anew, elsewhere, and the server stopped before the end of the older one was written down.
        if !older.isNone {
            endRestored(shard.core.value.gatewayState(of: older))
            _ = shard.router.claim(clientID.span, for: shard.number)
        }
        let endpoint = shard.core.value.openEndpoint(
            clientID.span, gateway: id, queue: options.queuePolicy(isDurable: true), lifetime: lifetime, serial: serial)
        let session = sessions.value.insert(MQTTSession(endpoint: endpoint, queue: shard.core.value.queue(of: endpoint)))
        sessions.value[session].definitions = definitions.value.insert(MQTTDefinitions(home: home))
        definitions.value[sessions.value[session].definitions].session = name
        pending.value.restored.sessions[serial] = session
        pending.value.absent.append((session, WallTime(milliseconds: Int64(bitPattern: end))))
        shard.core.value.restore(endpoint, gatewayState: session)
    }

    private func endRestored(_ session: UInt32) {
        let serial = shard.core.value.serial(of: sessions.value[session].queue), endpoint = sessions.value[session].endpoint
        pending.value.restored.sessions[serial] = nil
        shard.perform { $0.deleteEndpoint(endpoint, into: &$1) }
        shard.router.forgetRestored(serial)
        remove(session)
    }

    private func restoreWill(_ bytes: inout ByteReader, _ session: UInt32, as name: JournalName) {
        guard let delay = bytes.readUInt32(), let lifetime = bytes.readUInt64().map(Int64.init(bitPattern:)), let flags = bytes.readUInt8(),
            let topicCount = bytes.readUInt32(), let propertiesCount = bytes.readUInt32(), let payloadCount = bytes.readUInt32(),
            let topic = bytes.readRange(Int(topicCount)), let properties = bytes.readRange(Int(propertiesCount)),
            let payload = bytes.readRange(Int(payloadCount))
        else { return }
        let all = bytes.bytes
        let message = Message(
            hub: hub, address: all.at(topic), properties: all.at(properties), body: all.at(payload),
            header: MessageHeader(origin: id, flags: MessageHeader.Flags(rawValue: flags)))
        shard.core.value.setFarewell(
            sessions.value[session].endpoint, message, delay: .seconds(Int64(delay)), lifetime: lifetime < 0 ? nil : .seconds(lifetime), record: name,
            into: &shard.effects.value)
    }

    private func restoreUnderWay(_ bytes: inout ByteReader, _ session: UInt32, as name: JournalName) {
        guard let identifier = bytes.readUInt16(), let isReceived = bytes.readUInt8(), let order = bytes.readUInt64(), let opaque = bytes.readUInt16()
        else { return }
        let queue = sessions.value[session].queue
        definitions.value[sessions.value[session].definitions].underWay.insert(name, at: UInt64(identifier))
        if isReceived == 1 {
            sessions.value[session].restore(identifier, at: shard.core.value.restoreReceived(in: queue), isReceived: true)
        } else {
            if order != 0 { shard.core.value.expect(order, in: queue, opaque: opaque) }
            pending.value.restored.underWay.append((session, identifier, order))
        }
    }

    /// Everything is back. What was under way keeps its identifier. If the message is not there any more, the client may have it nevertheless
    /// and would take the next one of that identifier for the same: PUBREL frees it.
    func finishRestoring() {
        for (session, identifier, order) in pending.value.restored.underWay {
            let queue = sessions.value[session].queue
            if let position = shard.core.value.restoredPosition(of: order, in: queue) {
                sessions.value[session].restore(identifier, at: position, isReceived: false)
            } else {
                sessions.value[session].restore(identifier, at: shard.core.value.restoreReceived(in: queue), isReceived: true)
            }
        }
        let count = pending.value.restored.sessions.count
        pending.value.restored = MQTTRestored()
        if count > 0 { log.info("sessions restored", metadata: ["count": "\(count)"]) }
    }

    /// Lifetimes and delays of wills run on, by the wall clock; one that was put back does not make anything last longer.
    func restoreAbsences() {
        let absent = pending.value.absent, wallTime = shard.core.value.wallTime
        pending.value.absent = []
        for (session, ended) in absent where sessions.value[session].reach.slot == 0 {
            let passed = ended == .never ? 0 : max(0, wallTime.milliseconds - ended.milliseconds)
            if ended == .never { defineSession(session, ended: wallTime) }
            shard.core.value.restoreAbsence(of: sessions.value[session].endpoint, lasting: .milliseconds(passed))
        }
    }
}
