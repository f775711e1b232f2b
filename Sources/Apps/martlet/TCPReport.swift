import CLinux
import MartletLogging
import MartletSockets
import MartletTLS
import Synchronization

/// What `-v` says on stderr about a connection: how it came about and how it was, each line with the milliseconds since the start.
final class TCPReport: Sendable {
    private let start = cl_monotonic_ns()
    private let seen = Mutex<TCPStatistics?>(nil)

    private func line(_ text: String, at time: Duration? = nil) {
        let time = Self.milliseconds(time ?? .nanoseconds(cl_monotonic_ns() - start))
        StandardStream.error.write(String(repeating: " ", count: max(0, 9 - time.count)) + "\(time) ms  \(text)\n")
    }

    /// A client's connection is there.
    func opened(_ connection: TCPConnection, place: String) {
        observe(connection)
        if let steps = connection.steps {
            let addresses = steps.addresses.map { "\($0)" }.joined(separator: ", ")
            line("\(place) is \(addresses), found in \(Self.milliseconds(steps.resolution)) ms", at: steps.resolution)
            for failure in steps.failures {
                line("\(failure.address): \(failure.reason) after \(Self.milliseconds(failure.elapsed)) ms", at: steps.resolution + steps.connecting)
            }
            line(
                "connected to \(connection.peer) from \(own(connection)), in \(Self.milliseconds(steps.connecting)) ms",
                at: steps.resolution + steps.connecting)
            secured(connection, at: steps.resolution + steps.connecting + steps.securing)
        }
    }

    /// A server's client is there.
    func accepted(_ connection: TCPConnection) {
        line("\(connection.peer) connected to \(own(connection))")
        secured(connection)
    }

    private func secured(_ connection: TCPConnection, at time: Duration? = nil) {
        guard let session = connection.tls else { return }
        let name = session.serverName.map { " for \($0)" } ?? ""
        let agreed = session.applicationProtocol.map { "ALPN \($0)" } ?? "no ALPN"
        let handshake = connection.steps.map { " in \(Self.milliseconds($0.securing)) ms" } ?? ""
        line("\(session.version)\(name)\(handshake): \(session.cipher), \(agreed), \(session.wasResumed ? "session resumed" : "a new session")", at: time)
        if let certificate = session.peerCertificate {
            let end = LocalTime(wallNanoseconds: certificate.notAfter * 1_000_000_000).text("%Y-%m-%d %H:%M %Z")
            line("certificate of \(certificate.subject), valid until \(end), issued by \(certificate.issuer)", at: time)
        }
    }

    private func own(_ connection: TCPConnection) -> String { connection.local.map { "\($0)" } ?? "?" }

    /// While it is open: once it has ended the kernel knows nothing of it.
    func observe(_ connection: TCPConnection) { if let statistics = connection.info { seen.withLock { $0 = statistics } } }

    func ended(_ counts: (sent: Int, received: Int)) {
        line("ended: \(BenchFigures.grouped(Double(counts.sent))) bytes sent, \(BenchFigures.grouped(Double(counts.received))) received")
        guard let kernel = seen.withLock({ $0 }) else { return }
        line(
            "TCP: round trip \(Self.milliseconds(kernel.rtt)) ms (± \(Self.milliseconds(kernel.rttVariance))), \(kernel.retransmitsTotal) retransmitted, "
                + "\(kernel.lost) lost, window \(kernel.congestionWindow) segments of \(kernel.segmentSize) bytes")
    }

    /// To a hundredth: loopback takes less than a tenth.
    static func milliseconds(_ duration: Duration) -> String {
        let hundredths = Int64((duration / .microseconds(10)).rounded())
        return "\(hundredths / 100)." + (hundredths % 100 < 10 ? "0" : "") + "\(hundredths % 100)"
    }

    static func seconds(_ duration: Duration) -> String {
        let seconds = duration / .seconds(1)
        return seconds == seconds.rounded() ? "\(Int64(seconds))" : "\(seconds)"
    }
}
