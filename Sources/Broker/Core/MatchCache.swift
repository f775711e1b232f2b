import MartletBytes
import MartletCollections
import Synchronization

/// One queue of this shard that a message goes to.
struct RouteTarget: BitwiseCopyable {
    var queue: QueueID
    /// All bindings through which it does, when the gateway has to be told of them (more than one, or a named one).
    var matches: MatchListID
    /// The largest of the bindings' opaque options.
    var opaque: UInt16
    /// At most once only if every binding is; no-local only if every binding is.
    var flags: BindingOptions.Flags
    /// The queue's policy: what may be lost passes it by.
    var passesAtMostOnce: Bool

    /// A persistent message for it is written to the journal.
    @inline(__always) var isJournaled: Bool { flags.isSuperset(of: .durable) && !flags.contains(.atMostOnce) }
}

/// A queue, here or elsewhere, that survives a restart.
struct DurableTarget: BitwiseCopyable {
    let shard: UInt8
    let serial: UInt64
}

/// The answer to "where does this hub's address go", as one shard needs it.
struct Route: ~Copyable {
    var targets = OwnedArray<RouteTarget>()
    /// Bit n: shard n has targets of its own.
    var remoteShards: UInt64 = 0
    /// The targets, here and elsewhere, that survive a restart, shard by shard, and here in the order of `targets`. None without a journal.
    var durable = OwnedArray<DurableTarget>()
    /// What a journal record says of them, and then of the hub (`JournalRecord`).
    var recordBytes = OwnedBytes()
    var recordTargetsCount = 0
    /// The youngest of its bindings (`Binding.since`).
    var newest: UInt64 = 0
}

/// The bindings of one target, shared by the cached route and the queue entries that came through it.
public struct MatchList: ~Copyable {
    let matches: OwnedArray<BindingMatch>
    var owners: UInt32
}

/// Hub and address -> route, for one shard. Right for `generation` of the router; dropped piece by piece as bindings change.
struct MatchCache: ~Copyable {
    var routes = ByteMap<Route>(seed: .random(in: .min ... .max), minimumCapacity: 64)
    var generation: UInt64 = 0
    /// Where the last message's route is, since a batch mostly has one address; -1: it may have moved.
    var lastPlace = -1
    /// Addresses kept; beyond it the cache starts anew. (100 k topics cost a match 134 ns, from memory; without the cache 282.)
    static let addressesMax = 65_536
    /// Bytes of an address that is kept: the longest make 64 MB together, and nobody means to use a long one often.
    static let addressBytesMax = 1024
}

extension BrokerCore {
    private static let comparisonsMax = 100_000

    /// The place of the message's route in the cache, found out from the router if need be.
    mutating func route(_ message: borrowing Message) -> Int {
        let generation = router.generation.load(ordering: .acquiring)
        if cache.generation != generation { refreshCache() }
        if cache.lastPlace >= 0, cache.routes.holds(message.address, message.hub.number, at: cache.lastPlace) { return cache.lastPlace }
        if let place = cache.routes.find(message.address, message.hub.number) {
            cache.lastPlace = place
            return place
        }
        return findRoute(message)
    }

    @inline(never) private mutating func findRoute(_ message: borrowing Message) -> Int {
        var matches = routeMatches
        routeMatches = []
        let isCacheable = router.route(message, into: &matches)
        let route = assemble(&matches, of: message.hub)
        matches.removeAll(keepingCapacity: true)
        routeMatches = matches
        if cache.routes.count >= MatchCache.addressesMax { clearCache() }
        let place = cache.routes.insert(route, message.address, message.hub.number)
        cache.lastPlace = -1
        if !isCacheable || message.address.count > MatchCache.addressBytesMax { uncacheablePlace = place }
        return place
    }

    /// Puts the bindings of each target together.
    mutating func assemble(_ matches: inout [RouteMatch], of hub: HubID) -> Route {
        var route = Route()
        for match in matches { route.newest = max(route.newest, match.since) }
        if matches.count > 1 {
            matches.sort { ($0.shard, $0.queue.number, $1.options.opaque, $0.binding) < ($1.shard, $1.queue.number, $0.options.opaque, $1.binding) }
        }
        routeTargets.removeAll(keepingCapacity: true)
        var durable: [DurableTarget] = [], recordBytes = ByteBuffer()
        var index = 0
        while index < matches.count {
            let first = index, match = matches[first]
            var flags = match.options.flags, isOne = true
            index += 1
            while index < matches.count, matches[index].shard == match.shard, matches[index].queue == match.queue {
                if matches[index].binding != matches[index - 1].binding { isOne = false }
                if !matches[index].options.flags.contains(.atMostOnce) { flags.remove(.atMostOnce) }
                if !matches[index].options.flags.contains(.noLocal) { flags.remove(.noLocal) }
                index += 1
            }
            let needsList = !isOne || match.options.tag != 0
            // What a session gets at most once is not kept, and nobody waits for the disk because of it.
            if isJournaled, flags.contains(.durable), !flags.contains(.atMostOnce) {
                durable.append(DurableTarget(shard: match.shard, serial: match.serial))
                let list = needsList ? Self.list(of: matches[first..<index]) : []
                JournalRecord.appendTarget(match.serial, opaque: match.options.opaque, matches: list, to: &recordBytes)
            }
            guard match.shard == shard else { route.remoteShards |= 1 << UInt64(match.shard); continue }
            let list = needsList ? makeList(Self.list(of: matches[first..<index])) : .none
            routeTargets.append(
                RouteTarget(
                    queue: match.queue, matches: list, opaque: match.options.opaque, flags: flags,
                    passesAtMostOnce: policies[Int(queues[match.queue.number].policy)].passesAtMostOnce))
        }
        route.targets = OwnedArray(routeTargets)
        if isJournaled {
            route.durable = OwnedArray(durable)
            route.recordTargetsCount = recordBytes.count
            let names = router.names(of: hub)
            JournalRecord.appendNames(names.namespace, names.hub, to: &recordBytes)
            route.recordBytes = OwnedBytes(copying: recordBytes.span)
        }
        return route
    }

    mutating func makeList(_ list: [BindingMatch]) -> MatchListID { MatchListID(matchLists.insert(MatchList(matches: OwnedArray(list), owners: 1))) }

    /// The bindings of one target; those that came twice stand side by side.
    private static func list(of matches: ArraySlice<RouteMatch>) -> [BindingMatch] {
        var list: [BindingMatch] = []
        for index in matches.indices where index == matches.startIndex || matches[index].binding != matches[index - 1].binding {
            list.append(BindingMatch(opaque: matches[index].options.opaque, tag: matches[index].options.tag))
        }
        return list
    }

    /// Drops what the changes since the last look may have touched.
    @inline(never) private mutating func refreshCache() {
        guard let (changes, generation) = router.changes(since: cache.generation) else {
            cache.generation = router.generation.load(ordering: .acquiring)
            return clearCache()
        }
        cache.generation = generation
        let patterns = changes.reduce(0) { if case .pattern = $1.scope { $0 + 1 } else { $0 } }
        // Each pattern is held against every route: beyond this, finding the routes anew is cheaper.
        if patterns * cache.routes.count > Self.comparisonsMax { return clearCache() }
        for change in changes {
            if cache.routes.count == 0 { return }
            switch change.scope {
            case .address(let address):
                if let place = cache.routes.find(address.span, change.hub.number) { forgetRoute(at: place) }
            case .pattern(let pattern, let spelling):
                forgetRoutes { address, hub in hub == change.hub.number && Address.matches(pattern.span, address, spelled: spelling) }
            case .wholeHub: forgetRoutes { _, hub in hub == change.hub.number }
            case .everything: clearCache()
            }
        }
    }

    private mutating func clearCache() { forgetRoutes { _, _ in true } }

    private mutating func forgetRoutes(where condition: (Span<UInt8>, UInt32) -> Bool) {
        // Deliveries that have not been made yet may name them.
        var dropped: [MatchListID] = []
        cache.routes.removeAll { key, number, route in
            guard condition(key, number) else { return false }
            for index in 0..<route.targets.count where !route.targets[index].matches.isNone { dropped.append(route.targets[index].matches) }
            return true
        }
        cache.lastPlace = -1
        spentLists += dropped
    }

    private mutating func forgetRoute(at place: Int) {
        for index in 0..<cache.routes[place: place].targets.count {
            let list = cache.routes[place: place].targets[index].matches
            if !list.isNone { spentLists.append(list) }
        }
        cache.routes.remove(at: place)
        cache.lastPlace = -1
    }

    /// Forgets a route that was good for one message.
    mutating func forgetUncacheableRoute() {
        forgetRoute(at: uncacheablePlace)
        uncacheablePlace = -1
    }

    mutating func release(_ list: MatchListID) {
        guard !list.isNone else { return }
        matchLists[list.number].owners -= 1
        if matchLists[list.number].owners == 0 { matchLists.remove(list.number) }
    }
}
