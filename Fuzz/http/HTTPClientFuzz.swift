import MartletBytes
import MartletHTTPProtocol

/// libFuzzer target: a client. The first byte chooses what was asked for and the size of the pieces. A run traps when the machine does, when pieces
/// give another result than the whole, or when something follows a violation.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzClient(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let asked = start[0] & 3
    let whole = read(bytes, asked, pieces: bytes.count)
    precondition(whole == read(bytes, asked, pieces: 1), "single bytes give another result")
    precondition(whole == read(bytes, asked, pieces: 2 + Int(start[0] >> 2)), "a split gives another result")
    return 0
}

private func ask(_ machine: inout HTTPClientMachine, _ asked: UInt8, _ output: inout ByteBuffer) {
    let host = Array("a:80".utf8), upgrade = Array("Upgrade: x\r\n".utf8), root = Array("/".utf8)
    do {
        switch asked {
        case 0: try machine.begin(.get, target: root.span, host: host.span, into: &output)
        case 1: try machine.begin(.head, target: root.span, host: host.span, into: &output)
        case 2: try machine.begin(.get, target: root.span, host: host.span, fields: upgrade.span, into: &output)
        default: try machine.begin(.connect, target: host.span, host: host.span, into: &output)
        }
        try machine.end(into: &output)
    } catch { preconditionFailure("a request is refused: \(error)") }
}

private func read(_ bytes: [UInt8], _ asked: UInt8, pieces size: Int) -> FuzzSeen<HTTPClientEvent.Owned> {
    var machine = HTTPClientMachine(limits: fuzzLimits, now: Instant(nanoseconds: 0)), output = ByteBuffer()
    ask(&machine, asked, &output)
    return fuzzObserve(
        &machine, bytes, pieces: size,
        join: { events, event in
            switch (events.last, event) {
            case (.body(let before), .body(let more)): events[events.count - 1] = .body(before + more)
            case (.tunnel(let before), .tunnel(let more)): events[events.count - 1] = .tunnel(before + more)
            default: events.append(event)
            }
        },
        answer: { machine, event, output in
            // The next response wants a request.
            if machine.isIdle { ask(&machine, 0, &output) }
        })
}
