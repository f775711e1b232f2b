import MartletBytes
import MartletCollections

/// The core's records, as the journal keeps them (Documentation/journal.md has the frame around them), big-endian:
/// ```
/// settled      length 4 · kind 1 · segment 4 · ordinal 4
/// message      length 4 · kind 16 · first ordinal 4 · entries 4 · order 8 · targets' length 4 · targets
///              · count of the namespace's name 1 · it · count of the hub's name 1 · it
///              · origin 1 · flags 1 · priority 1 · expiry 8 · counts of address, properties, body 3x4 · their bytes
/// target       the queue's serial number 8, 0: the hub itself, which keeps it · opaque 2 · matches 1 · matches x (opaque 2 · tag 4)
/// definition   length 4 · kind 17 · ordinal 4 · 1 4 · order 8 · gateway 1 · kind 1 · the gateway's bytes
/// ```
/// A message is written once for all queues of all shards that it goes to, by the shard that it was published on.
enum JournalRecord {
    enum Kind { static let settled: UInt8 = 1, message: UInt8 = 16, definition: UInt8 = 17 }

    static func appendSettled(_ name: JournalName, to records: inout ByteBuffer) {
        records.append(9 as UInt32)
        records.append(Kind.settled)
        records.append(name.segment)
        records.append(name.ordinal)
    }

    static func appendDefinition(_ gateway: UInt8, _ kind: UInt8, _ bytes: Span<UInt8>, ordinal: UInt32, order: UInt64, to records: inout ByteBuffer) {
        records.append(UInt32(19 + bytes.count))
        records.append(Kind.definition)
        records.append(ordinal)
        records.append(1 as UInt32)
        records.append(order)
        records.append(gateway)
        records.append(kind)
        records.append(bytes)
    }

    /// `isKept`: by its hub, which is then the first entry.
    static func appendMessage(
        _ message: borrowing Message, to targets: Span<UInt8>, entries: Int, isKept: Bool, hub: Span<UInt8>, ordinal: UInt32, order: UInt64,
        into records: inout ByteBuffer
    ) {
        let kept = isKept ? hubTargetCount : 0
        records.append(UInt32(17 + 4 + kept + targets.count + hub.count + 23 + message.byteCount))
        records.append(Kind.message)
        records.append(ordinal)
        records.append(UInt32(entries))
        records.append(order)
        records.append(UInt32(kept + targets.count))
        if isKept { appendTarget(0, opaque: 0, matches: [], to: &records) }
        records.append(targets)
        records.append(hub)
        records.append(message.header.origin.index)
        records.append(message.header.flags.rawValue)
        records.append(message.header.priority)
        records.append(UInt64(bitPattern: message.header.expiry.milliseconds))
        records.append(UInt32(message.address.count))
        records.append(UInt32(message.properties.count))
        records.append(UInt32(message.body.count))
        records.append(message.address)
        records.append(message.properties)
        records.append(message.body)
    }

    /// Of one queue alone, with what its bindings said.
    static func appendMessage(
        _ message: borrowing Message, to serial: UInt64, opaque: UInt16, matches: [BindingMatch], hub: (namespace: [UInt8], hub: [UInt8]),
        ordinal: UInt32, order: UInt64, into records: inout ByteBuffer
    ) {
        var target = ByteBuffer(), names = ByteBuffer()
        appendTarget(serial, opaque: opaque, matches: matches, to: &target)
        appendNames(hub.namespace, hub.hub, to: &names)
        appendMessage(message, to: target.span, entries: 1, isKept: false, hub: names.span, ordinal: ordinal, order: order, into: &records)
    }

    private static var hubTargetCount: Int { 11 }

    /// Of a message's record, before its payload and behind its length.
    static var messageHeadCount: Int { 17 }

    /// Matches beyond the 255th are left out.
    static func appendTarget(_ serial: UInt64, opaque: UInt16, matches: [BindingMatch], to targets: inout ByteBuffer) {
        targets.append(serial)
        targets.append(opaque)
        targets.append(UInt8(clamping: matches.count))
        for match in matches.prefix(255) {
            targets.append(match.opaque)
            targets.append(match.tag)
        }
    }

    /// The names as a record has them: `count · namespace · count · hub`.
    static func appendNames(_ namespace: [UInt8], _ hub: [UInt8], to names: inout ByteBuffer) {
        names.append(UInt8(clamping: namespace.count))
        names.append(namespace.span.extracting(0..<min(namespace.count, 255)))
        names.append(UInt8(clamping: hub.count))
        names.append(hub.span.extracting(0..<min(hub.count, 255)))
    }
}

/// A message record that was read again. Of payloads that the journal's checksum vouches for; one that makes no sense nevertheless is nil.
public struct MessageRecord: ~Escapable {
    /// One queue that the message went to.
    public struct Target: BitwiseCopyable {
        /// Its place among the record's entries.
        public let index: Int
        /// The queue's serial number; 0: the hub itself.
        public let serial: UInt64
        public let opaque: UInt16
        let matches: ByteRange
    }
    private let bytes: Span<UInt8>
    private let targets: ByteRange
    let namespace: ByteRange
    let hub: ByteRange
    private let header: MessageHeader
    private let address: ByteRange
    private let properties: ByteRange
    private let body: ByteRange

    /// `payload`: what stands behind the order.
    @_lifetime(copy payload)
    public init?(_ payload: Span<UInt8>) {
        var reader = ByteReader(payload)
        guard let targetsCount = reader.readUInt32(), let targets = reader.readRange(Int(targetsCount)) else { return nil }
        guard let namespaceCount = reader.readUInt8(), let namespace = reader.readRange(Int(namespaceCount)) else { return nil }
        guard let hubCount = reader.readUInt8(), let hub = reader.readRange(Int(hubCount)) else { return nil }
        guard let origin = reader.readUInt8(), let flags = reader.readUInt8(), let priority = reader.readUInt8(), let expiry = reader.readUInt64() else {
            return nil
        }
        guard let addressCount = reader.readUInt32(), let propertiesCount = reader.readUInt32(), let bodyCount = reader.readUInt32() else { return nil }
        guard let address = reader.readRange(Int(addressCount)), let properties = reader.readRange(Int(propertiesCount)),
            let body = reader.readRange(Int(bodyCount))
        else { return nil }
        bytes = payload
        self.targets = targets
        self.namespace = namespace
        self.hub = hub
        var header = MessageHeader(origin: GatewayID(origin), flags: MessageHeader.Flags(rawValue: flags))
        header.priority = priority
        header.expiry = WallTime(milliseconds: Int64(bitPattern: expiry))
        self.header = header
        self.address = address
        self.properties = properties
        self.body = body
    }

    public func forEachTarget(_ body: (Target) -> Void) {
        var reader = ByteReader(bytes.at(targets)), index = 0
        while let serial = reader.readUInt64(), let opaque = reader.readUInt16(), let count = reader.readUInt8(), let matches = reader.readRange(6 * Int(count))
        {
            body(Target(index: index, serial: serial, opaque: opaque, matches: ByteRange(Int(targets.start + matches.start), Int(matches.count))))
            index += 1
        }
    }

    /// All bindings that a target was reached through, where its gateway has to be told.
    func matches(of target: Target) -> [BindingMatch] {
        var reader = ByteReader(bytes.at(target.matches)), matches: [BindingMatch] = []
        while let opaque = reader.readUInt16(), let tag = reader.readUInt32() { matches.append(BindingMatch(opaque: opaque, tag: tag)) }
        return matches
    }

    /// The names with their counts.
    var nameBytes: [UInt8] { bytes.at(allNames).array }

    func isOf(_ names: [UInt8]) -> Bool { bytes.at(allNames).equals(names.span) }

    private var allNames: ByteRange { ByteRange(Int(namespace.start) - 1, hub.end - Int(namespace.start) + 1) }

    func names() -> (namespace: [UInt8], hub: [UInt8]) { (bytes.at(namespace).array, bytes.at(hub).array) }

    @_lifetime(copy self)
    func message(of hub: HubID) -> Message {
        Message(hub: hub, address: bytes.at(address), properties: bytes.at(properties), body: bytes.at(body), header: header)
    }
}
