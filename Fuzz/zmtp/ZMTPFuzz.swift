import MartletBytes
import MartletZMTPProtocol

/// libFuzzer target: one end of a connection, of either side and any mechanism. The first byte chooses which, the second how the bytes are cut and where they
/// come in: as the first ones, or after a handshake with an end that keeps to the protocol. A run traps when the machine does, when pieces give another result
/// than the whole, when something follows a violation, or when a message that was taken is not the same said again.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 2 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 2, count: count - 2))
    let end = FuzzEnd(bits: start[0], isServer: start[0] & 16 != 0, isOverWebSocket: start[1] & 128 != 0), isOpened = start[1] & 1 != 0
    let whole = run(end, isOpened, bytes, pieces: bytes.count)
    precondition(whole == run(end, isOpened, bytes, pieces: 1), "single bytes give another result")
    precondition(whole == run(end, isOpened, bytes, pieces: 2 + Int(start[1] >> 1 & 63)), "a split gives another result")
    sayAgain(whole, end)
    return 0
}

private func run(_ end: FuzzEnd, _ isOpened: Bool, _ bytes: [UInt8], pieces size: Int) -> FuzzSeen {
    var run = FuzzRun(end)
    if isOpened {
        var other = FuzzRun(FuzzEnd(bits: end.bits, isServer: !end.isServer, isOverWebSocket: end.isOverWebSocket))
        join(&run, &other)
        // Behind CURVE only the other end can seal: half of the bytes come as its message.
        if end.bits & 3 == 3 {
            let half = Array(bytes.prefix(min(300, bytes.count / 2)))
            do { try other.machine.send(half.span, into: &other.output) } catch { preconditionFailure("a message is refused") }
            let sealed = other.output.span.array
            run.show(sealed, pieces: size)
        }
    }
    run.show(bytes, pieces: size)
    var seen = run.seen
    seen.output = run.output.span.array
    return seen
}

/// The handshake between two ends that keep to the protocol.
private func join(_ run: inout FuzzRun, _ other: inout FuzzRun) {
    while true {
        let fromRun = run.output.span.array, fromOther = other.output.span.array
        run.output.removeAll()
        other.output.removeAll()
        if fromOther.isEmpty, fromRun.isEmpty { break }
        run.show(fromOther, pieces: max(1, fromOther.count))
        other.show(fromRun, pieces: max(1, fromRun.count))
    }
    precondition(run.machine.isReady && other.machine.isReady, "two ends that keep to the protocol are not ready")
}

/// Messages that were taken are the same when they are said to a place without subscriptions.
private func sayAgain(_ seen: FuzzSeen, _ end: FuzzEnd) {
    var frames = ByteBuffer(), expected: [ZMTPEvent.Owned] = [], message: [[UInt8]] = []
    for case .frame(let body, let more) in seen.events {
        message.append(body)
        if more { continue }
        for (index, body) in message.enumerated() {
            let more = index + 1 < message.count
            ZMTPEncoder.append(body.span, more: more, into: &frames)
            expected.append(.frame(body, more: more))
        }
        message = []
    }
    guard !expected.isEmpty else { return }
    var client = FuzzRun(FuzzEnd(bits: end.bits & 3, isServer: false)), server = FuzzRun(FuzzEnd(bits: end.bits & 3, isServer: true))
    join(&client, &server)
    server.seen = FuzzSeen()
    do { try client.machine.pass(frames.span, into: &client.output) } catch { preconditionFailure("frames that were taken are refused: \(error)") }
    let bytes = client.output.span.array
    server.show(bytes, pieces: bytes.count)
    precondition(server.seen.violation == nil && server.seen.events == expected, "a message said again is another")
}
