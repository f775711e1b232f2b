import Glibc
import MartletBytes
import MartletWebSocketProtocol

/// What one message costs a WebSocket machine, without a socket: a server that echoes what a client sent, and a client that hears the echo.
/// `bench-websocket [rounds]`: nanoseconds of processor time a message, the least of the rounds.
@main
struct BenchWebSocket {
    static func main() {
        let rounds = CommandLine.arguments.count > 1 ? Int(CommandLine.arguments[1]) ?? 5 : 5
        print("kind    bytes  a read   server ns   client ns")
        for kind in [WebSocketMessageKind.binary, .text] {
            for (count, batch) in [(16, 1), (16, 16), (16, 1000), (125, 100), (1024, 50), (65536, 1), (1 << 20, 1)] {
                let content = [UInt8](repeating: 0x61, count: count)
                let (server, client) = measure(kind, content, batch: batch, rounds: rounds)
                print("\(kind)  \(pad(count, 7)) \(pad(batch, 7)) \(pad(server, 11)) \(pad(client, 11))")
            }
        }
    }

    private static func pad(_ value: Int, _ width: Int) -> String {
        let text = "\(value)"
        return String(repeating: " ", count: max(0, width - text.count)) + text
    }

    /// Nanoseconds a message.
    private static func measure(_ kind: WebSocketMessageKind, _ content: [UInt8], batch: Int, rounds: Int) -> (Int, Int) {
        let now = Instant(nanoseconds: 0)
        var client = WebSocketMachine(client: WebSocketLimits(), secret: (1, 2), now: now)
        var server = WebSocketMachine(server: WebSocketLimits(), now: now)
        var requests = ByteBuffer(), answers = ByteBuffer(), silence = ByteBuffer()
        for _ in 0..<batch { try? client.send(kind, content.span, into: &requests) }
        let reads = max(10, 20_000_000 / (batch * (content.count + 100)))
        var best = (Int.max, Int.max)
        for _ in 0..<rounds {
            let serverTime = time {
                for _ in 0..<reads {
                    answers.removeAll()
                    server.heard(at: now)
                    var input = ByteReader(requests.span)
                    while let event = try? server.nextEvent(from: &input, into: &answers) {
                        switch event {
                        case .text(let range): try? server.send(.text, content: range, into: &answers)
                        case .binary(let range): try? server.send(.binary, content: range, into: &answers)
                        default: break
                        }
                    }
                }
            }
            let clientTime = time {
                for _ in 0..<reads {
                    var input = ByteReader(answers.span)
                    while (try? client.nextEvent(from: &input, into: &silence)) ?? nil != nil {}
                }
            }
            best = (min(best.0, serverTime / (reads * batch)), min(best.1, clientTime / (reads * batch)))
        }
        return best
    }

    private static func time(_ body: () -> Void) -> Int {
        func now() -> Int {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return time.tv_sec * 1_000_000_000 + time.tv_nsec
        }
        let start = now()
        body()
        return now() - start
    }
}
