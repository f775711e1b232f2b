internal import MartletEventLoop
internal import MartletFiles
internal import Synchronization

/// Lines of responses on their way to whoever wants them: collected by the loops, given away many at a time by a thread of its own.
///
/// Above 4 MiB that nobody has taken, lines are left out, and how many is said.
final class HTTPAccessLog: Sendable {
    private struct State {
        var lines: [UInt8] = []
        var left = 0
        var hasEnded = false
    }
    private let state = Mutex(State())
    private let signal = Signal()
    private let ended = Once<Void>()
    private static let waitingMax = 4 << 20

    init(_ sink: @escaping @Sendable ([UInt8]) -> Void) throws(FileError) {
        let thread = try WorkerThread("http-log") { [self] in
            while true {
                signal.wait()
                let (lines, hasEnded) = state.withLock { state in
                    var lines: [UInt8] = []
                    swap(&lines, &state.lines)
                    if state.left > 0 { lines += Array("(\(state.left) lines were left out)\n".utf8) }
                    state.left = 0
                    return (lines, state.hasEnded)
                }
                if !lines.isEmpty { sink(lines) }
                if hasEnded { break }
            }
            ended.resume(returning: ())
        }
        _ = consume thread
    }

    func write(_ line: String) {
        let isFirst = state.withLock { state in
            guard state.lines.count < Self.waitingMax else {
                state.left += 1
                return false
            }
            state.lines += Array(line.utf8)
            return state.lines.count == line.utf8.count
        }
        if isFirst { signal.raise() }
    }

    /// Returns when the last lines have been taken, or after a second of waiting for that.
    func end() async {
        state.withLock { $0.hasEnded = true }
        signal.raise()
        // In a task of its own: this one has been cancelled.
        let patience = Task { [ended] in
            try? await Task.sleep(for: .seconds(1))
            ended.resume(returning: ())
        }
        await ended.wait()
        patience.cancel()
    }
}
