import Synchronization

/// One measured number at the moment of a snapshot.
public struct MetricSample: Sendable, Equatable {
    public let name: String
    /// In the order of registration, which is the order of output.
    public let labels: [Label]
    public let value: UInt64

    public struct Label: Sendable, Hashable {
        public let name: String
        public let value: String
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    public init(_ name: String, labels: KeyValuePairs<String, String> = [:], value: UInt64) {
        self.init(name: name, labels: labels.map { Label($0.key, $0.value) }, value: value)
    }
    init(name: String, labels: [Label], value: UInt64) {
        self.name = name
        self.labels = labels
        self.value = value
    }
}

/// All counters of a process by name and labels, and the closures that know the rest.
///
/// Invariant: one counter per name and labels, however often it is asked for. A snapshot is sorted by name; within a name
/// the order is that of registration, collectors last. Not here: a text format (the one who serves `/metrics` has it).
public final class Metrics: Sendable {
    /// Called at each snapshot, outside the registry's lock, on the thread that takes it.
    public typealias Collector = @Sendable () -> [MetricSample]

    private struct Key: Hashable {
        let name: String
        let labels: [MetricSample.Label]
    }
    private struct Registry {
        var order: [Key] = []
        var counters: [Key: Counter] = [:]
        var collectors: [Collector] = []
    }
    private let registry = Mutex(Registry())

    public init() {}

    public func counter(_ name: String, labels: KeyValuePairs<String, String> = [:]) -> Counter {
        let key = Key(name: name, labels: labels.map { MetricSample.Label($0.key, $0.value) })
        return registry.withLock { registry in
            if let known = registry.counters[key] { return known }
            let counter = Counter()
            registry.counters[key] = counter
            registry.order.append(key)
            return counter
        }
    }

    public func collect(_ collector: @escaping Collector) {
        registry.withLock { $0.collectors.append(collector) }
    }

    public func snapshot() -> [MetricSample] {
        let (counted, collectors) = registry.withLock { registry in
            let counted = registry.order.compactMap { key in
                registry.counters[key].map { MetricSample(name: key.name, labels: key.labels, value: $0.value) }
            }
            return (counted, registry.collectors)
        }
        let samples = counted + collectors.flatMap { $0() }
        return samples.enumerated().sorted { ($0.element.name, $0.offset) < ($1.element.name, $1.offset) }.map(\.element)
    }
}
