import MartletEventLoop
import MartletNet
import Testing

@Suite struct NetErrorTests {
    @Test func `an error is one sentence: what was tried, why, how long, what to do`() {
        let refused = NetError(errno: -111, .connect, "127.0.0.1:9", elapsed: .milliseconds(1))
        #expect("\(refused)" == "cannot connect to 127.0.0.1:9: refused after 1 ms; is the server running?")
        #expect(refused.errno == 111)
        let quick = NetError(errno: 104, .read, "[::1]:9", elapsed: .microseconds(320))
        #expect("\(quick)" == "cannot read from [::1]:9: reset by the peer after 0.3 ms; the peer crashed, gave up or closed with bytes unread")
        let port = NetError(errno: 13, .listen, "127.0.0.1:80")
        #expect("\(port)" == "cannot listen on 127.0.0.1:80: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE")
        let late = NetError(.timedOut, .connect, "10.0.0.1:80", elapsed: .milliseconds(1_540), detail: "2 addresses")
        #expect("\(late)".hasPrefix("cannot connect to 10.0.0.1:80: timed out after 1.5 s (2 addresses); "))
        #expect("\(NetError(errno: 22, .bind, "x"))" == "cannot bind x: invalid argument")
    }

    @Test(
        arguments: [
            (111, NetError.Kind.refused), (104, .reset), (32, .reset), (110, .timedOut), (101, .unreachable), (113, .unreachable), (98, .addressInUse),
            (99, .addressNotAvailable), (13, .permissionDenied), (1, .permissionDenied), (90, .tooLong), (2, .refused), (22, .other),
        ] as [(Int32, NetError.Kind)])
    func `a system's number is a kind`(errno: Int32, kind: NetError.Kind) { #expect(NetError(errno: errno, .connect, "x").kind == kind) }

    @Test func `every kind in every phase makes a sentence`() {
        for kind in NetError.Kind.allCases {
            for phase in NetError.Phase.allCases {
                let text = "\(NetError(kind, phase, "example.org:1"))"
                #expect(text.contains("example.org:1: ") && !text.contains(":  ") && !text.hasSuffix("; "))
            }
        }
    }
}
