import Foundation
import Testing

/// A peer that says what it likes: bytes on a TCP connection.
final class RawZMTP: Sendable {
    let descriptor: Int32

    init(to port: UInt16) throws {
        descriptor = try #require(Loopback.connect(to: port))
        var patience = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    /// NULL's greeting, as 3.1 has it.
    static let greeting: [UInt8] = [0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 0x7F, 3, 1] + Array("NULL".utf8) + [UInt8](repeating: 0, count: 48)

    static func ready(_ type: String) -> [UInt8] { command("READY", property("Socket-Type", type)) }

    static func property(_ name: String, _ value: String) -> [UInt8] {
        [UInt8(name.utf8.count)] + Array(name.utf8) + [0, 0, 0, UInt8(value.utf8.count)] + Array(value.utf8)
    }

    static func command(_ name: String, _ data: [UInt8]) -> [UInt8] {
        let body = [UInt8(name.utf8.count)] + Array(name.utf8) + data
        return body.count > 255
            ? [6] + stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: body.count >> $0) } + body : [4, UInt8(body.count)] + body
    }

    /// Answers whether all of it was taken.
    @discardableResult func say(_ bytes: [UInt8]) -> Bool { Loopback.write(bytes[...], to: descriptor) }

    /// Everything until the end of the connection.
    func hearAll() -> [UInt8] {
        var heard: [UInt8] = [], area = [UInt8](repeating: 0, count: 4_096)
        while true {
            let count = recv(descriptor, &area, area.count, 0)
            guard count > 0 else { return heard }
            heard += area[..<count]
        }
    }
}
