import MartletAMQPProtocol
import MartletBytes

/// Client and server machine that bring each other to a state; what each said is kept.
struct AMQPPeers: ~Copyable {
    var client: AMQPClientMachine
    var server: AMQPServerMachine
    private(set) var saidByClient: [UInt8] = []
    private(set) var saidByServer: [UInt8] = []

    init(limits: AMQPLimits) {
        client = AMQPClientMachine(limits: limits, now: AMQPSamples.start)
        server = AMQPServerMachine(limits: limits, now: AMQPSamples.start)
    }

    static func serverAnswer(to event: AMQPEvent, tune: AMQPMethod<[UInt8]>) -> AMQPOutgoing? {
        switch event {
        case .protocolHeader: .method(channel: 0, .connectionStart(.init(mechanisms: Array("PLAIN".utf8), locales: Array("en_US".utf8))))
        case .method(_, .connectionStartOk), .method(_, .connectionSecureOk): .method(channel: 0, tune)
        case .method(_, .connectionOpen): .method(channel: 0, .connectionOpenOk(.init()))
        case .method(let channel, .channelOpen): .method(channel: channel, .channelOpenOk(.init()))
        case .method(let channel, .channelClose): .method(channel: channel, .channelCloseOk)
        case .method(_, .connectionClose): .method(channel: 0, .connectionCloseOk)
        default: nil
        }
    }

    static func clientAnswers(to event: AMQPEvent) -> [AMQPOutgoing] {
        switch event {
        case .method(_, .connectionStart):
            [.method(channel: 0, .connectionStartOk(.init(mechanism: Array("PLAIN".utf8), response: AMQPSASL.plain(user: [97], password: [98]).response)))]
        case .method(_, .connectionSecure): [.method(channel: 0, .connectionSecureOk(.init()))]
        case .method(_, .connectionTune(let tune)):
            [
                .method(channel: 0, .connectionTuneOk(.init(channelMax: tune.channelMax, frameMax: tune.frameMax, heartbeat: tune.heartbeat))),
                .method(channel: 0, .connectionOpen(.init(virtualHost: [47]))),
            ]
        case .method(let channel, .channelClose): [.method(channel: channel, .channelCloseOk)]
        case .method(_, .connectionClose): [.method(channel: 0, .connectionCloseOk)]
        default: []
        }
    }

    /// Runs the opening, and opens the channels.
    mutating func open(channels: [UInt16]) {
        say(.protocolHeader)
        for channel in channels { say(.method(channel: channel, .channelOpen(.init()))) }
    }

    /// The client says it; what follows is answered until nobody has an answer. Laws begin where this ends: what fails on the way there is no
    /// law's finding, so it ends the tests.
    mutating func say(_ message: AMQPOutgoing) {
        var output = ByteBuffer()
        do { try client.send(message, into: &output) } catch { fatalError("\(error)") }
        while !output.isEmpty {
            saidByClient += output.span.array
            Self.show(&output, to: &server) { AMQPSamples.answer(&$0, $1, &$2) }
            saidByServer += output.span.array
            Self.show(&output, to: &client) { AMQPSamples.answer(&$0, $1, &$2) }
        }
    }

    /// The bytes go, and the answers come into their place. A violation between two machines that keep to the protocol ends the tests, as above.
    private static func show<Machine: ProtocolMachine & ~Copyable>(
        _ output: inout ByteBuffer, to machine: inout Machine, answer: (inout Machine, Machine.Event, inout ByteBuffer) -> Void
    ) {
        let bytes = output.span.array
        output.removeAll()
        var input = ByteReader(bytes.span)
        do { while let event = try machine.nextEvent(from: &input, into: &output) { answer(&machine, event, &output) } } catch { fatalError("\(error)") }
    }

    consuming func takeClient() -> AMQPClientMachine { client }
    consuming func takeServer() -> AMQPServerMachine { server }
}
