import MartletBytes
import MartletCurve
import MartletZMTPProtocol
import Testing

@Suite("The laws of a protocol machine: ZMTP")
struct ZMTPLaws {
    private static let sizes = [1, 2, 3, 5, 64]

    private func seen(_ sample: ZMTPSamples, _ side: ZMTPSamples.Side, _ bytes: [UInt8], pieces size: Int) -> Observed<ZMTPEvent.Owned> {
        var observed = observe(
            { sample.machine(side) }, bytes, pieces: size, mayBeEmpty: { Self.mayBeEmpty($0, sample) },
            owned: { $1.owned(in: $0.content(in: $2)) },
            answer: { machine, event, output in
                guard case .authenticate = event else { return }
                do { try machine.accept(into: &output) } catch { preconditionFailure("an answer is refused: \(error)") }
            })
        observed.events.removeAll { $0 == .part }
        return observed
    }

    /// Who is asked about has said it before, and over WebSocket what follows was taken with it.
    private static func mayBeEmpty(_ event: ZMTPEvent, _ sample: ZMTPSamples) -> Bool {
        switch event {
        case .authenticate: true
        case .handshaking, .ready: sample.isOverWebSocket
        default: false
        }
    }

    @Test("A whole connection gives the same events and output, however it is cut", arguments: ZMTPSamples.Mechanism.allCases, 0..<12)
    func cut(_ mechanism: ZMTPSamples.Mechanism, _ seed: UInt64) throws { try cut(ZMTPSamples(mechanism, seed: seed)) }

    @Test("So does one over WebSocket", arguments: ZMTPSamples.Mechanism.allCases, 0..<12)
    func cutCarried(_ mechanism: ZMTPSamples.Mechanism, _ seed: UInt64) throws {
        try cut(ZMTPSamples(mechanism, seed: seed, isOverWebSocket: true))
    }

    private func cut(_ sample: ZMTPSamples) throws {
        let transcript = try sample.transcript()
        for side in ZMTPSamples.Side.allCases {
            let bytes = side == .client ? transcript.toClient : transcript.toServer
            let whole = seen(sample, side, bytes, pieces: bytes.count)
            let sent = side == .client ? transcript.sentByServer : transcript.sentByClient
            #expect(whole.violation == nil && whole.events.filter(ZMTPSamples.isSaid) == sent)
            for size in Self.sizes {
                var cut = seen(sample, side, bytes, pieces: size)
                #expect(cut.keptMax <= ZMTPSamples.limits.messageBytesMax + 42 && whole.keptMax == 0)
                cut.keptMax = 0
                #expect(cut == whole, "in pieces of \(size)")
            }
        }
    }

    @Test("Damaged bytes trap nowhere, and any split of them gives the same", arguments: ZMTPSamples.Mechanism.allCases, 0..<15)
    func damaged(_ mechanism: ZMTPSamples.Mechanism, _ seed: UInt64) throws { try damaged(ZMTPSamples(mechanism, seed: seed)) }

    @Test("Nor do damaged bytes over WebSocket", arguments: ZMTPSamples.Mechanism.allCases, 0..<15)
    func damagedCarried(_ mechanism: ZMTPSamples.Mechanism, _ seed: UInt64) throws {
        try damaged(ZMTPSamples(mechanism, seed: seed, isOverWebSocket: true))
    }

    private func damaged(_ sample: ZMTPSamples) throws {
        let transcript = try sample.transcript()
        var rng = SeededGenerator(seed: sample.seed)
        for side in ZMTPSamples.Side.allCases {
            for _ in 0..<4 {
                let bytes = MQTTSamples.mutated(side == .client ? transcript.toClient : transcript.toServer, &rng)
                var whole = seen(sample, side, bytes, pieces: bytes.count)
                whole.keptMax = 0
                for size in Self.sizes {
                    var cut = seen(sample, side, bytes, pieces: size)
                    cut.keptMax = 0
                    #expect(cut == whole, "in pieces of \(size)")
                }
            }
        }
    }

    @Test("No bytes trap after the greeting", arguments: ZMTPSamples.Mechanism.allCases, 0..<30)
    func anyBytes(_ mechanism: ZMTPSamples.Mechanism, _ seed: UInt64) throws {
        let sample = ZMTPSamples(mechanism, seed: seed)
        let transcript = try sample.transcript()
        var rng = SeededGenerator(seed: seed)
        for side in ZMTPSamples.Side.allCases {
            let greeting = (side == .client ? transcript.toClient : transcript.toServer).prefix(64)
            for _ in 0..<20 {
                let body = MQTTSamples.bytes(&rng, atMost: 60), flag: UInt8 = [0, 1, 4, 4, 4].randomElement(using: &rng) ?? 4
                let name = ["READY", "HELLO", "WELCOME", "INITIATE", "ERROR", ""].randomElement(using: &rng) ?? ""
                var bytes = Array(greeting)
                bytes += [flag, UInt8(1 + name.utf8.count + body.count), UInt8(name.utf8.count)]
                bytes += Array(name.utf8)
                bytes += body
                bytes += body
                let whole = seen(sample, side, bytes, pieces: bytes.count)
                for size in [1, 7] {
                    let cut = seen(sample, side, bytes, pieces: size)
                    #expect(cut.events == whole.events && cut.output == whole.output && cut.violation == whole.violation)
                }
            }
        }
    }

    @Test("A command never leads to an answer longer than itself", arguments: 0..<20)
    func noAmplification(seed: UInt64) throws {
        let sample = ZMTPSamples(.null, seed: seed)
        let transcript = try sample.transcript()
        let opened = seen(sample, .server, transcript.handshakeToServer, pieces: .max).output.count
        var rng = SeededGenerator(seed: seed)
        var flood: [UInt8] = []
        for _ in 0..<100 {
            let context = MQTTSamples.bytes(&rng, atMost: 16)
            flood += [4, UInt8(7 + context.count), 4]
            flood += Array("PING".utf8)
            flood += [0, 0]
            flood += context
        }
        let answered = seen(sample, .server, transcript.handshakeToServer + flood, pieces: .max)
        #expect(answered.violation == nil && answered.output.count - opened <= flood.count)
    }

    @Test("Keys are read as they are written, and not otherwise")
    func keys() {
        // RFC 32's own example.
        let bytes: [UInt8] = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]
        #expect(Z85.encode(bytes.span) == "HelloWorld" && Z85.decode("HelloWorld") == bytes)
        #expect(
            Z85.decode("Hello Wor") == nil && Z85.decode("Hello\"orld") == nil && Z85.decode("#####") == nil && Z85.encode(bytes.span.extracting(0..<7)) == nil)
        let pair = CurveKeyPair.generate(), other = CurveKeyPair.generate()
        #expect(CurvePublicKey(z85: pair.publicKey.z85) == pair.publicKey && CurveSecretKey(z85: pair.secretKey.z85) == pair.secretKey)
        #expect(pair.publicKey != other.publicKey && pair.publicKey.z85.utf8.count == 40 && CurvePublicKey(z85: "HelloWorld") == nil)
        #expect("\(pair.secretKey)" == "CurveSecretKey" && !String(reflecting: pair).contains(pair.secretKey.z85))
    }

    @Test("A machine takes 136 bytes at most, an event 32")
    func sizes() {
        #expect(MemoryLayout<ZMTPMachine>.size <= 136)
        #expect(MemoryLayout<ZMTPEvent?>.size <= 32)
    }
}
