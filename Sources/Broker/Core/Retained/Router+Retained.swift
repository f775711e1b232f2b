import MartletBytes
import Synchronization

/// Whether whoever binds is given what the hub keeps.
public enum RetainedReplay: UInt8, Sendable {
    case none
    /// Unless the target was bound so already.
    case ifNew
    case always
}

extension Router {
    /// Binds a target, and says what of that which the hub keeps it is to be given: under one lock, so that a publication comes either
    /// live or by replay. `owner`: the target queue's serial number.
    func bind(
        _ hub: HubID, _ pattern: Pattern, to target: Binding.Target, _ options: BindingOptions, replay: RetainedReplay, by owner: UInt64 = 0,
        record: JournalName = .none, chain: inout UInt32
    ) -> (number: UInt32, isNew: Bool, walk: RetainedWalk?) {
        var first = chain
        let bound = topology.withLock { topology in
            let bound = topology.bind(hub, pattern, to: target, options, serial: owner, record: record, chain: &first)
            generation.store(topology.changeCount, ordering: .releasing)
            guard replay == .always || replay == .ifNew && bound.isNew else { return (bound.number, bound.isNew, nil as RetainedWalk?) }
            var walk = topology.retained.walk(
                hub, topology.hub(hub).kind, pattern, sparesReserved: options.flags.contains(.sparesReserved))
            if options.flags.contains(.noLocal) { walk?.spared = owner }
            return (bound.number, bound.isNew, walk)
        }
        chain = first
        return bound
    }

    /// Keeps a retained message, or removes what was kept for its address; the answer is the version it was stored as, 0 if it is refused.
    /// `publisher`: its queue's serial number, 0 for none. `name`: the journal's for it. `ended`: of what is kept no more.
    func keep(_ message: borrowing Message, by publisher: UInt64, as name: JournalName, _ limits: CoreLimits, at now: WallTime) -> (
        version: UInt64, ended: [JournalName]
    ) {
        topology.withLock { ($0.retained.keep(message, by: publisher, as: name, limits, at: now), $0.retained.takeEnded()) }
    }

    /// Goes on with a walk, as far as the budget goes.
    func step(_ walk: inout RetainedWalk, _ budget: inout ReplayBudget, at now: WallTime) -> RetainedStep {
        topology.withLock { topology in
            topology.retained.sweep(at: now, atMost: 64)
            return topology.retained.step(&walk, &budget, at: now)
        }
    }

    func abandon(_ walk: RetainedWalk) { topology.withLock { $0.retained.abandon(walk) } }

    /// The answer: the journal's names of what is kept no more.
    func sweepRetained(at now: WallTime) -> [JournalName] {
        topology.withLock { topology in
            topology.retained.sweep(at: now, atMost: 1000)
            return topology.retained.takeEnded()
        }
    }

    /// Messages that the hubs keep, and their bytes: address, properties and body.
    public var retainedCount: Int { topology.withLock { $0.retained.count } }
    public var retainedBytes: Int { topology.withLock { $0.retained.byteCount } }
}
