public import MartletBytes

/// Walks the properties of metadata (RFC 37): `name-size name value-size value`. It ends at the first that is none.
public struct ZMTPProperties: Sendable {
    private var at: Int
    private let end: Int

    /// `range`: of `ZMTPMetadata.properties`.
    public init(_ range: ByteRange) {
        at = Int(range.start)
        end = range.end
    }

    /// Whether all bytes were properties.
    public var isAtEnd: Bool { at == end }

    public mutating func next(in bytes: Span<UInt8>) -> (name: ByteRange, value: ByteRange)? {
        guard at < end else { return nil }
        let name = ByteRange(at + 1, Int(bytes[at]))
        guard name.end + 4 <= end, ZMTPProperties.isName(bytes.at(name)) else { return nil }
        let count = Int(bytes.uint32(at: name.end))
        guard count <= end - name.end - 4 else { return nil }
        let value = ByteRange(name.end + 4, count)
        at = value.end
        return (name, value)
    }

    /// 1 to 255 letters, digits and `-_.+`.
    static func isName(_ name: Span<UInt8>) -> Bool {
        guard (1...255).contains(name.count) else { return false }
        for at in name.indices {
            switch name[at] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): break
            case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "+"): break
            default: return false
            }
        }
        return true
    }

    /// Names have no case.
    public static func isNamed(_ name: Span<UInt8>, _ expected: StaticString) -> Bool {
        let expected = expected.bytes
        guard name.count == expected.count else { return false }
        for at in name.indices where lower(name[at]) != lower(expected[at]) { return false }
        return true
    }

    private static func lower(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }
}

extension ZMTPMetadata {
    /// What the properties say to a peer of `ours`; `nil`: whatever they say fits.
    static func read(_ bytes: Span<UInt8>, at range: ByteRange, fitting ours: ZMTPSocketType?) throws(ZMTPViolation) -> ZMTPMetadata {
        var properties = ZMTPProperties(range), type: ZMTPSocketType?, identity = ByteRange.empty, resource = ByteRange.empty
        var hasType = false
        while let (name, value) = properties.next(in: bytes) {
            if ZMTPProperties.isNamed(bytes.at(name), "Socket-Type") {
                if hasType { throw .socketTypeMissing }
                hasType = true
                type = ZMTPSocketType.named(bytes.at(value))
            } else if ZMTPProperties.isNamed(bytes.at(name), "Identity") {
                identity = value
            } else if ZMTPProperties.isNamed(bytes.at(name), "Resource") {
                resource = value
            }
        }
        guard properties.isAtEnd else { throw .metadataMalformed }
        guard let type else { throw .socketTypeMissing }
        if let ours, !ours.fits(type) { throw .socketTypeUnfit }
        if type.hasIdentity {
            if identity.count > 255 || !identity.isEmpty && bytes[Int(identity.start)] == 0 { throw .identityInvalid }
        } else {
            identity = .empty
        }
        guard isResource(bytes.at(resource)) else { throw .resourceInvalid }
        return ZMTPMetadata(socketType: type, identity: identity, resource: resource, properties: range)
    }

    /// Names of letters, digits and `$-_@.&+` with one slash between two, or nothing.
    private static func isResource(_ resource: Span<UInt8>) -> Bool {
        var isAtName = true
        for at in resource.indices {
            switch resource[at] {
            case UInt8(ascii: "/"):
                if isAtName { return false }
                isAtName = true
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "$"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "@"), UInt8(ascii: "."), UInt8(ascii: "&"), UInt8(ascii: "+"):
                isAtName = false
            default: return false
            }
        }
        return resource.isEmpty || !isAtName
    }

    /// How many bytes `append` writes.
    static func count(_ configuration: ZMTPConfiguration, _ type: ZMTPSocketType) -> Int {
        var count = 5 + 11 + type.name.utf8CodeUnitCount
        if type.hasIdentity { count += 5 + 8 + configuration.identity.count }
        for property in configuration.properties { count += 5 + property.name.count + property.value.count }
        return count
    }

    /// Our own: Socket-Type, Identity for the types that have one, and what the configuration adds.
    static func append(_ configuration: ZMTPConfiguration, _ type: ZMTPSocketType, into output: inout ByteBuffer) {
        append("Socket-Type", type.name.bytes, into: &output)
        let identity = configuration.identity
        if type.hasIdentity { append("Identity", identity.span, into: &output) }
        for property in configuration.properties {
            output.append(UInt8(property.name.count))
            output.append(property.name.span)
            append(value: property.value.span, into: &output)
        }
    }

    private static func append(_ name: StaticString, _ value: Span<UInt8>, into output: inout ByteBuffer) {
        ZMTPWire.appendName(name, into: &output)
        append(value: value, into: &output)
    }

    private static func append(value: Span<UInt8>, into output: inout ByteBuffer) {
        output.append(UInt32(value.count))
        output.append(value)
    }
}
