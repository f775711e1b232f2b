internal import MartletBytes

/// A command's name and what follows it (RFC 37, Formal Grammar): `name-size name data`.
struct ZMTPCommand {
    let name: ByteRange
    let data: ByteRange

    /// The command that fills `range`.
    static func read(_ bytes: Span<UInt8>, at range: ByteRange) throws(ZMTPViolation) -> ZMTPCommand {
        guard !range.isEmpty else { throw .commandMalformed }
        let start = Int(range.start), name = ByteRange(start + 1, Int(bytes[start]))
        guard !name.isEmpty, name.end <= range.end else { throw .commandMalformed }
        return ZMTPCommand(name: name, data: ByteRange(name.end, range.end - name.end))
    }

    /// ERROR as PLAIN servers of libzmq 4.3 write it: in C, `"\x05ERROR"` begins with the character 0x5E, not with 5.
    static func garbledError(_ bytes: Span<UInt8>, at range: ByteRange) -> ZMTPCommand? {
        let name = ByteRange(Int(range.start), 5)
        guard range.count >= 6, bytes.at(name).equals(("^RROR" as StaticString).bytes) else { return nil }
        return ZMTPCommand(name: name, data: ByteRange(name.end, range.end - name.end))
    }

    func isNamed(_ expected: StaticString, in bytes: Span<UInt8>) -> Bool { bytes.at(name).equals(expected.bytes) }

    /// The reason that ERROR gives.
    func reason(in bytes: Span<UInt8>) throws(ZMTPViolation) -> ByteRange {
        guard !data.isEmpty else { throw .commandMalformed }
        let reason = ByteRange(Int(data.start) + 1, Int(bytes[Int(data.start)]))
        guard reason.end <= data.end else { throw .commandMalformed }
        return reason
    }
}

/// PING's context: at most 16 bytes.
struct ZMTPContext {
    private let bytes: SIMD16<UInt8>
    let count: Int

    static var none: ZMTPContext { ZMTPContext() }

    private init() {
        bytes = SIMD16()
        count = 0
    }

    init?(_ range: ByteRange, in bytes: Span<UInt8>) {
        guard range.count <= 16 else { return nil }
        var copy = SIMD16<UInt8>()
        for at in 0..<Int(range.count) { copy[at] = bytes[Int(range.start) + at] }
        self.bytes = copy
        count = Int(range.count)
    }

    func append(to output: inout ByteBuffer) { for at in 0..<count { output.append(bytes[at]) } }
}

/// A command among the messages, read: plain values, so that they may come out of the machine's own buffer.
enum ZMTPSaid {
    case ping(tenths: UInt16, ZMTPContext)
    case pong
    case subscribe(ByteRange)
    case cancel(ByteRange)
    case join(ByteRange)
    case leave(ByteRange)
    case error(ByteRange)
    case unknown

    static func read(_ bytes: Span<UInt8>, at range: ByteRange) throws(ZMTPViolation) -> ZMTPSaid {
        let command = try ZMTPCommand.read(bytes, at: range), data = command.data
        if command.isNamed("PING", in: bytes) {
            guard data.count >= 2, let context = ZMTPContext(ByteRange(Int(data.start) + 2, Int(data.count) - 2), in: bytes) else { throw .commandMalformed }
            return .ping(tenths: bytes.uint16(at: Int(data.start)), context)
        }
        if command.isNamed("PONG", in: bytes) {
            guard data.count <= 16 else { throw .commandMalformed }
            return .pong
        }
        if command.isNamed("SUBSCRIBE", in: bytes) { return .subscribe(data) }
        if command.isNamed("CANCEL", in: bytes) { return .cancel(data) }
        if command.isNamed("JOIN", in: bytes) { return .join(data) }
        if command.isNamed("LEAVE", in: bytes) { return .leave(data) }
        if command.isNamed("ERROR", in: bytes) { return .error(try command.reason(in: bytes)) }
        for name in ["READY", "HELLO", "WELCOME", "INITIATE", "MESSAGE"] as [StaticString] where command.isNamed(name, in: bytes) {
            throw .commandUnexpected
        }
        return .unknown
    }
}
