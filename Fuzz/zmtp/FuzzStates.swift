import MartletBytes
import MartletCurve
import MartletWebSocketProtocol
import MartletZMTPProtocol

/// Small limits, so that a fuzzer meets them.
private let limits: ZMTPLimits = {
    var limits = ZMTPLimits()
    limits.messageBytesMax = 300
    limits.messageFramesMax = 4
    limits.metadataBytesMax = 200
    limits.subscriptionBytesMax = 20
    limits.commandBytesMax = 40
    return limits
}()

private func seed(_ number: UInt8) -> CurveSeed {
    let bytes = [UInt8](repeating: number, count: 32)
    guard let seed = CurveSeed(bytes.span) else { preconditionFailure("32 bytes are a seed") }
    return seed
}

private func keys(_ number: UInt8) -> CurveKeyPair {
    var seed = seed(number)
    return CurveKeyPair(drawing: &seed)
}

private let serverKeys = keys(1), clientKeys = keys(2)

/// A server's type and its client's: every type that there is, and a place that serves all.
private let types: [(server: ZMTPSocketType?, client: ZMTPSocketType)] = [
    (.router, .dealer), (.xpub, .xsub), (.radio, .dish), (nil, .dealer), (.rep, .req), (.pub, .sub), (.pull, .push), (.pair, .pair),
    (.server, .client), (.gather, .scatter), (.peer, .peer), (.channel, .channel), (.router, .req), (.rep, .dealer), (.dealer, .dealer), (.router, .router),
    (.sub, .pub), (.xsub, .xpub), (.push, .pull), (.dish, .radio), (.req, .rep), (.dealer, .router), (.client, .server), (.scatter, .gather),
    (nil, .sub), (nil, .xpub), (nil, .req), (nil, .push), (nil, .radio), (nil, .dish), (.xpub, .sub), (.pub, .xsub),
]

/// An input's first byte: which mechanism (2 bits), which end (the fifth), which of the types (the others).
struct FuzzEnd {
    let bits: UInt8
    let isServer: Bool
    var isOverWebSocket = false

    func machine() -> ZMTPMachine {
        let security: ZMTPSecurity =
            switch bits & 3 {
            case 2: isServer ? .plainServer : .plainClient(user: [97], password: [98])
            case 3: isServer ? .curveServer(serverKeys) : .curveClient(clientKeys, server: serverKeys.publicKey)
            default: .null
            }
        let pair = types[Int(bits >> 2 & 3) + 4 * Int(bits >> 5)]
        let configuration = ZMTPConfiguration(isServer ? pair.server : pair.client, security: security, asksForNull: bits & 3 == 1 && isServer, limits: limits)
        guard isOverWebSocket else { return ZMTPMachine(configuration, seed: seed(isServer ? 3 : 4), now: Instant(nanoseconds: 0)) }
        let way: ZMTPWebSocket = isServer ? .server(path: "/", origins: .sameHost) : .client(host: "a", target: "/", secret: SIMD4(1, 2, 3, 4))
        return ZMTPMachine(configuration, over: way, seed: seed(isServer ? 3 : 4), now: Instant(nanoseconds: 0))
    }
}

/// What the world saw of a machine.
struct FuzzSeen: Equatable {
    var events: [ZMTPEvent.Owned] = []
    var output: [UInt8] = []
    var violation: ZMTPViolation?
}

/// A machine that is shown bytes piece by piece, and accepts whoever asks. Traps when something is kept beyond the limits or follows a violation.
struct FuzzRun: ~Copyable {
    var machine: ZMTPMachine
    var output = ByteBuffer()
    var seen = FuzzSeen()
    private var unread = UnreadBytes()
    private let isOverWebSocket: Bool

    init(_ end: FuzzEnd) {
        machine = end.machine()
        isOverWebSocket = end.isOverWebSocket
        do { try machine.greet(into: &output) } catch { preconditionFailure("a greeting is refused") }
    }

    mutating func show(_ bytes: [UInt8], pieces size: Int) {
        guard seen.violation == nil else { return }
        do throws(ZMTPViolation) {
            var at = 0
            while at < bytes.count {
                let piece = Array(bytes[at..<min(at + size, bytes.count)])
                at += size
                try show(piece)
            }
        } catch {
            seen.violation = error
            let said = output.count
            var input = ByteReader(bytes.span)
            let silent = (try? machine.nextEvent(from: &input, into: &output)) ?? nil
            precondition(silent == nil && input.offset == 0 && output.count == said && machine.deadline == .never, "something follows a violation")
        }
    }

    private mutating func show(_ piece: [UInt8]) throws(ZMTPViolation) {
        var used = 0, unread = UnreadBytes()
        swap(&unread, &self.unread)
        do {
            let all = unread.show(piece.span)
            var input = ByteReader(all)
            while true {
                let before = input.offset
                guard let event = try machine.nextEvent(from: &input, into: &output) else {
                    precondition(input.offset == before, "nothing is consumed on nil")
                    break
                }
                let owned = event.owned(in: machine.content(in: all))
                if owned != .part { seen.events.append(owned) }
                guard case .authenticate = event else { continue }
                do { try machine.accept(into: &output) } catch { preconditionFailure("an answer is refused") }
            }
            used = input.offset
        }
        unread.keep(piece.span, used: used)
        precondition(machine.isClosed || unread.count <= (isOverWebSocket ? 1 << 16 : 1200), "more is kept than the limits allow")
        swap(&unread, &self.unread)
    }
}
