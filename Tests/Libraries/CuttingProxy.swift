import Foundation
import Synchronization

/// A TCP proxy that a test cuts: both sides see their connection end, and the next one goes through again.
final class CuttingProxy: Sendable {
    let port: UInt16
    private let target: UInt16
    private let listener: Int32
    private struct Open: Sendable {
        var descriptors: [Int32] = []
        var hasEnded = false
        var muted: Set<Int32> = []
    }
    private let open = Mutex(Open())

    struct Unavailable: Error {}

    init(to target: UInt16) throws {
        self.target = target
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(0)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) == 0 && listen(listener, 16) == 0 && getsockname(listener, $0, &size) == 0
            }
        }
        guard bound else { throw Unavailable() }
        self.listener = listener
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in accept() }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }

    private func accept() {
        while true {
            let client = Foundation.accept(listener, nil, nil)
            guard client >= 0 else { return }
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = Self.loopback(target)
            let isConnected = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
            }
            let hasEnded = open.withLock { open in
                open.descriptors += [client, server]
                return open.hasEnded
            }
            if hasEnded || !isConnected {
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
            var sent = 0
            while sent < count {
                let written = buffer.withUnsafeBytes { send(to, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL)) }
                guard written > 0 else { return }
                sent += written
            }
        }
        shutdown(to, Int32(SHUT_RDWR))
    }

    /// Lets nothing more through the connections there are, and ends none of them.
    func mute() { open.withLock { $0.muted.formUnion($0.descriptors) } }

    /// How often somebody connected.
    var connectionCount: Int { open.withLock { $0.descriptors.count / 2 } }

    /// Ends all connections; their descriptors are closed with the proxy.
    func cut() { for descriptor in open.withLock({ $0.descriptors }) { shutdown(descriptor, Int32(SHUT_RDWR)) } }

    deinit { end() }

    func end() {
        let descriptors = open.withLock { open in
            open.hasEnded = true
            return open.descriptors
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for descriptor in descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }
}
