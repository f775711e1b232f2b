import MartletAMQPProtocol
import MartletBytes

/// Frames and states for the laws, from a seed.
struct AMQPSamples {
    var rng: SeededGenerator

    init(seed: UInt64) { rng = SeededGenerator(seed: seed) }

    static let start = Instant(nanoseconds: 0)
    /// Open in every open state.
    static let channels: [UInt16] = [1, 2, 700]

    static var limits: AMQPLimits {
        var limits = AMQPLimits()
        limits.frameMax = 4096
        limits.bodySizeMax = 9000
        limits.tableDepthMax = 4
        return limits
    }

    mutating func number<Number: FixedWidthInteger>() -> Number {
        .random(using: &rng) ? .random(in: 0...9, using: &rng) : .random(in: .min ... .max, using: &rng)
    }

    mutating func flag() -> Bool { .random(using: &rng) }

    mutating func bytes(atMost count: Int = 30) -> [UInt8] {
        (0..<Int.random(in: 0...count, using: &rng)).map { _ in UInt8.random(in: 0...255, using: &rng) }
    }

    /// A short string: mostly a few words, sometimes any bytes, seldom the longest.
    mutating func name() -> [UInt8] {
        switch Int.random(in: 0..<20, using: &rng) {
        case 0: [UInt8](repeating: 120, count: 255)
        case 1...4: bytes()
        default: Array((["", "amq.topic", "küche", "a.b.c", "q", "sensors.7"].randomElement(using: &rng) ?? "").utf8)
        }
    }

    mutating func table(depth: Int = 3) -> AMQPTable {
        AMQPTable((0..<Int.random(in: 0...3, using: &rng)).map { _ in AMQPTable.Field(bytes(atMost: 8), value(depth: depth)) })
    }

    private mutating func value(depth: Int) -> AMQPValue {
        switch Int.random(in: 0..<(depth > 1 ? 17 : 15), using: &rng) {
        case 0: .bool(flag())
        case 1: .int8(number())
        case 2: .uint8(number())
        case 3: .int16(number())
        case 4: .uint16(number())
        case 5: .int32(number())
        case 6: .uint32(number())
        case 7: .int64(number())
        case 8: .float(.random(in: -1e9...1e9, using: &rng))
        case 9: .double(.random(in: -1e99...1e99, using: &rng))
        case 10: .decimal(scale: number(), value: number())
        case 11: .timestamp(number())
        case 12: .void
        case 13: .bytes(bytes())
        case 15: .table(table(depth: depth - 1))
        case 16: .array((0..<Int.random(in: 0...3, using: &rng)).map { _ in value(depth: depth - 1) })
        default: .string(bytes())
        }
    }

    mutating func properties() -> AMQPProperties {
        var properties = AMQPProperties()
        // Most senders set few of them, some none.
        let share = Int.random(in: 0...3, using: &rng)
        func given<Value>(_ value: Value, _ rng: inout SeededGenerator) -> Value? { Int.random(in: 1...3, using: &rng) <= share ? value : nil }
        properties.contentType = given(name(), &rng)
        properties.contentEncoding = given(name(), &rng)
        properties.headers = given(table().encoded, &rng)
        properties.deliveryMode = given(.random(in: 1...2, using: &rng), &rng)
        properties.priority = given(number(), &rng)
        properties.correlationID = given(name(), &rng)
        properties.replyTo = given(name(), &rng)
        properties.expiration = given(Array("60000".utf8), &rng)
        properties.messageID = given(name(), &rng)
        properties.timestamp = given(number(), &rng)
        properties.type = given(name(), &rng)
        properties.userID = given(name(), &rng)
        properties.appID = given(name(), &rng)
        properties.clusterID = given(name(), &rng)
        return properties
    }

    /// Of every size that frames of 4,096 bytes cut in another way.
    mutating func body() -> [UInt8] {
        switch Int.random(in: 0..<12, using: &rng) {
        case 0: []
        case 1: [UInt8](repeating: 7, count: [4087, 4088, 4089, 8176, 9000].randomElement(using: &rng) ?? 1)
        default: bytes(atMost: 200)
        }
    }

    /// A message on an open connection with its channels, of the role that `machine` names.
    mutating func message(isClients: Bool) throws -> AMQPOutgoing {
        let channel = Self.channels.randomElement(using: &rng) ?? 1
        let ids = isClients ? Self.clientMethods : Self.serverMethods
        let id = Int.random(in: 0..<3, using: &rng) == 0 ? (isClients ? .basicPublish : .basicDeliver) : ids.randomElement(using: &rng) ?? .basicAck
        return id.hasContent
            ? .content(channel: channel, try method(id), properties: properties(), body: body()) : .method(channel: channel, try method(id))
    }

    private static let clientMethods: [AMQPMethodID] = [
        .basicQos, .basicConsume, .basicCancel, .basicPublish, .basicGet, .basicAck, .basicReject, .basicNack, .basicRecover, .basicRecoverAsync, .channelFlow,
        .exchangeDeclare, .exchangeDelete, .exchangeBind, .exchangeUnbind, .queueDeclare, .queueBind, .queuePurge, .queueDelete, .queueUnbind, .txSelect,
        .txCommit, .txRollback, .confirmSelect, .accessRequest, .channelFlowOk, .basicCancelOk,
    ]
    private static let serverMethods: [AMQPMethodID] = [
        .basicQosOk, .basicConsumeOk, .basicCancel, .basicCancelOk, .basicReturn, .basicDeliver, .basicGetOk, .basicGetEmpty, .basicAck, .basicNack,
        .basicRecoverOk, .channelFlow, .channelFlowOk, .exchangeDeclareOk, .exchangeDeleteOk, .exchangeBindOk, .exchangeUnbindOk, .queueDeclareOk,
        .queueBindOk, .queuePurgeOk, .queueDeleteOk, .queueUnbindOk, .txSelectOk, .txCommitOk, .txRollbackOk, .confirmSelectOk, .accessRequestOk,
    ]

    /// What a client of an open connection says, with heartbeats between; at its end it opens a channel and closes another.
    mutating func clientStream(count: Int) throws -> [UInt8] {
        var client = Self.peers().takeClient(), output = ByteBuffer()
        for _ in 0..<count { try send(message(isClients: true), by: &client, into: &output) }
        try client.send(.method(channel: 9, .channelOpen(.init())), into: &output)
        try client.send(.method(channel: 2, .channelClose(.init(replyCode: 200, replyText: name()))), into: &output)
        return output.span.array
    }

    mutating func serverStream(count: Int) throws -> [UInt8] {
        var server = Self.peers().takeServer(), output = ByteBuffer()
        for _ in 0..<count { try send(message(isClients: false), by: &server, into: &output) }
        try server.send(.method(channel: 0, .connectionBlocked(.init(reason: name()))), into: &output)
        try server.send(.method(channel: 2, .channelClose(.init(replyCode: 404, replyText: name()))), into: &output)
        return output.span.array
    }

    private mutating func send<Machine: ProtocolMachine & ~Copyable>(
        _ message: AMQPOutgoing, by machine: inout Machine, into output: inout ByteBuffer
    ) throws where Machine.Outgoing == AMQPOutgoing {
        if Int.random(in: 0..<5, using: &rng) == 0 { output.append(0x0800_0000_0000_00CE as UInt64) }
        try machine.send(message, into: &output)
    }

    /// All that one side says while a connection opens; a client opens channel 1 then.
    static func opening(isClients: Bool) -> [UInt8] {
        var peers = AMQPPeers(limits: limits)
        peers.open(channels: isClients ? [1] : [])
        return isClients ? peers.saidByClient : peers.saidByServer
    }

    static func peers() -> AMQPPeers {
        var peers = AMQPPeers(limits: limits)
        peers.open(channels: channels)
        return peers
    }

    /// What a side with nothing of its own in mind answers.
    static func answer(_ machine: inout AMQPServerMachine, _ event: AMQPEvent, _ output: inout ByteBuffer) {
        if let answer = AMQPPeers.serverAnswer(to: event, tune: machine.tune) { try? machine.send(answer, into: &output) }
    }

    static func answer(_ machine: inout AMQPClientMachine, _ event: AMQPEvent, _ output: inout ByteBuffer) {
        for answer in AMQPPeers.clientAnswers(to: event) { try? machine.send(answer, into: &output) }
    }
}
