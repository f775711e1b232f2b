import MartletBytes
import MartletWebSocketProtocol

/// libFuzzer target: a client that echoes; otherwise as the server's.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzClient(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1)), choice = FuzzChoice(start[0])
    let whole = fuzzObserve(choice, isClient: true, bytes, pieces: bytes.count)
    precondition(whole == fuzzObserve(choice, isClient: true, bytes, pieces: 1), "single bytes give another result")
    precondition(whole == fuzzObserve(choice, isClient: true, bytes, pieces: choice.piece), "a split gives another result")
    fuzzHearAgain(choice, isClient: true, whole)
    return 0
}
