internal import MartletBytes

/// The greeting (RFC 37, Version Negotiation): eleven octets first, so that an older peer is known before more is said to it.
extension ZMTPMachine {
    mutating func nextGreeting(from input: inout ByteReader, into output: inout ByteBuffer) throws(ZMTPViolation) -> ZMTPEvent? {
        let bytes = input.bytes, start = input.offset, count = input.remaining
        guard count > 0 else { return nil }
        if phase == .new { sayGreeting(into: &output) }
        if bytes[start] != 0xFF { throw .unversioned }
        guard count >= ZMTPWire.signatureCount else { return nil }
        if bytes[start + 9] & 1 == 0 { throw .unversioned }
        guard count >= ZMTPWire.versionedCount else { return nil }
        let major = bytes[start + 10]
        if major < 3 { return try nextOldGreeting(major, from: &input, into: &output) }
        let security = configuration.security
        if !flags.contains(.hasGreeted) {
            ZMTPWire.appendGreeting(mechanism: security.mechanism, asServer: security.isServer, into: &output)
            flags.insert(.hasGreeted)
        }
        guard count >= ZMTPWire.greetingCount else { return nil }
        let mechanism = bytes.extracting(start + ZMTPWire.mechanismOffset..<start + ZMTPWire.mechanismOffset + ZMTPWire.mechanismCount)
        guard ZMTPWire.names(mechanism, security.mechanism) else { throw .mechanismDiffers }
        // A zero says nothing: libzmq's servers send one, too.
        if security.isServer, bytes[start + ZMTPWire.asServerOffset] == 1 { throw .twoServers }
        version_ = major == 3 && bytes[start + 11] == 0 ? .v3_0 : .v3_1
        input.offset = start + ZMTPWire.greetingCount
        beginHandshake(into: &output)
        return .greeting(version_)
    }

    mutating func sayGreeting(into output: inout ByteBuffer) {
        if let carrier { carrier.begin(into: &output) } else { ZMTPWire.appendSignature(into: &output) }
        phase = .greeting
    }

    mutating func beginHandshake(into output: inout ByteBuffer) {
        switch configuration.security {
        case .null:
            phase = .ready
            // A type that the peer's decides waits for its READY, and an authenticator is asked first.
            if let ours, !configuration.asksForNull { sayReady(ours, into: &output) }
        case .plainClient(let user, let password):
            phase = .welcome
            ZMTPWire.appendCommand("HELLO", count: 2 + user.count + password.count, into: &output)
            output.append(UInt8(user.count))
            output.append(user.span)
            output.append(UInt8(password.count))
            output.append(password.span)
        case .curveClient:
            phase = .welcome
            curve?.sayHello(into: &output)
        case .plainServer, .curveServer: phase = .hello
        }
    }

    /// RFC 15: socket type and identity follow the revision, and then come messages.
    private mutating func nextOldGreeting(
        _ major: UInt8, from input: inout ByteReader, into output: inout ByteBuffer
    ) throws(ZMTPViolation) -> ZMTPEvent? {
        // Revision 0 is what libzmq calls a versioned 1.0, which never left its laboratory.
        guard major > 0, configuration.takesOldPeers, configuration.security == .null, !configuration.asksForNull else { throw .versionTooLow }
        let bytes = input.bytes, start = input.offset, count = input.remaining
        guard count >= 12 else { return nil }
        guard let type = ZMTPSocketType(oldNumber: bytes[start + 11]) else { throw .socketTypeMissing }
        let ours = ours ?? type.counterpart
        guard ours.fits(type) else { throw .socketTypeUnfit }
        guard let number = ours.oldNumber else { throw .versionTooLow }
        if !flags.contains(.hasGreeted) {
            let identity = ours.hasIdentity ? configuration.identity : []
            output.append(number)
            output.append(UInt16(identity.count))
            output.append(identity.span)
            flags.insert(.hasGreeted)
        }
        guard count >= 13 else { return nil }
        if bytes[start + 12] != 0 { throw .oldIdentity }
        guard count >= 14 else { return nil }
        let identity = ByteRange(start + 14, Int(bytes[start + 13]))
        guard identity.end <= bytes.count else { return nil }
        if type.hasIdentity, !identity.isEmpty, bytes[start + 14] == 0 { throw .identityInvalid }
        input.offset = identity.end
        self.ours = ours
        version_ = .v2_0
        beginTraffic()
        return .ready(ZMTPMetadata(socketType: type, identity: type.hasIdentity ? identity : .empty))
    }
}
