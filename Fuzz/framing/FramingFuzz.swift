import MartletBytes
import MartletFramingProtocol

/// libFuzzer target: the framings. The first byte chooses the framing and the size of the pieces. A run traps when the machine does, when
/// pieces give another result than the whole, when something follows a violation, or when the frames, sent again, are read as others.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFraming(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let framings: [Framing] =
        [.lines, .fixed(1), .fixed(4), .lines] + Framing.PrefixWidth.allCases.map { .lengthPrefixed(width: $0) }
    let framing = framings[Int(start[0] & 7)]
    let whole = read(bytes, framing, pieces: bytes.count)
    precondition(whole == read(bytes, framing, pieces: 1 + Int(start[0] >> 3)), "a split gives another result")
    var machine = FramingMachine(framing, limits: FramingLimits(max: 64)), output = ByteBuffer()
    do {
        for case .frame(let frame) in whole.frames { try machine.send(frame, into: &output) }
    } catch FramingMisuse.notOneLine { return 0 } catch { preconditionFailure("\(error)") }
    let again = read(output.span.array, framing, pieces: 16)
    precondition(again.frames == whole.frames && again.violation == nil, "frames sent again are read as others")
    return 0
}

private struct Result: Equatable {
    var frames: [FramingEvent.Owned] = []
    var violation: FramingViolation?
}

private func read(_ bytes: [UInt8], _ framing: Framing, pieces size: Int) -> Result {
    var machine = FramingMachine(framing, limits: FramingLimits(max: 64)), output = ByteBuffer(), unread = UnreadBytes()
    var result = Result()
    do throws(FramingViolation) {
        for at in stride(from: 0, to: bytes.count, by: size) {
            let new = bytes.span.extracting(at..<min(at + size, bytes.count))
            var used = 0
            do {
                let all = unread.show(new)
                var input = ByteReader(all)
                while let event = try machine.nextEvent(from: &input, into: &output) { result.frames.append(event.owned(in: all)) }
                used = input.offset
            }
            unread.keep(new, used: used)
            precondition(unread.count <= 64 + 8, "more kept than a frame")
        }
    } catch {
        result.violation = error
        var input = ByteReader(bytes.span)
        let silent = (try? machine.nextEvent(from: &input, into: &output)) ?? nil
        precondition(silent == nil && input.offset == 0, "something follows a violation")
    }
    precondition(output.isEmpty)
    return result
}
