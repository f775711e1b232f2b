/// A named place that messages are published to (AMQP's exchange): one matcher, its bindings, nothing of its own.
/// Part of the router's shared state: touched only under its lock.
public final class Hub {
    public enum Kind: UInt8, Sendable { case direct, fanout, topic, headers }

    let namespace: Int
    let name: [UInt8]
    let kind: Kind
    let matcher: any Matcher
    /// Where a message goes that no binding takes.
    var alternate = HubID.none
    /// Other hubs that are bound to lead here, or name it as their alternate: a change here changes their routes.
    var feeders = 0

    init(namespace: Int, name: [UInt8], kind: Kind) {
        self.namespace = namespace
        self.name = name
        self.kind = kind
        matcher =
            switch kind {
            case .direct: DirectMatcher()
            case .fanout: FanoutMatcher()
            case .topic: TopicMatcher()
            case .headers: HeadersMatcher()
            }
    }
}

/// A separate world of hubs and queues (AMQP's virtual host).
struct Namespace {
    let name: [UInt8]
    var hubs: [[UInt8]: HubID] = [:]
}
