/// A named place that messages are published to (AMQP's exchange): one matcher, its bindings, nothing of its own.
/// Part of the router's shared state: touched only under its lock.
public final class Hub {
    public enum Kind: UInt8, Sendable { case direct, fanout, topic, headers }

    let namespace: Int
    let name: [UInt8]
    let kind: Kind
    let spelling: AddressSpelling
    let matcher: any Matcher
    /// Where a message goes that no binding takes.
    var alternate = HubID.none
    /// Its bindings, and those of other hubs that lead to it.
    var firstBinding: UInt32 = 0
    var bindingCount = 0
    var leadingHere: UInt32 = 0
    /// Other hubs that are bound to lead here, or name it as their alternate: a change here changes their routes.
    var feeders = 0

    init(namespace: Int, name: [UInt8], kind: Kind, spelling: AddressSpelling) {
        self.namespace = namespace
        self.name = name
        self.kind = kind
        self.spelling = spelling
        matcher =
            switch kind {
            case .direct: DirectMatcher()
            case .fanout: FanoutMatcher()
            case .topic: TopicMatcher(spelling)
            case .headers: HeadersMatcher()
            }
    }
}

/// A separate world of hubs and queues (AMQP's virtual host).
struct Namespace {
    let name: [UInt8]
    var hubs: [[UInt8]: HubID] = [:]
    /// Of all its hubs.
    var bindingCount = 0
}
