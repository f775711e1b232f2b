import MartletBytes
import MartletHTTPProtocol

/// libFuzzer target: a server. The first byte chooses the size of the pieces. A run traps when the machine does, when pieces give another result than
/// the whole, when something follows a violation, or when a head that was taken, said again by a client's machine, is not taken the same way.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzServer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let whole = read(bytes, pieces: bytes.count)
    precondition(whole == read(bytes, pieces: 1), "single bytes give another result")
    precondition(whole == read(bytes, pieces: 2 + Int(start[0] & 63)), "a split gives another result")
    for case .request(let head) in whole.events { sayAgain(head) }
    return 0
}

private func read(_ bytes: [UInt8], pieces size: Int) -> FuzzSeen<HTTPServerEvent.Owned> {
    var machine = HTTPServerMachine(limits: fuzzLimits, now: Instant(nanoseconds: 0))
    var last: HTTPServerOutgoing?
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
            do {
                switch event {
                case .request(let head):
                    last = head.method == Array("CONNECT".utf8) ? .accept(200) : head.wantsUpgrade ? .accept(101) : .response(200, content: [1, 2])
                    if head.expectsContinue { try machine.send(.inform(100), into: &output) }
                case .end: if let last { try machine.send(last, into: &output) }
                case .body, .tunnel: break
                }
            } catch { preconditionFailure("an answer is refused: \(error)") }
        })
}

private func sayAgain(_ head: HTTPRequestHead.Owned) {
    guard head.minorVersion == 1, !head.host.isEmpty else { return }
    let written: Set = ["host", "content-length", "transfer-encoding", "connection", "expect"]
    var fields: [UInt8] = []
    var cursor = HTTPFieldCursor(head.fields.span)
    while let line = cursor.next() {
        let name = head.fields.span.at(line.name)
        if written.contains(name.text.lowercased()) { continue }
        fields += name.array + [58, 32] + head.fields.span.at(line.value).array + [13, 10]
    }
    precondition(cursor.isAtEnd, "the cursor does not walk what the machine took")
    var client = HTTPClientMachine(now: Instant(nanoseconds: 0)), output = ByteBuffer()
    do { try client.begin(method: head.method.span, target: head.target.span, host: head.host.span, fields: fields.span, into: &output) } catch {
        preconditionFailure("a request that was taken is refused: \(error)")
    }
    let bytes = output.span.array
    var server = HTTPServerMachine(limits: HTTPLimits(), now: Instant(nanoseconds: 0))
    var input = ByteReader(bytes.span), farewell = ByteBuffer()
    guard case .request(let again)? = try? server.nextEvent(from: &input, into: &farewell) else { preconditionFailure("a request said again is not taken") }
    let owned = again.owned(in: bytes.span)
    precondition(
        owned.method == head.method && owned.target == head.target && owned.path == head.path && owned.query == head.query && owned.host == head.host,
        "a request said again is another")
}
