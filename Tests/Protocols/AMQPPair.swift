import MartletAMQPProtocol
import MartletBytes

/// What both sides answer by themselves: the server takes any login, and opens and closes what it is asked to.
struct AMQPLogin {
    var sasl = AMQPSASL.plain(user: [97], password: [98])
    /// The server asks by connection.secure, and start-ok has no response.
    var isChallenged = false

    func answer(_ machine: inout AMQPServerMachine, _ event: AMQPEvent, _ output: inout ByteBuffer) throws {
        switch event {
        case .protocolHeader:
            let start = AMQPMethod<[UInt8]>.ConnectionStart(mechanisms: Array("PLAIN EXTERNAL ANONYMOUS".utf8), locales: Array("en_US".utf8))
            try machine.send(.method(channel: 0, .connectionStart(start)), into: &output)
        case .method(_, .connectionStartOk) where isChallenged:
            try machine.send(.method(channel: 0, .connectionSecure(.init(challenge: Array("who?".utf8)))), into: &output)
        case .method(_, .connectionStartOk), .method(_, .connectionSecureOk): try machine.send(.method(channel: 0, machine.tune), into: &output)
        case .method(_, .connectionOpen): try machine.send(.method(channel: 0, .connectionOpenOk(.init())), into: &output)
        case .method(let channel, .channelOpen): try machine.send(.method(channel: channel, .channelOpenOk(.init())), into: &output)
        case .method(let channel, .channelClose): try machine.send(.method(channel: channel, .channelCloseOk), into: &output)
        case .method(_, .connectionClose): try machine.send(.method(channel: 0, .connectionCloseOk), into: &output)
        default: break
        }
    }

    func answer(_ machine: inout AMQPClientMachine, _ event: AMQPEvent, _ output: inout ByteBuffer) throws {
        switch event {
        case .method(_, .connectionStart):
            let startOk = AMQPMethod<[UInt8]>.ConnectionStartOk(
                mechanism: sasl.mechanism, response: isChallenged ? [] : sasl.response, locale: Array("en_US".utf8))
            try machine.send(.method(channel: 0, .connectionStartOk(startOk)), into: &output)
        case .method(_, .connectionSecure): try machine.send(.method(channel: 0, .connectionSecureOk(.init(response: sasl.response))), into: &output)
        case .method(_, .connectionTune(let tune)):
            let offer = AMQPMethod<[UInt8]>.ConnectionTune(channelMax: tune.channelMax, frameMax: tune.frameMax, heartbeat: tune.heartbeat)
            try machine.send(.method(channel: 0, machine.tuneOk(to: offer)), into: &output)
            try machine.send(.method(channel: 0, .connectionOpen(.init(virtualHost: Array("/".utf8)))), into: &output)
        case .method(let channel, .channelClose): try machine.send(.method(channel: channel, .channelCloseOk), into: &output)
        case .method(_, .connectionClose): try machine.send(.method(channel: 0, .connectionCloseOk), into: &output)
        default: break
        }
    }
}

/// Client and server machine over a link with a virtual clock.
struct AMQPPair: ~Copyable {
    var client: AMQPClientMachine
    var server: AMQPServerMachine
    var toServer = Direction()
    var toClient = Direction()
    var clientOutput = ByteBuffer()
    var serverOutput = ByteBuffer()
    var now = AMQPStates.start
    var heardByServer: [AMQPEvent.Owned] = []
    var heardByClient: [AMQPEvent.Owned] = []
    let login: AMQPLogin
    /// Sizes of the pieces that the link delivers.
    let pieces: ClosedRange<Int>

    init(
        client clientLimits: AMQPLimits = AMQPStates.limits, server serverLimits: AMQPLimits = AMQPStates.limits,
        login: AMQPLogin = AMQPLogin(), pieces: ClosedRange<Int> = 1...9
    ) throws {
        client = AMQPClientMachine(limits: clientLimits, now: AMQPStates.start)
        server = AMQPServerMachine(limits: serverLimits, now: AMQPStates.start)
        self.login = login
        self.pieces = pieces
        try clientSays(.protocolHeader)
    }

    /// With channels that are open, and nothing heard so far.
    static func open(
        channels: ClosedRange<UInt16>, limits: AMQPLimits = AMQPStates.limits, pieces: ClosedRange<Int> = 1...9
    ) throws -> AMQPPair {
        var pair = try AMQPPair(client: limits, server: limits, pieces: pieces)
        for channel in channels { try pair.clientSays(.method(channel: channel, .channelOpen(.init()))) }
        pair.forget()
        return pair
    }

    mutating func forget() {
        heardByServer = []
        heardByClient = []
    }

    mutating func clientSays(_ message: AMQPOutgoing) throws {
        try client.send(message, into: &clientOutput)
        try settle()
    }

    mutating func serverSays(_ message: AMQPOutgoing) throws {
        try server.send(message, into: &serverOutput)
        try settle()
    }

    /// Delivers in pieces of random size until nothing is under way.
    mutating func settle() throws {
        repeat {
            toServer.take(&clientOutput)
            let login = login
            heardByServer += try toServer.deliver(.random(in: pieces), to: &server, at: now, into: &serverOutput, login.answer)
            toClient.take(&serverOutput)
            heardByClient += try toClient.deliver(.random(in: pieces), to: &client, at: now, into: &clientOutput, login.answer)
        } while !(toServer.inFlight.isEmpty && toClient.inFlight.isEmpty && clientOutput.isEmpty && serverOutput.isEmpty)
    }

    /// Lets the clock run to `end`, waking whoever asks for it.
    mutating func run(until end: Instant) throws {
        while min(client.deadline, server.deadline) <= end {
            now = max(now, min(client.deadline, server.deadline))
            try client.wake(at: now, into: &clientOutput)
            try server.wake(at: now, into: &serverOutput)
            try settle()
        }
        now = end
    }
}
