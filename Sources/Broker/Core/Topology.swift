import MartletBytes
import MartletCollections

/// One binding through which a message reaches a queue, before those of one queue are put together.
struct RouteMatch: Sendable {
    var shard: UInt8
    var queue: QueueID
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
        case pattern([UInt8])
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
    var bindings = Slab<Binding>()
    private var index = BindingIndex()
    /// `route`'s, kept from message to message.
    private var visited: [HubID] = []
    private var found: [UInt32] = []
    var retained = Retained()
    var readers: [GatewayID: any HeaderReader] = [:]
    private(set) var changes: [TopologyChange] = []
    private(set) var changeCount: UInt64 = 0
    private static let changesKept = 512

    mutating func namespace(_ name: [UInt8]) -> Int {
        if let known = namespaces.firstIndex(where: { $0.name == name }) { return known }
        namespaces.append(Namespace(name: name))
        return namespaces.count - 1
    }

    mutating func declareHub(_ name: [UInt8], _ kind: Hub.Kind, in namespace: Int) -> HubID {
        if let known = namespaces[namespace].hubs[name] { return known }
        hubs.append(Hub(namespace: namespace, name: name, kind: kind))
        let hub = HubID(UInt32(hubs.count - 1))
        namespaces[namespace].hubs[name] = hub
        return hub
    }

    func hub(_ id: HubID) -> Hub { hubs[Int(id.number)]! }

    private mutating func note(_ hub: HubID, _ pattern: Pattern?) {
        let scope: TopologyChange.Scope =
            switch (self.hub(hub).kind, pattern) {
            case _ where self.hub(hub).feeders > 0: .everything
            case (.topic, .address(let bytes)): Address.hasWildcard(bytes.span) ? .pattern(bytes) : .address(bytes)
            case (.direct, .address(let bytes)): .address(bytes)
            default: .wholeHub
            }
        changeCount += 1
        changes.append(TopologyChange(hub: hub, scope: scope))
        if changes.count >= 2 * Self.changesKept { changes.removeFirst(Self.changesKept) }
    }

    mutating func setAlternate(of hub: HubID, to alternate: HubID) {
        let old = self.hub(hub).alternate
        if !old.isNone { self.hub(old).feeders -= 1 }
        self.hub(hub).alternate = alternate
        if !alternate.isNone { self.hub(alternate).feeders += 1 }
        note(hub, nil)
    }

    mutating func bind(_ hub: HubID, _ pattern: Pattern, to target: Binding.Target, _ options: BindingOptions, chain: inout UInt32) -> (
        number: UInt32, isNew: Bool
    ) {
        let known = find(hub, pattern, target)
        if known != 0 {
            bindings[known].options = options
            note(hub, pattern)
            return (known, false)
        }
        let number = bindings.insert(Binding(hub: hub, target: target, options: options, since: retained.version))
        bindings[number].nextOfTarget = chain
        if chain != 0 { bindings[chain].previousOfTarget = number }
        chain = number
        self.hub(hub).matcher.bind(number, under: pattern, in: &bindings)
        index.insert(number, in: bindings)
        if case .hub(let next) = target { self.hub(next).feeders += 1 }
        note(hub, pattern)
        return (number, true)
    }

    /// The binding that was removed; 0 if there was none.
    mutating func unbind(_ hub: HubID, _ pattern: Pattern, from target: Binding.Target, chain: inout UInt32) -> UInt32 {
        let number = find(hub, pattern, target)
        guard number != 0 else { return 0 }
        let next = bindings[number].nextOfTarget, previous = bindings[number].previousOfTarget
        if previous == 0 { chain = next } else { bindings[previous].nextOfTarget = next }
        if next != 0 { bindings[next].previousOfTarget = previous }
        remove(number)
        note(hub, pattern)
        return number
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
        index.remove(number, in: bindings)
        hub(binding.hub).matcher.unbind(number, in: &bindings)
        if case .hub(let next) = binding.target { hub(next).feeders -= 1 }
        bindings.remove(number)
    }

    /// Follows bindings from hub to hub, each hub once. True if the answer depends on hub and address alone.
    mutating func route(_ message: borrowing Message, into matches: inout [RouteMatch]) -> Bool {
        var next = 0, isCacheable = true
        visited.removeAll(keepingCapacity: true)
        visited.append(message.hub)
        while next < visited.count {
            let hub = hub(visited[next])
            next += 1
            if !hub.matcher.dependsOnAddressOnly { isCacheable = false }
            found.removeAll(keepingCapacity: true)
            let headers = hub.matcher.dependsOnAddressOnly ? nil : readers[message.header.origin]
            hub.matcher.match(message, headers, in: bindings, into: &found)
            for number in found {
                let binding = bindings[number]
                switch binding.target {
                case .queue(let queue, let shard):
                    matches.append(RouteMatch(shard: shard, queue: queue, binding: number, options: binding.options, since: binding.since))
                case .hub(let further): if !visited.contains(further) { visited.append(further) }
                }
            }
            // Only the hub that was published to has its alternate asked, and only if nothing at all took the message.
            if next == visited.count, matches.isEmpty, visited.count == 1 || found.isEmpty, !hub.alternate.isNone, !visited.contains(hub.alternate) {
                visited.append(hub.alternate)
            }
        }
        return isCacheable
    }
}
