import MartletBytes
import MartletCurve
import MartletZMTPProtocol
import Testing

/// Two machines that talk to each other.
@Suite("ZMTP pairs")
struct ZMTPPairTests {
    private static let sizes = [Int.max, 1, 7, 64]

    private static func metadata(_ event: ZMTPEvent.Owned?) -> ZMTPMetadata.Owned? { if case .ready(let metadata)? = event { metadata } else { nil } }

    @Test("Every mechanism leads both ends to ready, however the bytes are cut", arguments: ZMTPPair.Mechanism.allCases, sizes)
    func handshakes(_ mechanism: ZMTPPair.Mechanism, _ size: Int) throws {
        var pair = ZMTPPair(mechanism, piece: size, identity: Array("left".utf8), properties: [(Array("X-Colour".utf8), Array("red".utf8))])
        try pair.open()
        let bothReady = pair.a.isReady && pair.b.isReady
        #expect(bothReady)
        let atA = Self.metadata(pair.heardByA.last), atB = Self.metadata(pair.heardByB.last)
        #expect(atA?.socketType == .router && atA?.identity == [])
        #expect(atB?.socketType == .dealer && atB?.identity == Array("left".utf8))
        var properties = ZMTPProperties(ByteRange(0, atB?.properties.count ?? 0)), names: [String] = []
        let bytes = atB?.properties ?? []
        while let (name, _) = properties.next(in: bytes.span) { names.append(bytes.span.at(name).text) }
        #expect(names == ["Socket-Type", "Identity", "X-Colour"])
        let credentials = pair.heardByB.compactMap { if case .authenticate(let credentials) = $0 { credentials } else { nil } }
        switch mechanism {
        case .null: #expect(credentials == [])
        case .asking: #expect(credentials == [.null])
        case .plain: #expect(credentials == [.plain(user: Array("ann".utf8), password: Array("secret".utf8))])
        case .curve: #expect(credentials == [.curve(publicKey: ZMTPPair.clientKeys.publicKey.bytes)])
        }
    }

    @Test("Messages come as they were sent, in both directions", arguments: ZMTPPair.Mechanism.allCases, sizes)
    func messages(_ mechanism: ZMTPPair.Mechanism, _ size: Int) throws {
        var pair = ZMTPPair(mechanism, piece: size)
        try pair.open()
        pair.forget()
        let messages: [[[UInt8]]] = [
            [[]], [[1]], [[], [2, 3]], [[UInt8](repeating: 4, count: 255)], [[UInt8](repeating: 5, count: 256), [], [6]],
            [[UInt8](repeating: 7, count: 70_000)],
        ]
        for message in messages {
            try pair.a.send(.message(message), into: &pair.aOutput)
            try pair.b.send(.message(message), into: &pair.bOutput)
        }
        pair.toA.take(&pair.bOutput)
        try pair.settle()
        let expected = messages.flatMap { frames in frames.enumerated().map { ZMTPEvent.Owned.frame($1, more: $0 + 1 < frames.count) } }
        #expect(pair.heardByA == expected)
        #expect(pair.heardByB == expected)
    }

    @Test("What is encoded once passes to many, behind CURVE too", arguments: [ZMTPPair.Mechanism.null, .curve])
    func passed(_ mechanism: ZMTPPair.Mechanism) throws {
        var pair = ZMTPPair(mechanism), frames = ByteBuffer()
        try pair.open()
        pair.forget()
        let long = [UInt8](repeating: 9, count: 300)
        let short: [UInt8] = [1, 2]
        ZMTPEncoder.append(short.span, more: true, into: &frames)
        ZMTPEncoder.append(long.span, more: false, into: &frames)
        try pair.a.pass(frames.span, into: &pair.aOutput)
        try pair.settle()
        #expect(pair.heardByB == [.frame([1, 2], more: true), .frame(long, more: false)])
    }

    @Test("A refusal reaches the client, and both are closed", arguments: [ZMTPPair.Mechanism.asking, .plain, .curve], [ZMTPRefusal.denied, .failed])
    func refusals(_ mechanism: ZMTPPair.Mechanism, _ refusal: ZMTPRefusal) throws {
        var pair = ZMTPPair(mechanism)
        pair.refusal = refusal
        try pair.open()
        let reason = refusal == .denied ? "400" : "500"
        let isClosed = pair.a.isClosed && pair.b.isClosed && pair.a.deadline == .never && pair.b.deadline == .never
        #expect(isClosed)
        #expect(pair.heardByA.last == .refused(reason: Array(reason.utf8)))
        #expect(throws: ZMTPMisuse.outOfTurn) { try pair.b.send(.message([[1]]), into: &pair.bOutput) }
    }

    @Test("A temporary refusal is the end without a word", arguments: [ZMTPPair.Mechanism.plain, .curve])
    func temporary(_ mechanism: ZMTPPair.Mechanism) throws {
        var pair = ZMTPPair(mechanism)
        pair.refusal = .temporary
        try pair.open()
        let isWaiting = !pair.a.isClosed && !pair.a.isReady, isClosed = pair.b.isClosed
        #expect(isWaiting && isClosed)
    }

    @Test("A place that serves every type is each peer's counterpart", arguments: ZMTPSocketType.allCases)
    func counterparts(_ type: ZMTPSocketType) throws {
        #expect(type.fits(type.counterpart) && type.counterpart.fits(type))
        for mechanism in [ZMTPPair.Mechanism.null, .plain, .curve] {
            var pair = ZMTPPair(mechanism, type, nil)
            try pair.open()
            let ours = pair.b.socketType, isReady = pair.a.isReady && pair.b.isReady
            #expect(isReady && ours == type.counterpart)
        }
    }

    @Test(
        "Types that do not fit are refused by both", arguments: [(ZMTPSocketType.req, ZMTPSocketType.pub), (.push, .push), (.client, .dealer), (.sub, .dish)])
    func unfit(_ a: ZMTPSocketType, _ b: ZMTPSocketType) throws {
        #expect(!a.fits(b) && !b.fits(a))
        for mechanism in [ZMTPPair.Mechanism.null, .plain, .curve] {
            var pair = ZMTPPair(mechanism, a, b)
            #expect(throws: ZMTPViolation.socketTypeUnfit) { try pair.open() }
            let said = pair.bOutput.span.text
            #expect(said.contains("\u{5}ERROR") && said.contains("a-Socket-Type-that-does-not-fit-ours"))
            // The client is told, if it listens.
            try pair.settleA()
            #expect(pair.heardByA.last == .refused(reason: Array("a-Socket-Type-that-does-not-fit-ours".utf8)) || mechanism == .null)
        }
    }

    @Test("Subscriptions go as commands, and come back", arguments: [ZMTPPair.Mechanism.null, .plain, .curve])
    func subscriptions(_ mechanism: ZMTPPair.Mechanism) throws {
        for (a, b) in [(ZMTPSocketType.sub, ZMTPSocketType.pub), (.xsub, .xpub)] {
            var pair = ZMTPPair(mechanism, a, b)
            try pair.open()
            pair.forget()
            let long = [UInt8](repeating: 97, count: 300)
            for topic in [[], [97], long] {
                try pair.a.send(.subscribe(topic), into: &pair.aOutput)
                try pair.a.send(.cancel(topic), into: &pair.aOutput)
            }
            // As libzmq's XSUB users write them.
            try pair.a.send(.message([[1, 98]]), into: &pair.aOutput)
            try pair.a.send(.message([[0, 98]]), into: &pair.aOutput)
            // Not a subscription: several frames, or another byte.
            try pair.a.send(.message([[1], [1]]), into: &pair.aOutput)
            try pair.a.send(.message([[2]]), into: &pair.aOutput)
            try pair.settle()
            let byCommand = [[], [97], long].flatMap { [ZMTPEvent.Owned.subscribe($0), .cancel($0)] }
            let others: [ZMTPEvent.Owned] = [.subscribe([98]), .cancel([98]), .frame([1], more: true), .frame([1], more: false), .frame([2], more: false)]
            #expect(pair.heardByB == byCommand + others)
            #expect(throws: ZMTPMisuse.wrongSocketType) { try pair.b.send(.subscribe([1]), into: &pair.bOutput) }
        }
    }

    @Test("DISH joins and leaves, RADIO hears it", arguments: [ZMTPPair.Mechanism.null, .curve])
    func groups(_ mechanism: ZMTPPair.Mechanism) throws {
        var pair = ZMTPPair(mechanism, .dish, .radio)
        try pair.open()
        pair.forget()
        let group = [UInt8](repeating: 103, count: 255)
        try pair.a.send(.join(group), into: &pair.aOutput)
        try pair.a.send(.leave(group), into: &pair.aOutput)
        try pair.settle()
        #expect(pair.heardByB == [.join(group), .leave(group)])
        #expect(throws: ZMTPMisuse.groupInvalid) { try pair.a.send(.join(group + [1]), into: &pair.aOutput) }
        #expect(throws: ZMTPMisuse.groupInvalid) { try pair.a.send(.join([1, 0]), into: &pair.aOutput) }
        #expect(throws: ZMTPMisuse.wrongSocketType) { try pair.b.send(.join([1]), into: &pair.bOutput) }
    }

    @Test("A PING's context comes back, between the frames of a message too", arguments: ZMTPPair.Mechanism.allCases)
    func pings(_ mechanism: ZMTPPair.Mechanism) throws {
        var pair = ZMTPPair(mechanism)
        try pair.open()
        pair.forget()
        let context = Array("0123456789abcdef".utf8)
        try pair.a.send(.frame([1], more: true), into: &pair.aOutput)
        try pair.a.send(.ping(context: context), into: &pair.aOutput)
        try pair.a.send(.frame([2], more: false), into: &pair.aOutput)
        try pair.settle()
        #expect(pair.heardByB == [.frame([1], more: true), .ping, .frame([2], more: false)])
        #expect(pair.heardByA == [.pong])
        #expect(throws: ZMTPMisuse.contextTooLong) { try pair.a.send(.ping(context: context + [1]), into: &pair.aOutput) }
    }

    @Test("CURVE: a changed bit anywhere is a box that does not open or a command that is none, and never a trap", arguments: 0..<200)
    func tampered(_ seed: Int) throws {
        var pair = ZMTPPair(.curve, piece: .max)
        try pair.open()
        pair.forget()
        try pair.a.send(.message([Array("attack at dawn".utf8)]), into: &pair.aOutput)
        var bytes = pair.aOutput.span.array
        bytes[(2 + seed / 8) % bytes.count] ^= 1 << UInt8(seed % 8)
        pair.aOutput.removeAll()
        pair.aOutput.append(bytes.span)
        do {
            try pair.settle()
            // A longer size waits for more.
            #expect(pair.heardByB == [])
        } catch { #expect(error is ZMTPViolation) }
    }

    @Test("CURVE: what was said once is not taken again")
    func replayed() throws {
        var pair = ZMTPPair(.curve)
        try pair.open()
        pair.forget()
        try pair.a.send(.message([[1]]), into: &pair.aOutput)
        let bytes = pair.aOutput.span.array
        pair.aOutput.append(bytes.span)
        #expect(throws: ZMTPViolation.nonceNotHigher) { try pair.settle() }
    }

    @Test("CURVE: a client that knows another server's key gets nowhere")
    func wrongServer() throws {
        var pair = ZMTPPair(.curve)
        let security = ZMTPSecurity.curveClient(ZMTPPair.clientKeys, server: ZMTPPair.clientKeys.publicKey)
        pair.a = ZMTPMachine(ZMTPConfiguration(.dealer, security: security), seed: ZMTPPair.seed(5), now: pair.now)
        #expect(throws: ZMTPViolation.boxClosed) { try pair.open() }
    }

    @Test("Limits hold for frames, messages and their parts", arguments: [ZMTPPair.Mechanism.null, .curve])
    func limits(_ mechanism: ZMTPPair.Mechanism) throws {
        var limits = ZMTPLimits()
        limits.messageBytesMax = 1000
        limits.messageFramesMax = 3
        let cases: [([[UInt8]], ZMTPViolation?)] = [
            ([[UInt8](repeating: 1, count: 1000)], nil), ([[UInt8](repeating: 1, count: 1001)], .messageTooLong),
            ([[UInt8](repeating: 1, count: 900), [UInt8](repeating: 1, count: 101)], .messageTooLong), ([[], [], []], nil), ([[], [], [], []], .framesTooMany),
        ]
        for (message, violation) in cases {
            var pair = ZMTPPair(mechanism, limits: limits)
            try pair.open()
            // The sum begins again with each message.
            try pair.a.send(.message([[1], [2], [3]]), into: &pair.aOutput)
            try pair.a.send(.message(message), into: &pair.aOutput)
            if let violation {
                #expect(throws: violation) { try pair.settle() }
            } else {
                try pair.settle()
            }
        }
    }
}

extension ZMTPPair {
    /// What `b` said last still reaches `a`.
    fileprivate mutating func settleA() throws {
        toA.take(&bOutput)
        while !toA.inFlight.isEmpty {
            do { heardByA += try toA.deliver(piece, to: &a, at: now, into: &aOutput) { _, _, _ in } } catch is ZMTPViolation { return }
        }
    }
}
