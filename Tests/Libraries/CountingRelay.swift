import Foundation
import Synchronization

/// A TCP relay before a ZMTP socket that cuts each connection at a byte and knows what became of every message of who connects: which have left it, and
/// which of those were passed on whole. It loses nothing but what it does not pass on.
final class CountingRelay: Sendable {
    struct Seen: Sendable {
        /// Messages that have left whole, in order, of one connection after the other; and those of them that were passed on whole.
        var left: [[UInt8]] = []
        var passed: [[UInt8]] = []
        var cuts = 0
    }
    let port: UInt16
    private let target: UInt16
    private let listener: Int32
    private let state: Mutex<(seen: Seen, budgets: [Int])>

    /// Connection by connection after how many bytes it is cut; the ones after these are not.
    init(to target: UInt16, cutAfter budgets: [Int]) throws {
        self.target = target
        state = Mutex((Seen(), budgets.reversed()))
        // Small, so that the sender's own buffer fills too.
        (listener, port) = try Loopback.listen(window: 4_096)
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                relay(client)
            }
        }
    }

    var seen: Seen { state.withLock { $0.seen } }

    func end() { shutdown(listener, Int32(SHUT_RDWR)) }

    deinit { close(listener) }

    /// One connection until both sides have ended theirs.
    private func relay(_ client: Int32) {
        defer { close(client) }
        guard let server = Loopback.connect(to: target) else { return }
        defer { close(server) }
        let back = DispatchGroup()
        back.enter()
        Thread.detachNewThread {
            var area = [UInt8](repeating: 0, count: 4_096)
            while true {
                let count = recv(server, &area, area.count, 0)
                guard count > 0 else { break }
                Loopback.write(area[..<count], to: client)
            }
            shutdown(client, Int32(SHUT_WR))
            back.leave()
        }
        var budget = state.withLock { $0.budgets.popLast() } ?? .max
        let isToBeCut = budget < .max
        var bytes: [UInt8] = [], passed = 0, area = [UInt8](repeating: 0, count: 2_048)
        while true {
            let count = recv(client, &area, area.count, 0)
            guard count > 0 else { break }
            bytes += area[..<count]
            let part = min(count, budget)
            Loopback.write(area[..<part], to: server)
            passed += part
            if isToBeCut { budget -= part }
            if part > 0, budget == 0 { shutdown(server, Int32(SHUT_WR)) }
        }
        shutdown(server, Int32(SHUT_WR))
        back.wait()
        let (all, whole) = Self.messages(bytes, passed: passed)
        state.withLock { state in
            state.seen.left += all
            state.seen.passed += all[..<whole]
            if isToBeCut { state.seen.cuts += 1 }
        }
    }

    /// The whole one-frame messages behind a greeting and its commands, and how many of them end within the first `passed` bytes.
    private static func messages(_ bytes: [UInt8], passed: Int) -> (all: [[UInt8]], whole: Int) {
        var at = 64, all: [[UInt8]] = [], whole = 0
        while at + 1 < bytes.count {
            let isLong = bytes[at] & 2 != 0
            guard !isLong || at + 9 <= bytes.count else { break }
            let size = isLong ? bytes[(at + 1)..<(at + 9)].reduce(0) { $0 << 8 | Int($1) } : Int(bytes[at + 1])
            let body = at + (isLong ? 9 : 2)
            guard body + size <= bytes.count else { break }
            if bytes[at] & 4 == 0 {
                all.append(Array(bytes[body..<(body + size)]))
                if body + size <= passed { whole += 1 }
            }
            at = body + size
        }
        return (all, whole)
    }
}
