import MartletBytes
import MartletCurve
import MartletZMTPProtocol

extension Direction {
    /// As the general one; with CURVE ranges speak of the machine's own buffer.
    mutating func deliver(
        _ size: Int, to machine: inout ZMTPMachine, at now: Instant, into output: inout ByteBuffer,
        _ answer: (inout ZMTPMachine, ZMTPEvent.Owned, inout ByteBuffer) throws -> Void
    ) throws -> [ZMTPEvent.Owned] {
        let piece = Array(inFlight.prefix(size))
        inFlight.removeFirst(piece.count)
        var events: [ZMTPEvent.Owned] = []
        var used = 0
        machine.heard(at: now)
        do {
            let all = unread.show(piece.span)
            var input = ByteReader(all)
            while let event = try machine.nextEvent(from: &input, into: &output) {
                let owned = event.owned(in: machine.content(in: all))
                events.append(owned)
                try answer(&machine, owned, &output)
            }
            used = input.offset
        }
        unread.keep(piece.span, used: used)
        return events
    }
}

/// Two ends over a link with a virtual clock; `b` is the mechanism's server where there is one. Whoever asks is accepted, unless `isStern`.
struct ZMTPPair: ~Copyable {
    static let start = Instant(nanoseconds: 1_000_000_000)
    static let serverKeys = keys(1), clientKeys = keys(2)

    enum Mechanism: CaseIterable { case null, asking, plain, curve }

    var a: ZMTPMachine
    var b: ZMTPMachine
    var toA = Direction()
    var toB = Direction()
    var aOutput = ByteBuffer()
    var bOutput = ByteBuffer()
    var heardByA: [ZMTPEvent.Owned] = []
    var heardByB: [ZMTPEvent.Owned] = []
    var now = Self.start
    var refusal: ZMTPRefusal?
    /// The largest piece that the link delivers.
    let piece: Int

    static func keys(_ number: UInt8) -> CurveKeyPair {
        var seed = seed(number)
        return CurveKeyPair(drawing: &seed)
    }

    static func seed(_ number: UInt8) -> CurveSeed {
        let bytes = [UInt8](repeating: number, count: 32)
        return CurveSeed(bytes.span) ?? .random()
    }

    static func securities(_ mechanism: Mechanism) -> (a: ZMTPSecurity, b: ZMTPSecurity) {
        switch mechanism {
        case .null, .asking: (.null, .null)
        case .plain: (.plainClient(user: Array("ann".utf8), password: Array("secret".utf8)), .plainServer)
        case .curve: (.curveClient(clientKeys, server: serverKeys.publicKey), .curveServer(serverKeys))
        }
    }

    init(
        _ mechanism: Mechanism = .null, _ aType: ZMTPSocketType? = .dealer, _ bType: ZMTPSocketType? = .router, piece: Int = .max,
        identity: [UInt8] = [], properties: [(name: [UInt8], value: [UInt8])] = [], limits: ZMTPLimits = ZMTPLimits(),
        heartbeat: ZMTPHeartbeat = .off, bHeartbeat: ZMTPHeartbeat = .off
    ) {
        let securities = Self.securities(mechanism)
        let configuration = ZMTPConfiguration(
            aType, security: securities.a, identity: identity, properties: properties, asksForNull: mechanism == .asking, limits: limits, heartbeat: heartbeat)
        a = ZMTPMachine(configuration, seed: Self.seed(3), now: now)
        b = ZMTPMachine(
            ZMTPConfiguration(bType, security: securities.b, asksForNull: mechanism == .asking, limits: limits, heartbeat: bHeartbeat), seed: Self.seed(4),
            now: now)
        self.piece = piece
    }

    /// Lets the bytes go to and fro until nothing is under way.
    mutating func settle() throws {
        let refusal = refusal
        repeat {
            toB.take(&aOutput)
            while !toB.inFlight.isEmpty {
                heardByB += try toB.deliver(piece, to: &b, at: now, into: &bOutput) { machine, event, output in
                    guard case .authenticate = event else { return }
                    if let refusal { try machine.refuse(refusal, into: &output) } else { try machine.accept(into: &output) }
                }
            }
            toA.take(&bOutput)
            while !toA.inFlight.isEmpty {
                heardByA += try toA.deliver(piece, to: &a, at: now, into: &aOutput) { machine, event, output in
                    if case .authenticate = event { try machine.accept(into: &output) }
                }
            }
        } while !aOutput.isEmpty
    }

    /// The handshake, from both greetings on; what was heard in it is forgotten when both are ready.
    mutating func open() throws {
        try a.greet(into: &aOutput)
        try b.greet(into: &bOutput)
        toA.take(&bOutput)
        try settle()
    }

    mutating func forget() {
        heardByA = []
        heardByB = []
    }
}
