import MartletMetrics
import Testing

@Suite struct MetricsTextTests {
    private func text(_ write: (inout MetricsText) -> Void) -> [String] {
        var text = MetricsText()
        write(&text)
        return String(decoding: text.bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    @Test func `a metric has its meaning, its kind and its samples`() {
        let lines = text {
            $0.begin("a_total", .counter, "what a is")
            $0.sample(7)
            $0.begin("b", .gauge, "what b is", labels: ["x", "y"])
            $0.sample(1, "one", "")
            $0.sample(fraction: 0.5, "two", "Ü")
        }
        #expect(
            lines == [
                "# HELP a_total what a is", "# TYPE a_total counter", "a_total 7", "# HELP b what b is", "# TYPE b gauge", "b{x=\"one\",y=\"\"} 1",
                "b{x=\"two\",y=\"Ü\"} 0.5", "",
            ])
    }

    @Test func `what a label holds cannot end it`() {
        let lines = text {
            $0.begin("a", .gauge, "a \\ b \"c\"\nd", labels: ["x"])
            $0.sample(1, "a\\b\"c\nd\r\0")
        }
        #expect(lines == ["# HELP a a \\\\ b \"c\"\\nd", "# TYPE a gauge", "a{x=\"a\\\\b\\\"c\\nd\r\0\"} 1", ""])
    }

    @Test(arguments: [
        (0, "0"), (1, "1"), (-2.5, "-2.5"), (1e-5, "1e-05"), (1e21, "1e+21"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"),
        (0.1 + 0.2, "0.30000000000000004"),
    ]) func `fractions`(_ value: Double, _ expected: String) {
        let lines = text {
            $0.begin("a", .gauge, "a")
            $0.sample(fraction: value)
        }
        #expect(lines[2] == "a \(expected)")
    }

    @Test func `the largest count is written whole`() {
        let lines = text {
            $0.begin("a_total", .counter, "a")
            $0.sample(UInt64.max)
        }
        #expect(lines[2] == "a_total 18446744073709551615")
    }

    @Test func `a histogram's buckets hold those below them`() {
        let lines = text {
            $0.begin("t_seconds", .histogram, "t", labels: ["loop"])
            $0.histogram(bounds: [0.001, 1], counts: [3, 0, 2], sum: 7.25, "0")
        }
        #expect(
            Array(lines[2...]) == [
                "t_seconds_bucket{loop=\"0\",le=\"0.001\"} 3", "t_seconds_bucket{loop=\"0\",le=\"1\"} 3", "t_seconds_bucket{loop=\"0\",le=\"+Inf\"} 5",
                "t_seconds_sum{loop=\"0\"} 7.25", "t_seconds_count{loop=\"0\"} 5", "",
            ])
    }
}
