import Foundation
import Synchronization

/// A TCP proxy that a test cuts: both sides see their connection end, and the next one goes through again.
final class CuttingProxy: Sendable {
    let port: UInt16
    private let target: UInt16
    private let listener: Int32
    private struct Open: Sendable {
        /// Of those who came, and of what they were led to.
        var clients: [Int32] = []
        var servers: [Int32] = []
        var descriptors: [Int32] { servers + clients }
        var hasEnded = false
        var muted: Set<Int32> = []
    }
    private let open = Mutex(Open())

    init(to target: UInt16) throws {
        self.target = target
        (listener, port) = try Loopback.listen()
        Thread.detachNewThread { [self] in accept() }
    }

    private func accept() {
        while true {
            let client = Foundation.accept(listener, nil, nil)
            guard client >= 0 else { return }
            let server = Loopback.connect(to: target)
            let hasEnded = open.withLock { open in
                open.clients.append(client)
                if let server { open.servers.append(server) }
                return open.hasEnded
            }
            guard let server, !hasEnded else {
                cut()
                continue
            }
            Thread.detachNewThread { [self] in copy(client, server) }
            Thread.detachNewThread { [self] in copy(server, client) }
        }
    }

    private func copy(_ from: Int32, _ to: Int32) {
        var buffer = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = recv(from, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            if open.withLock({ $0.muted.contains(from) }) { continue }
            guard Loopback.write(buffer[..<count], to: to) else { return }
        }
        shutdown(to, Int32(SHUT_RDWR))
    }

    /// Lets nothing more through the connections there are, and ends none of them.
    func mute() { open.withLock { $0.muted.formUnion($0.descriptors) } }

    /// How often somebody connected.
    var connectionCount: Int { open.withLock { $0.clients.count } }

    /// Ends all connections, the servers' first: so a client that comes again at once is not there before its old end is. Their
    func cut() { for descriptor in open.withLock({ $0.descriptors }) { shutdown(descriptor, Int32(SHUT_RDWR)) } }

    deinit { for descriptor in open.withLock({ $0.descriptors }) + [listener] { close(descriptor) } }

    func end() {
        let descriptors = open.withLock { open in
            open.hasEnded = true
            return open.descriptors
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }
}
