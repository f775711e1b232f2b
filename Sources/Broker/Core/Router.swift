import MartletBytes
import MartletCollections
public import Synchronization

/// Who gets what: namespaces, hubs and bindings of the whole server, shared by its shards behind one lock.
///
/// A shard reads it through its `MatchCache`, checked against `generation`, so the cached route takes no lock. `generation` is
/// raised before a change returns: an acknowledgement sent afterwards promises what every shard already sees.
/// Not here: queues and messages, which belong to shards.
public final class Router: Sendable {
    let topology = Mutex(Topology())
    /// Raised by every change of a binding.
    public let generation = Atomic<UInt64>(0)
    /// The order of the journal's blocks, over all shards and all runs of the server.
    private let blocks = Atomic<UInt64>(0)
    /// The last queue's serial number.
    private let serials = Atomic<UInt64>(0)
    /// While the server starts: what is there again, by serial number.
    private let restoredQueues = Mutex<[UInt64: (shard: UInt8, queue: QueueID)]>([:])
    private let restoredGroups = Mutex<[[UInt8]: (serial: UInt64, name: JournalName)]>([:])
    private let endpoints = Mutex(EndpointRegistry())
    private let groups = Mutex<[GroupKey: (owner: UInt8, members: Int)]>([:])

    /// The namespace `/` with its topic hub `amq.topic`, where all protocols meet.
    public static let defaultNamespace = 0
    public let meetingPoint: HubID

    public init() {
        meetingPoint = topology.withLock { topology in
            _ = topology.namespace(Array("/".utf8))
            return topology.declareHub(Array("amq.topic".utf8), .topic, spelled: .slashes, in: Router.defaultNamespace)
        }
    }

    /// The number of a namespace, made if it is not there.
    public func namespace(_ name: [UInt8]) -> Int { topology.withLock { $0.namespace(name) } }

    /// The hub of that name; made if it is not there. A name that exists keeps its kind: compare `kind(of:)`.
    public func declareHub(
        _ name: [UInt8], _ kind: Hub.Kind, spelled spelling: AddressSpelling = .slashes, in namespace: Int = defaultNamespace
    ) -> HubID {
        topology.withLock { $0.declareHub(name, kind, spelled: spelling, in: namespace) }
    }

    /// See `Topology.removeHub`.
    func removeHub(_ hub: HubID) -> [(target: Binding.Target, chain: UInt32)] {
        topology.withLock { topology in
            defer { generation.store(topology.changeCount, ordering: .releasing) }
            return topology.removeHub(hub)
        }
    }

    func forgetHub(_ hub: HubID) { topology.withLock { $0.forgetHub(hub) } }

    /// How many bindings a hub has.
    public func bindingCount(of hub: HubID) -> Int { topology.withLock { $0.hub(hub).bindingCount } }

    /// How many the hubs of a namespace have together.
    public func bindingCount(in namespace: Int) -> Int { topology.withLock { $0.namespaces[namespace].bindingCount } }

    /// The hubs with a binding that leads to `hub`.
    public func hubs(leadingTo hub: HubID) -> [HubID] { topology.withLock { $0.hubs(of: $0.hub(hub).leadingHere) } }

    func hubs(of chain: UInt32) -> [HubID] { topology.withLock { $0.hubs(of: chain) } }
    public func hub(_ name: [UInt8], in namespace: Int = defaultNamespace) -> HubID? { topology.withLock { $0.namespaces[namespace].hubs[name] } }
    /// What a hub and its namespace are called.
    func names(of hub: HubID) -> (namespace: [UInt8], hub: [UInt8]) {
        topology.withLock { topology in
            let hub = topology.hub(hub)
            return (topology.namespaces[hub.namespace].name, hub.name)
        }
    }
    public func kind(of hub: HubID) -> Hub.Kind? { topology.withLock { $0.hubs[Int(hub.number)]?.kind } }

    /// Where messages go that no binding of `hub` takes; `.none`: nowhere.
    public func setAlternate(of hub: HubID, to alternate: HubID) {
        topology.withLock { topology in
            topology.setAlternate(of: hub, to: alternate)
            generation.store(topology.changeCount, ordering: .releasing)
        }
    }

    /// How to read the headers of a gateway's messages.
    public func register(_ reader: any HeaderReader, for origin: GatewayID) { topology.withLock { $0.readers[origin] = reader } }

    /// What matches `pattern` goes from `hub` on to another hub. False if it did already. `record`: the binding's definition in the journal,
    /// which ends with it (`BrokerCore.endBindings`).
    @discardableResult
    public func bind(_ hub: HubID, _ pattern: Pattern, to next: HubID, record: JournalName = .none) -> Bool {
        topology.withLock { topology in
            defer { generation.store(topology.changeCount, ordering: .releasing) }
            let target = topology.hub(next)
            return topology.bind(hub, pattern, to: .hub(next), BindingOptions(), record: record, chain: &target.leadingHere).isNew
        }
    }

    /// False if there was no such binding.
    @discardableResult
    public func unbind(_ hub: HubID, _ pattern: Pattern, from next: HubID) -> Bool {
        topology.withLock { topology in
            defer { generation.store(topology.changeCount, ordering: .releasing) }
            let target = topology.hub(next)
            return topology.unbind(hub, pattern, from: .hub(next), chain: &target.leadingHere) != 0
        }
    }

    /// The binding that was removed; 0 if there was none.
    func remove(_ hub: HubID, _ pattern: Pattern, from target: Binding.Target, chain: inout UInt32) -> UInt32 {
        var first = chain
        let number = topology.withLock { topology in
            defer { generation.store(topology.changeCount, ordering: .releasing) }
            return topology.unbind(hub, pattern, from: target, chain: &first)
        }
        chain = first
        return number
    }

    /// Removes a whole list of bindings: their target is going.
    public func unbindAll(chain: inout UInt32) {
        guard chain != 0 else { return }
        var first = chain
        topology.withLock { topology in
            topology.unbindAll(chain: &first)
            generation.store(topology.changeCount, ordering: .releasing)
        }
        chain = 0
    }

    /// Every binding that takes the message, and whether the answer depends on hub and address alone.
    func route(_ message: borrowing Message, into matches: inout [RouteMatch]) -> Bool {
        topology.withLock { $0.route(message, into: &matches) }
    }

    /// The changes after generation `since`, oldest first; nil when they are no longer remembered.
    func changes(since: UInt64) -> (changes: ArraySlice<TopologyChange>, generation: UInt64)? {
        topology.withLock { topology in
            let now = generation.load(ordering: .acquiring)
            guard now - since <= UInt64(topology.changes.count) else { return nil }
            return (topology.changes.suffix(Int(now - since)), now)
        }
    }

    // MARK: The journal

    /// Records of a block have this order and those that follow it, up to 16,777,215 more.
    func nextBlockOrder() -> UInt64 { (blocks.wrappingAdd(1, ordering: .relaxed).newValue) << 24 }

    func nextSerial() -> UInt64 { serials.wrappingAdd(1, ordering: .relaxed).newValue }

    /// A queue is there again after a restart.
    func restored(_ serial: UInt64, as queue: QueueID, on shard: UInt8) {
        if serial > serials.load(ordering: .relaxed) { serials.store(serial, ordering: .relaxed) }
        restoredQueues.withLock { $0[serial] = (shard, queue) }
    }

    /// Where a queue is that was there before; nil: it is not there any more.
    public func place(ofRestored serial: UInt64) -> (shard: UInt8, queue: QueueID)? { restoredQueues.withLock { $0[serial] } }

    /// It was there twice: nothing finds it any more.
    public func forgetRestored(_ serial: UInt64) { restoredQueues.withLock { $0[serial] = nil } }

    /// Everything is restored.
    public func forgetRestored() { restoredQueues.withLock { $0 = [:] } }

    /// A hub by its name; one that is not there is made without bindings, and nobody finds it.
    func hub(restored name: [UInt8], in namespace: [UInt8]) -> (hub: HubID, isThere: Bool) {
        topology.withLock { topology in
            let number = topology.namespace(namespace)
            if let hub = topology.namespaces[number].hubs[name] { return (hub, true) }
            let hub = topology.declareHub(name, .fanout, spelled: .dots, in: number)
            topology.namespaces[number].hubs[name] = nil
            return (hub, false)
        }
    }

    /// A group's queue will be there again, under this serial number, with its first member.
    func restored(group: [UInt8], serial: UInt64, as name: JournalName) { restoredGroups.withLock { $0[group] = (serial, name) } }

    func takeRestored(group: [UInt8]) -> (serial: UInt64, name: JournalName)? { restoredGroups.withLock { $0.removeValue(forKey: group) } }

    func takeRestoredGroups() -> [JournalName] {
        restoredGroups.withLock { groups in
            defer { groups = [:] }
            return groups.values.map(\.name)
        }
    }

    /// Definitions of bindings that are no more.
    func takeEndedRecords() -> [JournalName] { topology.withLock { $0.takeEndedRecords() } }

    /// Later blocks come after this order.
    public func continueOrder(after order: UInt64) {
        let block = order >> 24
        if block > blocks.load(ordering: .relaxed) { blocks.store(block, ordering: .relaxed) }
    }

    public var bindingCount: Int { topology.withLock { $0.bindings.count } }

    // MARK: Endpoints

    /// Which shard an endpoint lives on, and its number there; claims the identity for `shard` if nobody has it.
    public func claim(_ identity: Span<UInt8>, for shard: UInt8) -> (shard: UInt8, endpoint: EndpointID) {
        let identity = identity.array
        return endpoints.withLock { $0.claim(identity.span, for: shard) }
    }

    /// The shard that an endpoint lives on, if there is one.
    public func owner(of identity: Span<UInt8>) -> UInt8? {
        let identity = identity.array
        return endpoints.withLock { $0.owner(of: identity.span) }
    }

    func settle(_ identity: Span<UInt8>, as endpoint: EndpointID) {
        let identity = identity.array
        endpoints.withLock { $0.settle(identity.span, as: endpoint) }
    }

    func release(_ identity: Span<UInt8>) {
        let identity = identity.array
        endpoints.withLock { $0.release(identity.span) }
    }

    // MARK: Groups

    /// One member more; the answer is the shard that has the group. If nobody has, it is `shard`, and `make` makes it before anybody
    /// else hears of it.
    func joinGroup(_ key: GroupKey, from shard: UInt8, _ make: () -> Void) -> UInt8 {
        groups.withLock { groups in
            let group = groups[key] ?? (owner: shard, members: 0)
            if group.members == 0 { make() }
            groups[key] = (group.owner, group.members + 1)
            return group.owner
        }
    }

    /// One member less; true if it was the last, and the group is no more.
    func leaveGroup(_ key: GroupKey) -> Bool {
        groups.withLock { groups in
            guard let group = groups[key] else { return false }
            groups[key] = group.members == 1 ? nil : (group.owner, group.members - 1)
            return group.members == 1
        }
    }
}

/// Identity -> the shard that has the endpoint.
private struct EndpointRegistry: ~Copyable {
    private var owners = ByteMap<(shard: UInt8, endpoint: EndpointID)>(seed: .random(in: .min ... .max))

    mutating func claim(_ identity: Span<UInt8>, for shard: UInt8) -> (shard: UInt8, endpoint: EndpointID) {
        if let place = owners.find(identity) { return owners[place: place] }
        owners.insert((shard, .none), identity)
        return (shard, .none)
    }
    func owner(of identity: Span<UInt8>) -> UInt8? { owners.find(identity).map { owners[place: $0].shard } }

    mutating func settle(_ identity: Span<UInt8>, as endpoint: EndpointID) {
        if let place = owners.find(identity) { owners[place: place].endpoint = endpoint }
    }
    mutating func release(_ identity: Span<UInt8>) {
        if let place = owners.find(identity) { owners.remove(at: place) }
    }
}
