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

    struct Unavailable: Error {}

    /// Connection by connection after how many bytes it is cut; the ones after these are not.
    init(to target: UInt16, cutAfter budgets: [Int]) throws {
        self.target = target
        state = Mutex((Seen(), budgets.reversed()))
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        // Small, so that the sender's own buffer fills too.
        var window: Int32 = 4_096
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &window, socklen_t(MemoryLayout<Int32>.size))
        var address = Self.loopback(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 16) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard isBound else { throw Unavailable() }
        self.listener = listener
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                relay(client)
            }
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }

    var seen: Seen { state.withLock { $0.seen } }

    func end() { shutdown(listener, Int32(SHUT_RDWR)) }

    /// One connection until both sides have ended theirs.
    private func relay(_ client: Int32) {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(target)
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
        }
        defer {
            close(client)
            close(server)
        }
        guard isConnected else { return }
        let back = DispatchGroup()
        back.enter()
        Thread.detachNewThread {
            var area = [UInt8](repeating: 0, count: 4_096)
            while true {
                let count = recv(server, &area, area.count, 0)
                guard count > 0 else { break }
                Self.write(area[..<count], to: client)
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
            Self.write(area[..<part], to: server)
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

    private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) {
        var at = 0
        while at < bytes.count {
            let written = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress! + at, bytes.count - at, Int32(MSG_NOSIGNAL)) }
            guard written > 0 else { return }
            at += written
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
