import MartletAMQPProtocol
import MartletBytes
import Testing

@Suite("AMQP client and server machine, face to face: messages")
struct AMQPPairContentTests {
    private static let sizes = [0, 1, 4096 - 8, 4096 - 7, 3 << 20]

    private static func limits(bodySizeMax: UInt64 = 4 << 20) -> AMQPLimits {
        var limits = AMQPStates.limits
        limits.bodySizeMax = bodySizeMax
        return limits
    }

    /// Method, header and body of what came, with the number of events that it took.
    private func message(_ events: [AMQPEvent.Owned]) -> (line: String, body: [UInt8], count: Int) {
        var line = "", body: [UInt8] = []
        for event in events {
            switch event {
            case .content(let channel, let method, let header, let whole):
                line = "\(AMQPEvent.Owned.method(channel: channel, method).line) | \(AMQPEvent.Owned.header(channel: channel, header).line)"
                body = whole
            case .body(_, let piece, _): body += piece
            case .header: line += " | \(event.line)"
            default: line += event.line
            }
        }
        return (line, body, events.count)
    }

    @Test("A body of any size arrives, in frames of 4,096 bytes, cut anywhere", arguments: sizes, [1...3000, 1...70_000])
    func bodies(size: Int, pieces: ClosedRange<Int>) throws {
        var pair = try AMQPPair.open(channels: 1...1, limits: Self.limits(), pieces: pieces)
        let body = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        var properties = AMQPProperties()
        properties.deliveryMode = 2
        properties.headers = (["x": 1] as AMQPTable).encoded
        let method = AMQPMethod<[UInt8]>.basicPublish(.init(exchange: Array("e".utf8), routingKey: Array("k".utf8), mandatory: true))
        try pair.clientSays(.content(channel: 1, method, properties: properties, body: body))
        let publish = message(pair.heardByServer)
        let text = "headers=0178\(hex([0x6C] + [UInt8](repeating: 0, count: 7) + [1])) deliveryMode=2"
        #expect(publish.line == "1 basicPublish exchange=\"e\" routingKey=\"k\" mandatory | 1 header bodySize=\(size) \(text)")
        #expect(publish.body == body)
        #expect(publish.count == (size <= 4088 ? 1 : 2 + (size + 4087) / 4088))

        var encoded = ByteBuffer()
        try properties.encode(into: &encoded)
        let names: [UInt8] = [101], tag: [UInt8] = [116]
        AMQPServerEncoder.deliver(
            channel: 1, consumerTag: tag.span, deliveryTag: 9, redelivered: true, from: AMQPOrigin(exchange: names.span, routingKey: names.span),
            properties: encoded.span, body: body.span, frameMax: 4096, into: &pair.serverOutput)
        try pair.settle()
        let deliver = message(pair.heardByClient)
        #expect(
            deliver.line
                == "1 basicDeliver consumerTag=\"t\" deliveryTag=9 redelivered exchange=\"e\" routingKey=\"e\" | 1 header bodySize=\(size) \(text)")
        #expect(deliver.body == body)
        pair.forget()

        AMQPServerEncoder.getOk(
            channel: 1, deliveryTag: 10, redelivered: false, from: AMQPOrigin(exchange: names.span, routingKey: names.span), messageCount: 3,
            properties: encoded.span, body: body.span, frameMax: 4096, into: &pair.serverOutput)
        try pair.settle()
        let getOk = message(pair.heardByClient)
        #expect(getOk.line == "1 basicGetOk deliveryTag=10 exchange=\"e\" routingKey=\"e\" messageCount=3 | 1 header bodySize=\(size) \(text)")
        #expect(getOk.body == body)
        pair.forget()

        AMQPServerEncoder.noRoute(
            channel: 1, from: AMQPOrigin(exchange: names.span, routingKey: names.span), properties: encoded.span,
            body: body.span, frameMax: 4096, into: &pair.serverOutput)
        try pair.settle()
        let returned = message(pair.heardByClient)
        #expect(
            returned.line == "1 basicReturn replyCode=312 replyText=\"NO_ROUTE\" exchange=\"e\" routingKey=\"e\" | 1 header bodySize=\(size) \(text)")
        #expect(returned.body == body)
    }

    @Test("The short forms write what `send` writes")
    func shortForms() throws {
        var pair = try AMQPPair.open(channels: 1...1), other = try AMQPPair.open(channels: 1...1)
        var properties = AMQPProperties(), encoded = ByteBuffer()
        properties.contentType = Array("text/plain".utf8)
        try properties.encode(into: &encoded)
        let exchange = Array("amq.topic".utf8), key = [UInt8](repeating: 107, count: 40)
        for size in [0, 1, 4088, 4089, 9000] {
            let body = [UInt8](repeating: 5, count: size)
            try pair.client.publish(
                channel: 1, exchange: exchange.span, routingKey: key.span, mandatory: true, properties: encoded.span, body: body.span,
                into: &pair.clientOutput)
            let publish = AMQPMethod<[UInt8]>.basicPublish(.init(exchange: exchange, routingKey: key, mandatory: true))
            try other.client.send(.content(channel: 1, publish, properties: properties, body: body), into: &other.clientOutput)
        }
        try pair.client.ack(channel: 1, deliveryTag: 1 << 40, multiple: true, into: &pair.clientOutput)
        try other.client.send(.method(channel: 1, .basicAck(.init(deliveryTag: 1 << 40, multiple: true))), into: &other.clientOutput)
        AMQPServerEncoder.ack(channel: 1, deliveryTag: 7, multiple: false, into: &pair.serverOutput)
        try other.server.send(.method(channel: 1, .basicAck(.init(deliveryTag: 7))), into: &other.serverOutput)
        let client = (pair.clientOutput.span.array, other.clientOutput.span.array), server = (pair.serverOutput.span.array, other.serverOutput.span.array)
        #expect(client.0 == client.1 && server.0 == server.1)
        #expect(throws: AMQPMisuse.channelNotOpen) { try pair.client.ack(channel: 2, deliveryTag: 1, into: &pair.clientOutput) }
        let none: [UInt8] = []
        #expect(throws: AMQPMisuse.textTooLong) {
            let long = [UInt8](repeating: 97, count: 256)
            try pair.client.publish(
                channel: 1, exchange: none.span, routingKey: long.span, properties: none.span, body: none.span, into: &pair.clientOutput)
        }
    }

    @Test("Messages of several channels go between each other's frames", arguments: 0..<20)
    func interleaved(round: Int) throws {
        var pair = try AMQPPair.open(channels: 1...3, limits: Self.limits(), pieces: 1...9000)
        var rng = SystemRandomNumberGenerator()
        // The frames of each channel in their order, the channels in any.
        var queues: [[[UInt8]]] = []
        for channel in 1...3 as ClosedRange<UInt16> {
            var output = ByteBuffer()
            let body = [UInt8](repeating: UInt8(channel), count: 20_000)
            try pair.client.send(.content(channel: channel, .basicPublish(.init()), properties: AMQPProperties(), body: body), into: &output)
            queues.append(frames(output.span.array))
        }
        while let channel = queues.indices.filter({ !queues[$0].isEmpty }).randomElement(using: &rng) {
            let frame = queues[channel].removeFirst()
            pair.clientOutput.append(frame.span)
        }
        try pair.settle()
        for channel in 1...3 as ClosedRange<UInt16> {
            let events = pair.heardByServer.filter { $0.line.hasPrefix("\(channel) ") }
            let heard = message(events)
            #expect(
                heard.line == "\(channel) basicPublish | \(channel) header bodySize=20000" && heard.body == [UInt8](repeating: UInt8(channel), count: 20_000))
        }
    }

    private func frames(_ bytes: [UInt8]) -> [[UInt8]] {
        var frames: [[UInt8]] = [], at = 0
        while at < bytes.count {
            let size = bytes[at + 3...at + 6].reduce(0) { $0 << 8 | Int($1) } + 8
            frames.append(Array(bytes[at..<at + size]))
            at += size
        }
        return frames
    }

    @Test("A body above the limit costs its channel, not the connection")
    func bodyTooLarge() throws {
        var pair = try AMQPPair.open(channels: 1...2, limits: Self.limits(bodySizeMax: 5000))
        let body = [UInt8](repeating: 1, count: 5001)
        try pair.clientSays(.content(channel: 1, .basicPublish(.init()), properties: AMQPProperties(), body: body))
        try pair.clientSays(.method(channel: 2, .txSelect))
        try pair.clientSays(.method(channel: 1, .channelOpen(.init())))
        let (toServer, toClient) = (pair.heardByServer.map(\.line), pair.heardByClient.map(\.line))
        #expect(
            toServer == ["1 basicPublish", "1 bodyTooLarge 5001", "1 discarded", "1 discarded", "1 channelCloseOk", "2 txSelect", "1 channelOpen"])
        let text = "PRECONDITION_FAILED - message size 5001 is larger than configured max size 5000"
        #expect(toClient == ["1 channelClose replyCode=406 replyText=\"\(text)\" classID=60 methodID=40", "1 channelOpenOk"])
    }

    @Test("Headers that no frame holds are the sender's misuse, and nothing is written")
    func headersTooLarge() throws {
        var pair = try AMQPPair.open(channels: 1...1)
        var properties = AMQPProperties()
        properties.headers = (["x": .bytes([UInt8](repeating: 0, count: 4096))] as AMQPTable).encoded
        #expect(throws: AMQPMisuse.frameTooLarge) {
            try pair.clientSays(.content(channel: 1, .basicPublish(.init()), properties: properties, body: []))
        }
        #expect(throws: AMQPMisuse.frameTooLarge) { try pair.clientSays(.method(channel: 1, .queueDeclare(.init(arguments: properties.headers ?? [])))) }
        let written = pair.clientOutput.count
        #expect(written == 0)
    }
}
