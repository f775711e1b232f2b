import MartletBytes

/// A message as bytes, for another shard or the journal, big-endian:
/// `hub 4 · origin · flags · priority · expiry 8 · counts of address, properties, body 3x4 · their bytes`.
/// Written by `Message.append`, found again by this.
struct MessagePlace {
    private var hub = HubID.none
    private var header = MessageHeader(origin: GatewayID(0))
    private var address = ByteRange.empty, properties = ByteRange.empty, body = ByteRange.empty

    /// No message.
    init() {}

    /// Only of bytes that `Message.append` wrote: what is cut short traps.
    init(from bytes: inout ByteReader) {
        hub = HubID(bytes.readUInt32()!)
        header = MessageHeader(origin: GatewayID(bytes.readUInt8()!), flags: MessageHeader.Flags(rawValue: bytes.readUInt8()!))
        header.priority = bytes.readUInt8()!
        header.expiry = WallTime(milliseconds: Int64(bitPattern: bytes.readUInt64()!))
        let counts = (Int(bytes.readUInt32()!), Int(bytes.readUInt32()!), Int(bytes.readUInt32()!))
        address = bytes.readRange(counts.0)!
        properties = bytes.readRange(counts.1)!
        body = bytes.readRange(counts.2)!
    }

    var isRetained: Bool { header.flags.contains(.retained) }

    @_lifetime(copy bytes)
    func message(in bytes: Span<UInt8>) -> Message {
        Message(hub: hub, address: bytes.at(address), properties: bytes.at(properties), body: bytes.at(body), header: header)
    }
}

extension Message {
    static var fixedByteCount: Int { 27 }

    /// Appends `fixedByteCount + byteCount` bytes.
    func append(to bytes: inout ByteBuffer) {
        bytes.append(hub.number)
        bytes.append(header.origin.index)
        bytes.append(header.flags.rawValue)
        bytes.append(header.priority)
        bytes.append(UInt64(bitPattern: header.expiry.milliseconds))
        bytes.append(UInt32(address.count))
        bytes.append(UInt32(properties.count))
        bytes.append(UInt32(body.count))
        bytes.append(address)
        bytes.append(properties)
        bytes.append(body)
    }
}
