import MartletAMQPProtocol
import MartletBytes

/// libFuzzer target: the client's machine. The first byte chooses the state and the size of the pieces, the others come from the server.
/// A run traps when the machine does, when pieces give another result than the whole, when something follows a violation, or when what was
/// heard, said again by a server, is heard as something else.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzClient(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let phase = ([.header, .open, .challenged, .tuned, .agreed, .closingByClient, .open, .open] as [FuzzPhase])[Int(start[0] & 7)]
    let whole = run(phase, bytes, pieces: bytes.count)
    precondition(whole == run(phase, bytes, pieces: 1 + Int(start[0] >> 3)), "a split gives another result")
    if phase == .open {
        for event in whole.events {
            let peers = FuzzPeers(.open)
            var server = peers.server
            again(event, { try server.send($0, into: &$1) }, { run(.open, $0, pieces: $0.count) })
        }
    }
    return 0
}

private func run(_ phase: FuzzPhase, _ bytes: [UInt8], pieces size: Int) -> FuzzResult {
    let peers = FuzzPeers(phase)
    var machine = peers.client
    return show(bytes, pieces: size, to: &machine) { machine, event, output in
        switch event {
        case .method(_, .connectionStart): try? machine.send(.method(channel: 0, .connectionStartOk(.init())), into: &output)
        case .method(_, .connectionSecure): try? machine.send(.method(channel: 0, .connectionSecureOk(.init())), into: &output)
        case .method(_, .connectionTune(let tune)):
            let offer = AMQPMethod<[UInt8]>.ConnectionTune(channelMax: tune.channelMax, frameMax: tune.frameMax, heartbeat: tune.heartbeat)
            try? machine.send(.method(channel: 0, machine.tuneOk(to: offer)), into: &output)
            try? machine.send(.method(channel: 0, .connectionOpen(.init())), into: &output)
        case .method(_, .connectionClose): try? machine.send(.method(channel: 0, .connectionCloseOk), into: &output)
        case .method(let channel, .channelClose): try? machine.send(.method(channel: channel, .channelCloseOk), into: &output)
        case .method(let channel, .txSelectOk): try? machine.send(.method(channel: channel, .channelClose(.init(replyCode: 200))), into: &output)
        case .content(let channel, _, _, _): try? machine.ack(channel: channel, deliveryTag: 1, into: &output)
        default: break
        }
    }
}
