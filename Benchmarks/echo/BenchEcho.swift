import Glibc
import MartletBytes
import MartletEventLoop
import MartletNet
import MartletSockets

/// Echo servers for `Benchmarks/sockets.py`: `bench-echo tcp PORT [--loops N]` serves 127.0.0.1 by asynchronous handlers,
/// `bench-echo tls PORT CERTIFICATE KEY` does so with TLS,
/// `bench-echo callbacks PORT` by a channel, whose cost the handlers are measured against.
@main struct BenchEcho {
    static func main() async throws {
        let words = CommandLine.arguments
        guard words.count >= 3, let port = UInt16(words[2]) else { exit(64) }
        ProcessSetup.prepare()
        let loops = words.firstIndex(of: "--loops").flatMap { words.indices.contains($0 + 1) ? Int(words[$0 + 1]) : nil } ?? 1
        switch words[1] {
        case "tcp": try await TCP.listen(on: "127.0.0.1:\(port)", loops: loops, echo)
        case "tls" where words.count >= 5:
            let identity = TLSIdentity(certificate: words[3], key: words[4])
            try await TCP.listen(on: "127.0.0.1:\(port)", tls: TLSServerOptions(identity: identity), loops: loops, echo)
        case "callbacks": try serveByCallbacks(port)
        default: exit(64)
        }
    }

    @Sendable private static func echo(_ connection: TCPConnection) async throws {
        for try await chunk in connection.inbound { try await connection.write(chunk) }
    }

    private static func serveByCallbacks(_ port: UInt16) throws {
        guard let address = SocketAddress("127.0.0.1", port: port) else { exit(64) }
        let socket = try BoundSocket(address)
        var limits = EventLoopLimits()
        limits.flushBatch = 32
        let thread = EventLoop(limits: limits).start { loop in
            Listener(socket) { descriptor, _ in loop.add(Echo(), descriptor: descriptor) }.open(on: loop)
            return nil
        }
        thread.join()
    }
}

private final class Echo: Channel {
    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        loop.willWrite(slot)
        loop[output: slot].append(bytes)
        return bytes.count
    }
}
