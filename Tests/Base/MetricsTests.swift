import MartletMetrics
import Testing

@Suite struct MetricsTests {
    @Test func `the same name and labels give the same counter`() {
        let metrics = Metrics()
        metrics.counter("refused", labels: ["protocol": "mqtt"]).add()
        metrics.counter("refused", labels: ["protocol": "mqtt"]).add(2)
        metrics.counter("refused", labels: ["protocol": "amqp"]).add()
        metrics.counter("accepted").add()
        #expect(
            metrics.snapshot() == [
                MetricSample("accepted", value: 1), MetricSample("refused", labels: ["protocol": "mqtt"], value: 3),
                MetricSample("refused", labels: ["protocol": "amqp"], value: 1),
            ])
    }

    @Test func `collectors are asked at each snapshot and may use the registry`() {
        let metrics = Metrics()
        metrics.collect { [MetricSample("asked", value: metrics.counter("times").value)] }
        metrics.counter("times").add()
        #expect(metrics.snapshot().first == MetricSample("asked", value: 1))
        metrics.counter("times").add()
        #expect(metrics.snapshot().first == MetricSample("asked", value: 2))
    }

    @Test func `counting from many tasks loses nothing`() async {
        let counter = Counter()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<10_000 { counter.add() } } }
        }
        #expect(counter.value == 80_000)
    }
}
