import CLinux
import MartletEventLoop
import Synchronization

/// Looks names up on threads of its own, because the system's resolver blocks: never on a loop and never on the cooperative pool.
///
/// A thread lives as long as there are names to look up. A lookup whose caller has given up ends by itself.
public final class Resolver: Sendable {
    /// The machine's: /etc/hosts, then its name servers.
    public static let system = Resolver()

    public typealias Lookup = @Sendable (_ host: String, _ port: UInt16) throws(NetError) -> [SocketAddress]
    public typealias Answer = @Sendable (Result<[SocketAddress], NetError>) -> Void

    private struct Question {
        let host: String, port: UInt16, answer: Answer
    }
    private struct Queue {
        var questions: [Question] = []
        var threadCount = 0
    }
    private let queue = Mutex(Queue())
    private let threadsMax: Int
    private let lookup: Lookup

    /// At most `threadsMax` lookups at once; further ones wait. `lookup` may block.
    public init(threadsMax: Int = 8, lookup: @escaping Lookup = { (host, port) throws(NetError) in try SocketAddress.resolve(host, port: port) }) {
        self.threadsMax = threadsMax
        self.lookup = lookup
    }

    /// Calls `answer` on one of the resolver's threads, once; at once if the system gives it no thread.
    public func resolve(_ host: String, port: UInt16, _ answer: @escaping Answer) {
        let wantsThread = queue.withLock { queue in
            queue.questions.append(Question(host: host, port: port, answer: answer))
            guard queue.threadCount < threadsMax else { return false }
            queue.threadCount += 1
            return true
        }
        guard wantsThread else { return }
        var thread: UInt64 = 0
        let error = cl_thread({ Unmanaged<Resolver>.fromOpaque($0!).takeRetainedValue().work() }, Unmanaged.passRetained(self).toOpaque(), &thread)
        guard error == 0 else { return refuse(error) }
        cl_detach(thread)
    }

    /// There is no thread. If there is no other either, those who ask are told.
    private func refuse(_ errno: Int32) {
        Unmanaged.passUnretained(self).release()  // the thread's
        let refused = queue.withLock { queue -> [Question] in
            queue.threadCount -= 1
            guard queue.threadCount == 0 else { return [] }
            defer { queue.questions = [] }
            return queue.questions
        }
        for question in refused { question.answer(.failure(NetError(errno: errno, .resolve, question.host))) }
    }

    private func work() {
        while true {
            let question = queue.withLock { queue -> Question? in
                if queue.questions.isEmpty { queue.threadCount -= 1; return nil }
                return queue.questions.removeFirst()
            }
            guard let question else { return }
            do throws(NetError) { question.answer(.success(try lookup(question.host, question.port))) } catch { question.answer(.failure(error)) }
        }
    }

    /// The same for a task. Throws `unresolvable`, `timedOut` and `cancelled`.
    public func addresses(of host: String, port: UInt16, timeout: Duration = .seconds(10)) async throws(NetError) -> [SocketAddress] {
        let start = cl_monotonic_ns()
        let answer = Once<Result<[SocketAddress], NetError>>()
        resolve(host, port: port) { answer.resume(returning: $0) }
        let clock = Task {
            try? await Task.sleep(for: timeout)
            answer.resume(returning: .failure(NetError(.timedOut, .resolve, host, elapsed: .nanoseconds(cl_monotonic_ns() - start))))
        }
        defer { clock.cancel() }
        let result = await withTaskCancellationHandler {
            await answer.wait()
        } onCancel: {
            answer.resume(returning: .failure(NetError(.cancelled, .resolve, host)))
        }
        return try result.get()
    }
}
