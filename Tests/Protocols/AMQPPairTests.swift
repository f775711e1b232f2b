import MartletAMQPProtocol
import MartletBytes
import Testing

@Suite("AMQP client and server machine, face to face")
struct AMQPPairTests {
    private static let logins: [AMQPLogin] = [
        AMQPLogin(sasl: .plain(user: Array("guest".utf8), password: Array("p w".utf8))), AMQPLogin(sasl: .external()),
        AMQPLogin(sasl: .external(authorization: Array("anna".utf8))), AMQPLogin(sasl: .anonymous(trace: Array("me".utf8))),
        AMQPLogin(sasl: .plain(user: [97], password: [98], authorization: [99]), isChallenged: true),
    ]

    @Test("A connection opens with each SASL mechanism, however it is cut", arguments: Self.logins, 0..<10)
    func opens(login: AMQPLogin, round: Int) throws {
        let pair = try AMQPPair(login: login)
        let isOpen = pair.client.isOpen && pair.server.isOpen
        #expect(isOpen)
        var response: [UInt8]?
        var names: [String] = []
        for event in pair.heardByServer {
            switch event {
            case .method(0, .connectionStartOk(let startOk)):
                #expect(startOk.mechanism == login.sasl.mechanism)
                response = login.isChallenged ? nil : startOk.response
            case .method(0, .connectionSecureOk(let secureOk)): response = secureOk.response
            default: break
            }
            names.append(event.line.split(separator: " ").prefix(2).joined(separator: " "))
        }
        #expect(AMQPSASL(mechanism: login.sasl.mechanism, response: response ?? []) == login.sasl)
        let secured = login.isChallenged ? ["0 connectionSecureOk"] : []
        #expect(names == ["protocolHeader", "0 connectionStartOk"] + secured + ["0 connectionTuneOk", "0 connectionOpen"])
        guard case .method(0, .connectionStart(let start))? = pair.heardByClient.first else { return #expect(Bool(false), "no connection.start") }
        #expect(AMQPSASL.offers(start.mechanisms, login.sasl.mechanism) && !AMQPSASL.offers(start.mechanisms, Array("PLAI".utf8)))
    }

    /// Channels, frame, heartbeat of server, client, and both; 0: no limit, no heartbeat.
    private static let tunings: [(server: (UInt16, UInt32, UInt16), client: (UInt16, UInt32, UInt16), both: (UInt16, UInt32, UInt16))] = [
        ((2047, 131_072, 60), (2047, 131_072, 60), (2047, 131_072, 60)), ((2047, 131_072, 60), (10, 4096, 5), (10, 4096, 5)),
        ((7, 8192, 10), (2047, 131_072, 60), (7, 8192, 10)), ((0, 0, 0), (100, 9000, 30), (100, 9000, 0)), ((100, 9000, 30), (0, 0, 0), (100, 9000, 0)),
        ((0, 0, 0), (0, 0, 0), (.max, .max, 0)),
    ]

    @Test("Both sides hold the lower of what each allows, where 0 is no limit", arguments: tunings.indices)
    func tunes(index: Int) throws {
        func limits(_ values: (UInt16, UInt32, UInt16)) -> AMQPLimits {
            var limits = AMQPLimits()
            (limits.channelMax, limits.frameMax, limits.heartbeat) = values
            return limits
        }
        let tuning = Self.tunings[index]
        let pair = try AMQPPair(client: limits(tuning.client), server: limits(tuning.server))
        let client = (pair.client.channelMax, pair.client.frameMax, pair.client.heartbeat)
        let server = (pair.server.channelMax, pair.server.frameMax, pair.server.heartbeat)
        #expect(client == tuning.both && server == tuning.both)
    }

    @Test("Channels open and close from either side, and their numbers are used again")
    func channels() throws {
        var pair = try AMQPPair.open(channels: 1...3)
        try pair.clientSays(.method(channel: 2, .channelClose(.init(replyCode: 200))))
        try pair.serverSays(.method(channel: 3, .channelClose(.init(replyCode: 404, replyText: Array("NOT_FOUND".utf8)))))
        try pair.clientSays(.method(channel: 3, .channelOpen(.init())))
        try pair.clientSays(.method(channel: 2, .channelOpen(.init())))
        for channel in 1...3 as ClosedRange<UInt16> { try pair.clientSays(.method(channel: channel, .txSelect)) }
        let (toServer, toClient) = (pair.heardByServer.map(\.line), pair.heardByClient.map(\.line))
        #expect(toServer == ["2 channelClose replyCode=200", "3 channelCloseOk", "3 channelOpen", "2 channelOpen", "1 txSelect", "2 txSelect", "3 txSelect"])
        #expect(toClient == ["2 channelCloseOk", "3 channelClose replyCode=404 replyText=\"NOT_FOUND\"", "3 channelOpenOk", "2 channelOpenOk"])
    }

    @Test("A channel that both close at once is closed, and its number free", arguments: 0..<20)
    func channelClosesCross(round: Int) throws {
        var pair = try AMQPPair.open(channels: 1...1)
        let close = AMQPOutgoing.method(channel: 1, .channelClose(.init(replyCode: 200)))
        try pair.server.send(.method(channel: 1, .basicCancel(.init(consumerTag: [97]))), into: &pair.serverOutput)
        try pair.server.send(close, into: &pair.serverOutput)
        try pair.client.send(.method(channel: 1, .txSelect), into: &pair.clientOutput)
        try pair.client.send(close, into: &pair.clientOutput)
        try pair.settle()
        let (toServer, toClient) = (pair.heardByServer.map(\.line), pair.heardByClient.map(\.line))
        #expect(toServer == ["1 discarded", "1 discarded", "1 channelCloseOk"] && toClient == ["1 discarded", "1 discarded", "1 channelCloseOk"])
        try pair.clientSays(.method(channel: 1, .channelOpen(.init())))
        let last = pair.heardByClient.last?.line
        #expect(last == "1 channelOpenOk")
    }

    @Test("No channel above channel-max opens")
    func channelMax() throws {
        var limits = AMQPStates.limits
        limits.channelMax = 2
        var pair = try AMQPPair.open(channels: 1...2, limits: limits)
        #expect(throws: AMQPMisuse.channelNotOpen) { try pair.clientSays(.method(channel: 3, .channelOpen(.init()))) }
        #expect(throws: AMQPMisuse.channelInUse) { try pair.clientSays(.method(channel: 2, .channelOpen(.init()))) }
        let written = pair.clientOutput.isEmpty
        #expect(written)
        let forced: [UInt8] = [1, 0, 3, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0xCE]
        pair.clientOutput.append(forced.span)
        let text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
        #expect(throws: AMQPViolation.exception(.notAllowed, .channelTooHigh, text: text, classID: 20, methodID: 10)) { try pair.settle() }
    }

    @Test("Both close the connection at once", arguments: 0..<20)
    func closesCross(round: Int) throws {
        var pair = try AMQPPair.open(channels: 1...1)
        try pair.server.send(.method(channel: 0, .connectionClose(.init(replyCode: 320))), into: &pair.serverOutput)
        try pair.client.send(.method(channel: 1, .txSelect), into: &pair.clientOutput)
        try pair.client.send(.method(channel: 0, .connectionClose(.init(replyCode: 200))), into: &pair.clientOutput)
        try pair.settle()
        let (toServer, toClient) = (pair.heardByServer.map(\.line), pair.heardByClient.map(\.line))
        #expect(toServer == ["1 discarded", "0 connectionClose replyCode=200"] && toClient == ["0 connectionClose replyCode=320"])
        let closed = pair.client.isClosed && pair.server.isClosed
        #expect(closed)
    }

    @Test("A side that closes discards what was under way, and the other goes on until it knows", arguments: [true, false], 0..<10)
    func closes(isClients: Bool, round: Int) throws {
        var pair = try AMQPPair.open(channels: 1...1)
        let close = AMQPOutgoing.method(channel: 0, .connectionClose(.init(replyCode: 200)))
        let publish = AMQPOutgoing.content(channel: 1, .basicPublish(.init()), properties: AMQPProperties(), body: [1])
        let deliver = AMQPOutgoing.content(channel: 1, .basicDeliver(.init()), properties: AMQPProperties(), body: [1])
        if isClients {
            try pair.server.send(deliver, into: &pair.serverOutput)
            try pair.clientSays(close)
        } else {
            try pair.client.send(publish, into: &pair.clientOutput)
            try pair.serverSays(close)
        }
        let heard = (isClients ? pair.heardByClient : pair.heardByServer).map(\.line)
        #expect(heard == ["1 discarded", "1 discarded", "1 discarded", "0 connectionCloseOk"])
        let closed = pair.client.isClosed && pair.server.isClosed
        #expect(closed)
        #expect(throws: AMQPMisuse.notOpen) { try pair.clientSays(publish) }
        #expect(throws: AMQPMisuse.notOpen) { try pair.serverSays(deliver) }
    }
}

extension AMQPLogin: CustomTestStringConvertible {
    var testDescription: String { String(decoding: sasl.mechanism, as: UTF8.self) + (isChallenged ? ", challenged" : "") }
}
