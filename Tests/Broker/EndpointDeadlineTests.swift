import MartletBytes
import MartletCollections
import MartletCore
import Testing

/// Endpoints that wait for their end: many at once, and many in a row.
@Suite struct EndpointDeadlineTests {
    private func open(_ bench: CoreBench, _ name: String, lifetime: Duration) -> EndpointID {
        let identity = Array(name.utf8)
        _ = bench.router.claim(identity.span, for: 0)
        let endpoint = bench.core.value.openEndpoint(identity.span, gateway: bench.gateway, queue: QueuePolicy(), lifetime: lifetime)
        bench.core.value.attach(endpoint, token: 1, gatewayState: 1, lifetime: lifetime, into: &bench.effects.value)
        _ = bench.core.value.detach(endpoint, lost: true, into: &bench.effects.value)
        return endpoint
    }

    private func wake(_ bench: CoreBench, at seconds: Int64) -> Int {
        bench.core.value.wake(at: Instant(nanoseconds: seconds * 1_000_000_000), into: &bench.effects.value)
        let ended = bench.effects.value.ended.count
        bench.effects.value.removeAnnouncements { _ in }
        return ended
    }

    @Test("The end of very many at once takes time by their number, not by its square") func manyAtOnce() {
        let bench = CoreBench()
        for number in 0..<20_000 { _ = open(bench, "\(number)", lifetime: .seconds(10)) }
        #expect(wake(bench, at: 9) == 0)
        var ended = 0
        let time = ContinuousClock().measure { ended = wake(bench, at: 10) }
        #expect(ended == 20_000)
        #expect(bench.core.value.endpointCount == 0)
        #expect(time < .seconds(5))
    }

    @Test("One that is ended and made anew leaves no deadlines behind") func manyInARow() {
        let bench = CoreBench()
        let others = (0..<10).map { open(bench, "other \($0)", lifetime: .seconds(20)) }
        for _ in 0..<20_000 {
            let endpoint = open(bench, "again", lifetime: .seconds(86_400))
            bench.core.value.deleteEndpoint(endpoint, into: &bench.effects.value)
        }
        #expect(bench.core.value.scheduledEndpointCount < 3000)
        #expect(wake(bench, at: 20) == others.count)
        #expect(wake(bench, at: 100_000) == 0)
        #expect(bench.core.value.deadline == .never)
    }
}
