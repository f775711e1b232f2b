internal import MartletBytes
internal import MartletCurve

/// The boxes of one CURVE connection (RFC 26; `Box [what](whose secret -> whose public)`).
/// ```
/// C: HELLO     C' nonce Box[64 zeros](C'->S)
/// S: WELCOME   nonce Box[S' + cookie](S->C')            cookie = nonce Box[C' + s'](the cookie's key)
/// C: INITIATE  cookie nonce Box[C + vouch + metadata](C'->S')   vouch = nonce Box[C' + S](C->S')
/// S: READY     nonce Box[metadata](S'->C')
///    MESSAGE   nonce Box[flags + body](C'<->S')
/// ```
/// Invariant: between WELCOME and INITIATE a server keeps the cookie's key and nothing else of the client; a short nonce is used once, and each is above
/// the one before. Not here: which command is due when (`ZMTPMachine+Handshake`).
final class ZMTPCurve {
    /// A MESSAGE's bytes beside flags and body: name, nonce, authenticator.
    static var messageOverhead: Int { 8 + 8 + 16 + 1 }
    static var initiateLeast: Int { 257 }
    /// In what INITIATE's box holds: the client's key, the vouch's nonce and box.
    static var metadataOffset: Int { 32 + 16 + 80 }
    /// In the flags of a MESSAGE's box, as libzmq has it.
    static var commandFlag: UInt8 { 2 }

    private let isServer: Bool
    private let own: CurveKeyPair
    /// The server's permanent key.
    private let server: CurvePublicKey
    private var seed: CurveSeed
    /// A client's C'.
    private var transient: CurveKeyPair?
    /// What the server gave, to be sent back: 96 bytes.
    private var cookie: [UInt8] = []
    /// S'.
    private var peer: CurvePublicKey?
    private var cookieKey: CurveBoxKey
    /// Between C' and S'. Until they are known, one that opens nothing.
    private var box: CurveBoxKey
    private var ownNonce: UInt64 = 1
    private var peerNonce: UInt64 = 0

    init?(_ security: ZMTPSecurity, _ seed: CurveSeed) {
        switch security {
        case .null, .plainClient, .plainServer: return nil
        case .curveClient(let own, let server):
            isServer = false
            self.own = own
            self.server = server
        case .curveServer(let own):
            isServer = true
            self.own = own
            server = own.publicKey
        }
        var seed = seed
        box = CurveBoxKey(drawing: &seed)
        cookieKey = CurveBoxKey(drawing: &seed)
        self.seed = seed
    }

    deinit {
        box.wipe()
        cookieKey.wipe()
        seed.wipe()
    }

    private func takeNonce() -> UInt64 {
        defer { ownNonce &+= 1 }
        return ownNonce
    }

    private func note(_ nonce: UInt64) throws(ZMTPViolation) {
        guard nonce > peerNonce else { throw .nonceNotHigher }
        peerNonce = nonce
    }

    private static func appendZeros(_ count: Int, into output: inout ByteBuffer) { for _ in 0..<count { output.append(0 as UInt8) } }

    // MARK: The client

    func sayHello(into output: inout ByteBuffer) {
        let transient = CurveKeyPair(drawing: &seed)
        self.transient = transient
        let nonce = takeNonce()
        ZMTPWire.appendCommand("HELLO", count: 194, into: &output)
        output.append(0x0100 as UInt16)
        Self.appendZeros(72, into: &output)
        output.append(transient.publicKey)
        output.append(nonce)
        Self.appendZeros(16 + 64, into: &output)
        // A server's key that shares nothing leaves a box that nobody opens.
        CurveBoxKey(server, transient.secretKey)?.seal(last: 64, of: &output, CurveNonce("CurveZMQHELLO---", nonce))
    }

    func takeWelcome(_ command: Span<UInt8>, _ opened: inout ByteBuffer) throws(ZMTPViolation) {
        guard command.count == 168 else { throw .commandMalformed }
        guard let transient, let nonce = CurveNonce("WELCOME-", command.at(ByteRange(8, 16))), let key = CurveBoxKey(server, transient.secretKey) else {
            throw .boxClosed
        }
        opened.removeAll()
        guard key.open(command.at(ByteRange(24, 144)), into: &opened, nonce) else { throw .boxClosed }
        guard let peer = CurvePublicKey(opened.span.at(ByteRange(0, 32))), let box = CurveBoxKey(peer, transient.secretKey) else { throw .boxClosed }
        self.peer = peer
        self.box = box
        cookie = opened.span.at(ByteRange(32, 96)).array
    }

    func sayInitiate(_ configuration: ZMTPConfiguration, _ type: ZMTPSocketType, into output: inout ByteBuffer) {
        guard let peer, let transient else { return }
        let metadataCount = ZMTPMetadata.count(configuration, type), nonce = takeNonce()
        ZMTPWire.appendCommand("INITIATE", count: 96 + 8 + 16 + Self.metadataOffset + metadataCount, into: &output)
        output.append(cookie.span)
        output.append(nonce)
        Self.appendZeros(16, into: &output)
        output.append(own.publicKey)
        let vouchNonce = seed.drawNonce("VOUCH---")
        vouchNonce.appendSent(into: &output)
        Self.appendZeros(16, into: &output)
        output.append(transient.publicKey)
        output.append(server)
        CurveBoxKey(peer, own.secretKey)?.seal(last: 64, of: &output, vouchNonce)
        ZMTPMetadata.append(configuration, type, into: &output)
        box.seal(last: Self.metadataOffset + metadataCount, of: &output, CurveNonce("CurveZMQINITIATE", nonce))
        cookie = []
        self.transient = nil
    }

    /// Opens the server's metadata.
    func openReady(_ command: Span<UInt8>, _ opened: inout ByteBuffer) throws(ZMTPViolation) {
        guard command.count >= 30 else { throw .commandMalformed }
        peerNonce = command.uint64(at: 6)
        opened.removeAll()
        let sealed = command.extracting(14..<command.count)
        guard box.open(sealed, into: &opened, CurveNonce("CurveZMQREADY---", peerNonce)) else { throw .boxClosed }
    }

    // MARK: The server

    func takeHello(_ command: Span<UInt8>, _ opened: inout ByteBuffer, into output: inout ByteBuffer) throws(ZMTPViolation) {
        guard command.count == 200 else { throw .commandMalformed }
        guard command[6] == 1, command[7] == 0 else { throw .curveVersion }
        guard let client = CurvePublicKey(command.at(ByteRange(80, 32))), let key = CurveBoxKey(client, own.secretKey) else { throw .boxClosed }
        peerNonce = command.uint64(at: 112)
        opened.removeAll()
        guard key.open(command.at(ByteRange(120, 80)), into: &opened, CurveNonce("CurveZMQHELLO---", peerNonce)) else { throw .boxClosed }
        for at in opened.span.indices where opened.span[at] != 0 { throw .boxClosed }

        let transient = CurveKeyPair(drawing: &seed), nonce = seed.drawNonce("WELCOME-"), cookieNonce = seed.drawNonce("COOKIE--")
        ZMTPWire.appendCommand("WELCOME", count: 160, into: &output)
        nonce.appendSent(into: &output)
        Self.appendZeros(16, into: &output)
        output.append(transient.publicKey)
        cookieNonce.appendSent(into: &output)
        Self.appendZeros(16, into: &output)
        output.append(client)
        output.append(transient.secretKey)
        cookieKey.seal(last: 64, of: &output, cookieNonce)
        key.seal(last: 128, of: &output, nonce)
    }

    /// Opens cookie, box and vouch: the client has C and C', and knows S. `opened` then begins with C, and has the metadata at `metadataOffset`.
    func openInitiate(_ command: Span<UInt8>, _ opened: inout ByteBuffer) throws(ZMTPViolation) {
        guard command.count >= Self.initiateLeast else { throw .commandMalformed }
        opened.removeAll()
        guard let cookieNonce = CurveNonce("COOKIE--", command.at(ByteRange(9, 16))),
            cookieKey.open(command.at(ByteRange(25, 80)), into: &opened, cookieNonce)
        else { throw .boxClosed }
        cookieKey.wipe()
        guard let client = CurvePublicKey(opened.span.at(ByteRange(0, 32))), let transient = CurveSecretKey(opened.span.at(ByteRange(32, 32))),
            let box = CurveBoxKey(client, transient)
        else { throw .boxClosed }
        self.box = box

        try note(command.uint64(at: 105))
        opened.removeAll()
        let sealed = command.extracting(113..<command.count)
        guard box.open(sealed, into: &opened, CurveNonce("CurveZMQINITIATE", peerNonce)) else { throw .boxClosed }

        var vouch = ByteBuffer()
        guard let permanent = CurvePublicKey(opened.span.at(ByteRange(0, 32))), let key = CurveBoxKey(permanent, transient),
            let nonce = CurveNonce("VOUCH---", opened.span.at(ByteRange(32, 16))), key.open(opened.span.at(ByteRange(48, 80)), into: &vouch, nonce)
        else { throw .boxClosed }
        guard CurvePublicKey(vouch.span.at(ByteRange(0, 32))) == client, CurvePublicKey(vouch.span.at(ByteRange(32, 32))) == server else { throw .boxClosed }
    }

    func sayReady(_ configuration: ZMTPConfiguration, _ type: ZMTPSocketType, into output: inout ByteBuffer) {
        let metadataCount = ZMTPMetadata.count(configuration, type), nonce = takeNonce()
        ZMTPWire.appendCommand("READY", count: 8 + 16 + metadataCount, into: &output)
        output.append(nonce)
        Self.appendZeros(16, into: &output)
        ZMTPMetadata.append(configuration, type, into: &output)
        box.seal(last: metadataCount, of: &output, CurveNonce("CurveZMQREADY---", nonce))
    }

    // MARK: Messages

    private static let messageWord = ("\u{7}MESSAGE" as StaticString).bytes.word(at: 0)

    private func messageNonce(_ number: UInt64, toServer: Bool) -> CurveNonce {
        toServer ? CurveNonce("CurveZMQMESSAGEC", number) : CurveNonce("CurveZMQMESSAGES", number)
    }

    func openMessage(_ command: Span<UInt8>, _ opened: inout ByteBuffer) throws(ZMTPViolation) {
        guard command.count >= 8, command.word(at: 0) == Self.messageWord else { throw .commandUnexpected }
        guard command.count >= Self.messageOverhead else { throw .commandMalformed }
        try note(command.uint64(at: 8))
        opened.removeAll()
        guard box.open(command.extracting(16..<command.count), into: &opened, messageNonce(peerNonce, toServer: isServer)) else { throw .boxClosed }
    }

    /// `clear`: bytes that will be sealed, the flags among them, which the caller appends.
    @inline(__always)
    func beginMessage(_ clear: Int, into output: inout ByteBuffer) {
        ZMTPWire.appendHeader(0, count: 8 + 8 + 16 + clear, into: &output)
        output.append(Self.messageWord.byteSwapped)
        output.append(ownNonce)
        output.append(0 as UInt64)
        output.append(0 as UInt64)
    }

    @inline(__always)
    func endMessage(_ clear: Int, of output: inout ByteBuffer) {
        box.seal(last: clear, of: &output, messageNonce(takeNonce(), toServer: !isServer))
    }

    @inline(__always)
    func append(_ body: Span<UInt8>, more: Bool, into output: inout ByteBuffer) {
        beginMessage(1 + body.count, into: &output)
        output.append(more ? ZMTPWire.more : 0)
        output.append(body)
        endMessage(1 + body.count, of: &output)
    }
}
