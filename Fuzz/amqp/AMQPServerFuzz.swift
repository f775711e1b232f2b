import MartletAMQPProtocol
import MartletBytes

/// libFuzzer target: the server's machine. The first byte chooses the state and the size of the pieces, the others come from the client.
/// A run traps when the machine does, when pieces give another result than the whole, when something follows a violation, or when what was
/// heard, said again by a client, is heard as something else.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzServer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let phase = ([.new, .open, .started, .challenged, .tuned, .agreed, .closingByServer, .open] as [FuzzPhase])[Int(start[0] & 7)]
    let whole = run(phase, bytes, pieces: bytes.count)
    precondition(whole == run(phase, bytes, pieces: 1 + Int(start[0] >> 3)), "a split gives another result")
    if phase == .open {
        for event in whole.events {
            let peers = FuzzPeers(.open)
            var client = peers.client
            again(event, { try client.send($0, into: &$1) }, { run(.open, $0, pieces: $0.count) })
        }
    }
    return 0
}

private func run(_ phase: FuzzPhase, _ bytes: [UInt8], pieces size: Int) -> FuzzResult {
    let peers = FuzzPeers(phase)
    var machine = peers.server
    return show(bytes, pieces: size, to: &machine) { machine, event, output in
        switch event {
        case .protocolHeader: try? machine.send(.method(channel: 0, .connectionStart(.init())), into: &output)
        case .method(_, .connectionStartOk(let startOk)) where startOk.response.isEmpty:
            try? machine.send(.method(channel: 0, .connectionSecure(.init())), into: &output)
        case .method(_, .connectionStartOk), .method(_, .connectionSecureOk): try? machine.send(.method(channel: 0, machine.tune), into: &output)
        case .method(_, .connectionOpen): try? machine.send(.method(channel: 0, .connectionOpenOk(.init())), into: &output)
        case .method(_, .connectionClose): try? machine.send(.method(channel: 0, .connectionCloseOk), into: &output)
        case .method(let channel, .channelOpen): try? machine.send(.method(channel: channel, .channelOpenOk(.init())), into: &output)
        case .method(let channel, .channelClose): try? machine.send(.method(channel: channel, .channelCloseOk), into: &output)
        case .method(let channel, .txSelect): try? machine.send(.method(channel: channel, .channelClose(.init(replyCode: 406))), into: &output)
        case .content(let channel, _, _, _): try? machine.send(.method(channel: channel, .basicAck(.init(deliveryTag: 1))), into: &output)
        default: break
        }
    }
}
