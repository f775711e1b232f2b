import MartletBytes
import MartletCurve
import MartletWebSocketProtocol
import MartletZMTPProtocol

/// Two ends with their keys and seeds, and what they say to each other: the same for the same seed.
struct ZMTPSamples: Sendable {
    enum Mechanism: CaseIterable, Sendable { case null, asking, plain, curve, publishing, curvePublishing }
    enum Side: CaseIterable, Sendable { case client, server }

    static let start = Instant(nanoseconds: 1_000_000_000)
    static let limits: ZMTPLimits = {
        var limits = ZMTPLimits()
        limits.messageBytesMax = 2000
        limits.messageFramesMax = 20
        limits.metadataBytesMax = 400
        limits.subscriptionBytesMax = 100
        return limits
    }()

    let mechanism: Mechanism
    let seed: UInt64
    /// The client's side of it is WebSocket's client.
    let isOverWebSocket: Bool

    init(_ mechanism: Mechanism, seed: UInt64, isOverWebSocket: Bool = false) {
        self.mechanism = mechanism
        self.seed = seed
        self.isOverWebSocket = isOverWebSocket
    }

    /// What one side heard, and what the other had meant.
    struct Transcript {
        var toClient: [UInt8] = []
        var toServer: [UInt8] = []
        var handshakeToServer: [UInt8] = []
        var sentByClient: [ZMTPEvent.Owned] = []
        var sentByServer: [ZMTPEvent.Owned] = []
    }

    private func seed(_ number: UInt8) -> CurveSeed {
        let bytes = [UInt8](repeating: number, count: 31) + [UInt8(truncatingIfNeeded: seed)]
        return CurveSeed(bytes.span) ?? .random()
    }

    func machine(_ side: Side) -> ZMTPMachine {
        var first = seed(1), second = seed(2)
        let clientKeys = CurveKeyPair(drawing: &first), serverKeys = CurveKeyPair(drawing: &second)
        let security: ZMTPSecurity =
            switch (mechanism, side) {
            case (.plain, .client): .plainClient(user: Array("ann".utf8), password: Array("secret".utf8))
            case (.plain, .server): .plainServer
            case (.curve, .client), (.curvePublishing, .client): .curveClient(clientKeys, server: serverKeys.publicKey)
            case (.curve, .server), (.curvePublishing, .server): .curveServer(serverKeys)
            default: .null
            }
        let isPublishing = mechanism == .publishing || mechanism == .curvePublishing
        let type: ZMTPSocketType = side == .client ? (isPublishing ? .xsub : .dealer) : (isPublishing ? .xpub : .router)
        let configuration = ZMTPConfiguration(
            type, security: security, identity: side == .client ? [1, 2, 3] : [], asksForNull: mechanism == .asking, limits: Self.limits)
        guard isOverWebSocket else { return ZMTPMachine(configuration, seed: seed(side == .client ? 3 : 4), now: Self.start) }
        let way: ZMTPWebSocket =
            side == .client ? .client(host: "a", target: "/b", secret: SIMD4(seed, 2, 3, 4)) : .server(path: "/b", origins: .sameHost)
        return ZMTPMachine(configuration, over: way, seed: seed(side == .client ? 3 : 4), now: Self.start)
    }

    /// Frames, subscriptions and groups; not the steps of the handshake, PINGs and PONGs.
    static func isSaid(_ event: ZMTPEvent.Owned) -> Bool {
        switch event {
        case .frame, .subscribe, .cancel, .join, .leave: true
        default: false
        }
    }

    func transcript() throws -> Transcript {
        var transcript = Transcript(), client = machine(.client), server = machine(.server)
        var toClient = ByteBuffer(), toServer = ByteBuffer(), fromClient = UnreadBytes(), fromServer = UnreadBytes()
        try client.greet(into: &toServer)
        try server.greet(into: &toClient)
        while !toClient.isEmpty || !toServer.isEmpty {
            let bytes = toServer.span.array
            toServer.removeAll()
            transcript.toServer += bytes
            try show(bytes, &fromClient, to: &server, &toClient)
            let answer = toClient.span.array
            toClient.removeAll()
            transcript.toClient += answer
            try show(answer, &fromServer, to: &client, &toServer)
        }
        transcript.handshakeToServer = transcript.toServer
        var rng = SeededGenerator(seed: seed)
        for _ in 0..<12 {
            transcript.sentByClient += try say(&client, .client, &rng, &toServer)
            transcript.sentByServer += try say(&server, .server, &rng, &toClient)
        }
        transcript.toServer += toServer.span.array
        transcript.toClient += toClient.span.array
        return transcript
    }

    private func show(_ bytes: [UInt8], _ unread: inout UnreadBytes, to machine: inout ZMTPMachine, _ output: inout ByteBuffer) throws {
        var used = 0
        do {
            let all = unread.show(bytes.span)
            var input = ByteReader(all)
            while let event = try machine.nextEvent(from: &input, into: &output) {
                if case .authenticate = event { try machine.accept(into: &output) }
            }
            used = input.offset
        }
        unread.keep(bytes.span, used: used)
    }

    private func say(
        _ machine: inout ZMTPMachine, _ side: Side, _ rng: inout SeededGenerator, _ output: inout ByteBuffer
    ) throws -> [ZMTPEvent.Owned] {
        let topic = MQTTSamples.bytes(&rng, atMost: 40)
        switch Int.random(in: 0..<6, using: &rng) {
        case 0:
            try machine.send(.ping(context: Array(topic.prefix(16))), into: &output)
            return []
        case 1 where machine.socketType == .xsub:
            try machine.send(.subscribe(topic), into: &output)
            return [.subscribe(topic)]
        case 2 where machine.socketType == .xsub:
            try machine.send(.cancel(topic), into: &output)
            return [.cancel(topic)]
        default:
            // Not what would be a subscription.
            let frames = (0...Int.random(in: 0..<4, using: &rng)).map { _ in [9] + MQTTSamples.bytes(&rng, atMost: 400) }
            try machine.send(.message(frames), into: &output)
            return frames.enumerated().map { .frame($1, more: $0 + 1 < frames.count) }
        }
    }
}
