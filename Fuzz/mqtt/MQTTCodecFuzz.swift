import MartletBytes
import MartletMQTTProtocol

/// libFuzzer target: all decoders and encoders. The first byte chooses the version; the others are one stream, read as a client's and
/// as a server's. A run traps when a decoder does, or when what was decoded, encoded again by the other role, is decoded to something else.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCodec(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let version: MQTTVersion = [.v5, .v3_1_1, .v3_1][Int(start[0] % 3)]
    walk(bytes)
    for phase in [.new, .open] as [FuzzPhase] {
        for event in decodeAsServer(bytes, version, phase) {
            guard let again = encode(event, version) else { continue }
            precondition(decodeAsServer(again, version, phase) == [event], "\(event)")
        }
    }
    for event in decodeAsClient(bytes, version) {
        guard let again = encode(event, version) else { continue }
        precondition(decodeAsClient(again, version) == [event], "\(event)")
    }
    return 0
}

/// Cursors must take bytes that no machine has checked.
private func walk(_ bytes: [UInt8]) {
    for start in [0, bytes.count / 2, bytes.count, bytes.count + 1] {
        let range = ByteRange(start, max(0, bytes.count - start))
        var properties = MQTTPropertyCursor(range, in: bytes.span)
        while let property = properties.next() { precondition(property.valueOffset < property.whole.end) }
        var filters = MQTTFilterCursor(subscribe: range, in: bytes.span)
        while filters.next() != nil {}
        var names = MQTTFilterCursor(unsubscribe: range, in: bytes.span)
        while names.next() != nil {}
    }
}

private func decodeAsServer(_ bytes: [UInt8], _ version: MQTTVersion, _ phase: FuzzPhase) -> [MQTTServerEvent.Owned] {
    let peers = FuzzPeers(version, phase, packetSizeMax: Int(UInt32.max))
    var machine = peers.server
    return show(bytes, pieces: bytes.count, to: &machine, packetSizeMax: .max) { _, _, _ in }.events
}

private func decodeAsClient(_ bytes: [UInt8], _ version: MQTTVersion) -> [MQTTClientEvent.Owned] {
    let peers = FuzzPeers(version, .reauthenticating, packetSizeMax: Int(UInt32.max))
    var machine = peers.client
    return show(bytes, pieces: bytes.count, to: &machine, packetSizeMax: .max) { _, _, _ in }.events
}

/// `nil`: nothing that this role says in this state.
private func encode(_ event: MQTTServerEvent.Owned, _ version: MQTTVersion) -> [UInt8]? {
    var output = ByteBuffer()
    var isNew = false
    let message: MQTTClientOutgoing
    switch event {
    case .connect(let options):
        isNew = true
        message = .connect(options)
    case .publish(let publish): message = .publish(publish)
    case .puback(let identifier, let reason): message = .puback(packetIdentifier: identifier, reason: reason)
    case .pubrec(let identifier, let reason): message = .pubrec(packetIdentifier: identifier, reason: reason)
    case .pubrel(let identifier, let reason): message = .pubrel(packetIdentifier: identifier, reason: reason)
    case .pubcomp(let identifier, let reason): message = .pubcomp(packetIdentifier: identifier, reason: reason)
    case .subscribe(let identifier, let subscriptionIdentifier, let subscriptions):
        message = .subscribe(packetIdentifier: identifier, subscriptionIdentifier: subscriptionIdentifier, subscriptions: subscriptions)
    case .unsubscribe(let identifier, let filters): message = .unsubscribe(packetIdentifier: identifier, filters: filters)
    case .pingreq: message = .pingreq
    case .auth(let auth): message = .auth(auth)
    // Some reasons become others that a client may send.
    case .disconnect(let reason, let expiry):
        guard reason == .success || reason == .disconnectWithWillMessage else { return nil }
        message = .disconnect(reason: reason, sessionExpiry: expiry)
    }
    let peers = FuzzPeers(version, isNew ? .new : .open, packetSizeMax: Int(UInt32.max))
    var client = peers.client
    do throws(MQTTMisuse) { try client.send(message, into: &output) } catch { fatalError("\(error): \(event)") }
    return output.span.array
}

private func encode(_ event: MQTTClientEvent.Owned, _ version: MQTTVersion) -> [UInt8]? {
    var output = ByteBuffer()
    let message: MQTTServerOutgoing
    switch event {
    case .publish(let publish):
        MQTTEncoder.publish(
            version: version, topic: publish.topic.span, properties: publish.properties.span, payload: publish.payload.span, qos: publish.qos,
            packetIdentifier: publish.packetIdentifier, retain: publish.retain, duplicate: publish.duplicate, into: &output)
        return output.span.array
    case .puback(let identifier, let reason): message = .puback(packetIdentifier: identifier, reason: reason)
    case .pubrec(let identifier, let reason): message = .pubrec(packetIdentifier: identifier, reason: reason)
    case .pubrel(let identifier, let reason): message = .pubrel(packetIdentifier: identifier, reason: reason)
    case .pubcomp(let identifier, let reason): message = .pubcomp(packetIdentifier: identifier, reason: reason)
    case .suback(let identifier, let reasons): message = .suback(packetIdentifier: identifier, reasons: reasons)
    case .unsuback(let identifier, let reasons):
        message = .unsuback(packetIdentifier: identifier, reasons: reasons.isEmpty ? [.success] : reasons)
    case .auth(let auth):
        // The shortest form has none.
        guard !auth.method.isEmpty else { return nil }
        message = .auth(auth)
    case .disconnect(let reason, let text, let server): message = .disconnect(reason: reason, text: text, serverReference: server)
    case .pingresp, .connack: return nil
    }
    let peers = FuzzPeers(version, .reauthenticating, packetSizeMax: Int(UInt32.max))
    var server = peers.server
    do throws(MQTTMisuse) { try server.send(message, into: &output) } catch { fatalError("\(error): \(event)") }
    return output.span.array
}
