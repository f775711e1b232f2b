import MartletBytes
import MartletMQTTProtocol

/// libFuzzer target: the server's machine. The first byte chooses the state and the size of the pieces, the others come from the client.
/// A run traps when the machine does, when pieces give another result than the whole, or when something follows a violation.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzServer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let whole = run(state: start[0] & 7, bytes, pieces: bytes.count)
    precondition(whole == run(state: start[0] & 7, bytes, pieces: 1 + Int(start[0] >> 3)), "a split gives another result")
    return 0
}

private func run(state: UInt8, _ bytes: [UInt8], pieces size: Int) -> FuzzResult<MQTTServerEvent.Owned> {
    let peers =
        switch state {
        case 0: FuzzPeers(.v5, .new)
        case 1: FuzzPeers(.v3_1_1, .open)
        case 2: FuzzPeers(.v5, .open)
        case 3: FuzzPeers(.v3_1, .open)
        case 4: FuzzPeers(.v5, .challenged)
        case 5: FuzzPeers(.v5, .rechallenged)
        case 6: FuzzPeers(.v3_1_1, .open, isStrict: false)
        default: FuzzPeers(.v5, .open, isStrict: false)
        }
    var machine = peers.server
    var result = show(bytes, pieces: size, to: &machine) { machine, event, output in
        switch event {
        case .connect(let connect): try? machine.send(.connack(fuzzConnack(connect.authenticationMethod == nil ? .v3_1_1 : .v5)), into: &output)
        case .publish(let publish) where publish.qos == 1:
            try? machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .publish(let publish) where publish.qos == 2:
            try? machine.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .pubrel(let identifier, _): try? machine.send(.pubcomp(packetIdentifier: identifier, reason: .success), into: &output)
        case .auth(let auth):
            try? machine.send(.auth(fuzzAuth(auth.reason == .reAuthenticate ? .continueAuthentication : .success)), into: &output)
            try? machine.send(.connack(fuzzConnack(.v5)), into: &output)
        default: break
        }
    }
    result.tolerated = machine.tolerated
    return result
}
