internal import MartletClient

/// Places for messages that are under way without a task that waits for each.
final class AMQPWindow: Sendable {
    private struct Progress: Sendable {
        var count = 0
        var bytes = 0
        var isHeld = false
        var failure: AMQPError?
    }
    private let progress = AMQPMonitor(Progress())
    private let countMax: Int
    private let bytesMax: Int
    /// What failed once is thrown again and again, not once.
    private let keepsFailure: Bool

    init(_ limits: AMQPClientLimits, window: Int? = nil, keepsFailure: Bool = true) {
        self.keepsFailure = keepsFailure
        countMax = max(1, window ?? limits.pipelineCountMax)
        bytesMax = limits.pipelineBytesMax
    }

    /// Takes a place for a message, when there is one. Throws what failed before.
    func enter(_ size: Int) async throws(AMQPError) {
        let failure: AMQPError? = try await progress.when { (progress) -> AMQPError?? in
            if let failure = progress.failure {
                if !self.keepsFailure { progress.failure = nil }
                return .some(failure)
            }
            let isFull = progress.count >= self.countMax || progress.bytes >= self.bytesMax
            if isFull || progress.isHeld && !self.hasRoom(progress) {
                progress.isHeld = true
                return nil
            }
            progress.isHeld = false
            progress.count += 1
            progress.bytes += size
            return .some(nil)
        }
        if let failure { throw failure }
    }

    private func hasRoom(_ progress: Progress) -> Bool { progress.count <= countMax / 2 && progress.bytes <= bytesMax / 2 }

    /// So many, of so many bytes, are done.
    func completed(_ count: Int, _ size: Int, _ failure: AMQPError?) {
        let wakes = progress.with { progress in
            progress.count -= count
            progress.bytes -= size
            if let failure, progress.failure == nil { progress.failure = failure }
            return progress.count == 0 || progress.failure != nil || progress.isHeld && hasRoom(progress)
        }
        if wakes { progress.update() }
    }

    func drained() async throws(AMQPError) {
        let failure: AMQPError? = try await progress.when { (progress) -> AMQPError?? in
            if let failure = progress.failure { return .some(failure) }
            return progress.count == 0 ? .some(nil) : nil
        }
        if let failure { throw failure }
    }
}
