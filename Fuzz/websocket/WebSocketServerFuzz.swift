import MartletBytes
import MartletWebSocketProtocol

/// libFuzzer target: a server that echoes. The first byte chooses deflate, contexts, a held farewell and the size of the pieces. A run traps when the
/// machine does, when pieces give another result than the whole, when something follows a violation, or when a client does not hear what was sent.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzServer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1)), choice = FuzzChoice(start[0])
    let whole = fuzzObserve(choice, isClient: false, bytes, pieces: bytes.count)
    precondition(whole == fuzzObserve(choice, isClient: false, bytes, pieces: 1), "single bytes give another result")
    precondition(whole == fuzzObserve(choice, isClient: false, bytes, pieces: choice.piece), "a split gives another result")
    fuzzHearAgain(choice, isClient: false, whole)
    return 0
}
