import MartletAMQPProtocol
import MartletBytes

/// Both sides of a connection, brought to a state by what they say to each other.
struct AMQPStates: ~Copyable {
    var server: AMQPServerMachine
    var client: AMQPClientMachine
    private var output = ByteBuffer()

    static let start = Instant(nanoseconds: 1_000_000_000)
    static let order = [
        "new", "header", "started", "authenticated", "challenged", "tuned", "agreed", "opening", "open", "channel opening", "channel",
        "channel closing by client", "channel closing by server", "closing by client", "closing by server",
    ]
    struct UnknownState: Error { var name: String }

    static var limits: AMQPLimits {
        var limits = AMQPLimits()
        limits.frameMax = 4096
        limits.bodySizeMax = 10_000
        return limits
    }

    init(_ state: String, limits: AMQPLimits = limits) throws {
        server = AMQPServerMachine(limits: limits, now: Self.start)
        client = AMQPClientMachine(limits: limits, now: Self.start)
        guard let steps = Self.order.firstIndex(of: state) else { throw UnknownState(name: state) }
        // The closing states each follow an open one.
        let path = steps > 10 ? Array(0...(steps > 12 ? 8 : 10)) + [steps] : Array(0...steps)
        for step in path where step > 0 && (step != 4 || state == "challenged") { try take(Self.order[step]) }
    }

    private mutating func take(_ step: String) throws {
        switch step {
        case "header": try clientSays(.protocolHeader)
        case "started": try serverSays(.method(channel: 0, .connectionStart(.init())))
        case "authenticated": try clientSays(.method(channel: 0, .connectionStartOk(.init())))
        case "challenged": try serverSays(.method(channel: 0, .connectionSecure(.init())))
        case "tuned": try serverSays(.method(channel: 0, server.tune))
        case "agreed": try clientSays(.method(channel: 0, .connectionTuneOk(.init(channelMax: 2047, frameMax: 4096, heartbeat: 60))))
        case "opening": try clientSays(.method(channel: 0, .connectionOpen(.init())))
        case "open": try serverSays(.method(channel: 0, .connectionOpenOk(.init())))
        case "channel opening": try clientSays(.method(channel: 1, .channelOpen(.init())))
        case "channel": try serverSays(.method(channel: 1, .channelOpenOk(.init())))
        case "channel closing by client": try clientSays(.method(channel: 1, .channelClose(.init(replyCode: 200))))
        case "channel closing by server": try serverSays(.method(channel: 1, .channelClose(.init(replyCode: 404))))
        case "closing by client": try clientSays(.method(channel: 0, .connectionClose(.init(replyCode: 200))))
        default: try serverSays(.method(channel: 0, .connectionClose(.init(replyCode: 320))))
        }
    }

    private mutating func clientSays(_ message: AMQPOutgoing) throws {
        try client.send(message, into: &output)
        let bytes = output.span.array
        output.removeAll()
        var input = ByteReader(bytes.span)
        while try server.nextEvent(from: &input, into: &output) != nil {}
    }

    private mutating func serverSays(_ message: AMQPOutgoing) throws {
        try server.send(message, into: &output)
        let bytes = output.span.array
        output.removeAll()
        var input = ByteReader(bytes.span)
        while try client.nextEvent(from: &input, into: &output) != nil {}
    }

    consuming func takeServer() -> AMQPServerMachine { server }
    consuming func takeClient() -> AMQPClientMachine { client }
}
