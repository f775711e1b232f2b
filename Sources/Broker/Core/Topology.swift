import MartletBytes
import MartletCollections

/// One binding through which a message reaches a queue, before those of one queue are put together.
struct RouteMatch: Sendable {
    var shard: UInt8
    var queue: QueueID
    /// The queue's serial number.
    var serial: UInt64
    var binding: UInt32
    var options: BindingOptions
    /// `Binding.since`.
    var since: UInt64
}

/// What changed, so that a cache can drop just what it must.
struct TopologyChange {
    enum Scope {
        /// One address of the hub.
        case address([UInt8])
        /// What matches a pattern with wildcards.
        case pattern([UInt8], AddressSpelling)
        case wholeHub
        /// Routes of other hubs lead through this one.
        case everything
    }
    let hub: HubID
    let scope: Scope
}

/// The router's state: everything behind its lock.
struct Topology: ~Copyable {
    var namespaces: [Namespace] = []
    var hubs: [Hub?] = [nil]
    private var freeHubs: [HubID] = []
    var bindings = Slab<Binding>()
    private var index = BindingIndex()
    /// `route`'s, kept from message to message.
    private var visited: [HubID] = []
    private var found: [UInt32] = []
    var retained = Retained()
    var readers: [GatewayID: any HeaderReader] = [:]
    /// Definitions of bindings that are no more, until somebody writes it down.
    private var endedRecords: [JournalName] = []
    private(set) var changes: [TopologyChange] = []
    private(set) var changeCount: UInt64 = 0
    private static let changesKept = 512

    mutating func namespace(_ name: [UInt8]) -> Int {
        if let known = namespaces.firstIndex(where: { $0.name == name }) { return known }
        namespaces.append(Namespace(name: name))
        return namespaces.count - 1
    }

    mutating func declareHub(_ name: [UInt8], _ kind: Hub.Kind, spelled spelling: AddressSpelling, in namespace: Int) -> HubID {
        if let known = namespaces[namespace].hubs[name] { return known }
        let id = freeHubs.popLast() ?? HubID(UInt32(hubs.count))
        let hub = Hub(namespace: namespace, name: name, kind: kind, spelling: spelling)
        if Int(id.number) == hubs.count { hubs.append(hub) } else { hubs[Int(id.number)] = hub }
        namespaces[namespace].hubs[name] = id
        return id
    }

    /// Removes a hub with its bindings and those that lead to it. Its number names nothing else before `forgetHub`. The answer: queues
    /// whose list of bindings begins elsewhere now; where one comes twice, the last counts.
    mutating func removeHub(_ id: HubID) -> [(target: Binding.Target, chain: UInt32)] {
        var moved: [(target: Binding.Target, chain: UInt32)] = []
        let hub = hub(id)
        note(id, nil)
        while hub.firstBinding != 0 {
            let number = hub.firstBinding, binding = bindings[number]
            if let chain = unlinkFromTarget(number) {
                if case .hub(let next) = binding.target { self.hub(next).leadingHere = chain } else { moved.append((binding.target, chain)) }
            }
            remove(number)
        }
        unbindAll(chain: &hub.leadingHere)
        setAlternate(of: id, to: .none)
        for other in namespaces[hub.namespace].hubs.values where self.hub(other).alternate == id { setAlternate(of: other, to: .none) }
        namespaces[hub.namespace].hubs[hub.name] = nil
        return moved
    }

    /// The number of a removed hub may name another one now.
    mutating func forgetHub(_ id: HubID) {
        hubs[Int(id.number)] = nil
        freeHubs.append(id)
    }

    func hub(_ id: HubID) -> Hub { hubs[Int(id.number)]! }

    private mutating func note(_ id: HubID, _ pattern: Pattern?) {
        let hub = hub(id)
        let scope: TopologyChange.Scope =
            switch (hub.kind, pattern) {
            case _ where hub.feeders > 0: .everything
            case (.topic, .address(let bytes)): hub.spelling.hasWildcard(bytes.span) ? .pattern(bytes, hub.spelling) : .address(bytes)
            case (.direct, .address(let bytes)): .address(bytes)
            default: .wholeHub
            }
        changeCount += 1
        changes.append(TopologyChange(hub: id, scope: scope))
        if changes.count >= 2 * Self.changesKept { changes.removeFirst(Self.changesKept) }
    }

    mutating func setAlternate(of hub: HubID, to alternate: HubID) {
        let old = self.hub(hub).alternate
        if !old.isNone { self.hub(old).feeders -= 1 }
        self.hub(hub).alternate = alternate
        if !alternate.isNone { self.hub(alternate).feeders += 1 }
        note(hub, nil)
    }

    mutating func bind(
        _ hub: HubID, _ pattern: Pattern, to target: Binding.Target, _ options: BindingOptions, serial: UInt64 = 0, record: JournalName = .none,
        chain: inout UInt32
    ) -> (
        number: UInt32, isNew: Bool
    ) {
        let known = find(hub, pattern, target)
        if known != 0 {
            bindings[known].options = options
            endRecord(of: known)
            bindings[known].record = record
            note(hub, pattern)
            return (known, false)
        }
        let number = bindings.insert(Binding(hub: hub, target: target, serial: serial, record: record, options: options, since: retained.version))
        bindings[number].nextOfTarget = chain
        if chain != 0 { bindings[chain].previousOfTarget = number }
        chain = number
        let source = self.hub(hub)
        bindings[number].nextOfHub = source.firstBinding
        if source.firstBinding != 0 { bindings[source.firstBinding].previousOfHub = number }
        source.firstBinding = number
        source.bindingCount += 1
        namespaces[source.namespace].bindingCount += 1
        source.matcher.bind(number, under: pattern, in: &bindings)
        index.insert(number, in: bindings)
        if case .hub(let next) = target { self.hub(next).feeders += 1 }
        note(hub, pattern)
        return (number, true)
    }

    /// The binding that was removed; 0 if there was none.
    mutating func unbind(_ hub: HubID, _ pattern: Pattern, from target: Binding.Target, chain: inout UInt32) -> UInt32 {
        let number = find(hub, pattern, target)
        guard number != 0 else { return 0 }
        if let first = unlinkFromTarget(number) { chain = first }
        remove(number)
        note(hub, pattern)
        return number
    }

    /// Where the target's list begins now, if that is elsewhere than before.
    private mutating func unlinkFromTarget(_ number: UInt32) -> UInt32? {
        let next = bindings[number].nextOfTarget, previous = bindings[number].previousOfTarget
        if previous != 0 { bindings[previous].nextOfTarget = next }
        if next != 0 { bindings[next].previousOfTarget = previous }
        return previous == 0 ? next : nil
    }

    /// The binding of `target` to `hub` under `pattern`, or 0.
    func find(_ hub: HubID, _ pattern: Pattern, _ target: Binding.Target) -> UInt32 {
        let place = self.hub(hub).matcher.find(pattern)
        return place == 0 ? 0 : index.find(hub, place, target, in: bindings)
    }

    mutating func unbindAll(chain: inout UInt32) {
        while chain != 0 {
            let number = chain
            chain = bindings[number].nextOfTarget
            let hub = bindings[number].hub
            note(hub, self.hub(hub).matcher.pattern(of: number, in: bindings))
            remove(number)
        }
    }

    private mutating func remove(_ number: UInt32) {
        let binding = bindings[number]
        let source = hub(binding.hub)
        index.remove(number, in: bindings)
        source.matcher.unbind(number, in: &bindings)
        if binding.previousOfHub == 0 { source.firstBinding = binding.nextOfHub } else { bindings[binding.previousOfHub].nextOfHub = binding.nextOfHub }
        if binding.nextOfHub != 0 { bindings[binding.nextOfHub].previousOfHub = binding.previousOfHub }
        source.bindingCount -= 1
        namespaces[source.namespace].bindingCount -= 1
        if case .hub(let next) = binding.target { hub(next).feeders -= 1 }
        endRecord(of: number)
        bindings.remove(number)
    }

    private mutating func endRecord(of number: UInt32) { if !bindings[number].record.isNone { endedRecords.append(bindings[number].record) } }

    /// Each once.
    mutating func takeEndedRecords() -> [JournalName] {
        guard !endedRecords.isEmpty else { return [] }
        defer { endedRecords.removeAll() }
        return endedRecords
    }

    /// The hubs that a list of bindings comes from.
    func hubs(of chain: UInt32) -> [HubID] {
        var hubs: [HubID] = [], seen: Set<HubID> = [], number = chain
        while number != 0 {
            if seen.insert(bindings[number].hub).inserted { hubs.append(bindings[number].hub) }
            number = bindings[number].nextOfTarget
        }
        return hubs
    }

    /// Follows bindings from hub to hub, each hub once, and where a hub's bindings do not match, to its alternate. True if the answer depends on hub and address alone.
    mutating func route(_ message: borrowing Message, into matches: inout [RouteMatch]) -> Bool {
        var next = 0, isCacheable = true
        let spelling = hub(message.hub).spelling
        visited.removeAll(keepingCapacity: true)
        visited.append(message.hub)
        while next < visited.count {
            let hub = hub(visited[next])
            next += 1
            if !hub.matcher.dependsOnAddressOnly { isCacheable = false }
            found.removeAll(keepingCapacity: true)
            let headers = hub.matcher.dependsOnAddressOnly ? nil : readers[message.header.origin]
            if hub.spelling == spelling {
                hub.matcher.match(message, headers, in: bindings, into: &found)
            } else {
                let address = Address.convert(message.address, to: hub.spelling)
                let respelled = Message(
                    hub: message.hub, address: address.span, properties: message.properties, body: message.body, header: message.header)
                hub.matcher.match(respelled, headers, in: bindings, into: &found)
            }
            for number in found {
                let binding = bindings[number]
                switch binding.target {
                case .queue(let queue, let shard):
                    matches.append(
                        RouteMatch(
                            shard: shard, queue: queue, serial: binding.serial, binding: number, options: binding.options, since: binding.since))
                case .hub(let further): if !visited.contains(further) { visited.append(further) }
                }
            }
            if found.isEmpty, !hub.alternate.isNone, !visited.contains(hub.alternate) { visited.append(hub.alternate) }
        }
        return isCacheable
    }
}
