import Foundation
import Synchronization
import Testing

@testable import MartletMQTT

/// Debian's mosquitto on a free loopback port, with a configuration of the test's own. Ends with the object.
final class MosquittoServer: Sendable {
    static let path = "/usr/sbin/mosquitto"
    static var isInstalled: Bool { FileManager.default.isExecutableFile(atPath: path) }

    let port: UInt16
    private let process: Process
    private let folder: URL

    struct Unavailable: Error {}

    /// Each a port of its own, below those that the kernel gives to clients.
    private static let ports = Atomic<Int>(.random(in: 0..<10_000))

    init(_ settings: String = "allow_anonymous true") async throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for _ in 0..<5 {
            let port = UInt16(20_000 + Self.ports.wrappingAdd(1, ordering: .relaxed).newValue % 10_000)
            let configuration = folder.appendingPathComponent("mosquitto.conf")
            // Unlimited queues: mosquitto drops what a client has not yet taken beyond 1,000 messages.
            try "listener \(port) 127.0.0.1\nmax_queued_messages 0\n\(settings)\n".write(to: configuration, atomically: true, encoding: .utf8)
            let process = Process()
            process.executableURL = URL(fileURLWithPath: Self.path)
            process.arguments = ["-c", configuration.path]
            process.standardError = FileHandle.nullDevice
            process.standardOutput = FileHandle.nullDevice
            try process.run()
            for _ in 0..<250 where process.isRunning {
                do {
                    try await MQTTClient.withConnection(host: "127.0.0.1", port: port) { _ in }
                } catch let error as MQTTClientError where !error.isUnreachable {
                } catch {
                    try await Task.sleep(for: .milliseconds(20))
                    continue
                }
                // A server that was there before us would have answered too; then ours has ended.
                try await Task.sleep(for: .milliseconds(20))
                guard process.isRunning else { break }
                self.port = port
                self.process = process
                return
            }
            kill(process.processIdentifier, SIGKILL)
        }
        throw Unavailable()
    }

    /// SIGKILL: it inherits a signal mask with SIGTERM blocked from the thread that starts it.
    private func end(_ process: Process) { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    var url: String { "mqtt://127.0.0.1:\(port)" }

    deinit {
        end(process)
        try? FileManager.default.removeItem(at: folder)
    }
}
