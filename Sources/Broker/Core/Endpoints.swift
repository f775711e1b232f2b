public import MartletBytes
import MartletCollections

/// Who may come back.
extension BrokerCore {
    /// Makes an endpoint with a queue of its own. Its identity must have been claimed for this shard (`Router.claim`). `serial`: its
    /// queue's, if it was there before a restart.
    public mutating func openEndpoint(
        _ identity: Span<UInt8>, gateway: GatewayID, queue policy: QueuePolicy, lifetime: Duration, serial: UInt64? = nil
    ) -> EndpointID {
        let queue = openQueue(policy, serial: serial)
        let endpoint = Endpoint(identity: OwnedBytes(copying: identity), queue: queue, gateway: gateway, lifetime: lifetime)
        let id = EndpointID(endpoints.insert(endpoint))
        router.settle(identity, as: id)
        return id
    }

    /// The endpoint's own numbers.
    public func queue(of endpoint: EndpointID) -> QueueID { endpoints[endpoint.number].queue }
    public func identity(of endpoint: EndpointID) -> [UInt8] { endpoints[endpoint.number].identity.span.array }
    public func token(of endpoint: EndpointID) -> UInt32 { endpoints[endpoint.number].token }
    public func gatewayState(of endpoint: EndpointID) -> UInt32 { endpoints[endpoint.number].gatewayState }
    public func lifetime(of endpoint: EndpointID) -> Duration { endpoints[endpoint.number].lifetime }

    /// A connection (the gateway calls it `token`) speaks for the endpoint now.
    public mutating func attach(_ endpoint: EndpointID, token: UInt32, gatewayState: UInt32, lifetime: Duration, into effects: inout Effects) {
        endpoints[endpoint.number].token = token
        endpoints[endpoint.number].gatewayState = gatewayState
        endpoints[endpoint.number].lifetime = lifetime
        endpoints[endpoint.number].expiry = .never
        clearFarewell(endpoint, &effects)
    }

    /// It was there before a restart.
    public mutating func restore(_ endpoint: EndpointID, gatewayState: UInt32) { endpoints[endpoint.number].gatewayState = gatewayState }

    /// Its connection was lost before a restart, this long ago: its lifetime and the delay of its farewell have run since.
    public mutating func restoreAbsence(of endpoint: EndpointID, lasting passed: Duration) {
        let lifetime = endpoints[endpoint.number].lifetime, delay = endpoints[endpoint.number].farewellDelay
        endpoints[endpoint.number].expiry = now + max(.zero, lifetime - passed)
        if !endpoints[endpoint.number].farewell.isNone { endpoints[endpoint.number].farewellTime = now + max(.zero, delay - passed) }
        schedule(endpoint)
    }

    /// What to publish if the connection is lost and nobody takes it up again within `delay`; a later one replaces it. It expires
    /// `lifetime` after it was published. `record`: its definition in the journal (`define`), which ends with it.
    public mutating func setFarewell(
        _ endpoint: EndpointID, _ message: borrowing Message, delay: Duration = .zero, lifetime: Duration? = nil, record: JournalName = .none,
        into effects: inout Effects
    ) {
        clearFarewell(endpoint, &effects)
        let farewell = store(message)
        messages[farewell.number].owners = 1
        endpoints[endpoint.number].farewell = farewell
        endpoints[endpoint.number].farewellDelay = delay
        endpoints[endpoint.number].farewellLifetime = lifetime
        endpoints[endpoint.number].farewellRecord = record
    }

    private mutating func clearFarewell(_ endpoint: EndpointID, _ effects: inout Effects) {
        release(endpoints[endpoint.number].farewell)
        undefine(endpoints[endpoint.number].farewellRecord, into: &effects)
        endpoints[endpoint.number].farewell = .none
        endpoints[endpoint.number].farewellRecord = .none
        endpoints[endpoint.number].farewellTime = .never
    }

    private mutating func publishFarewell(_ id: EndpointID, _ effects: inout Effects) {
        guard !endpoints[id.number].farewell.isNone else { return }
        let copy = StoredMessage(copying: messages[endpoints[id.number].farewell.number].message)
        clearFarewell(id, &effects)
        var message = copy.message
        if let lifetime = endpoints[id.number].farewellLifetime { message.header.expiry = wallTime.advanced(bySeconds: Int(lifetime.components.seconds)) }
        distribute(kept: message, &effects)
    }

    public mutating func setLifetime(_ endpoint: EndpointID, _ lifetime: Duration) { endpoints[endpoint.number].lifetime = lifetime }

    /// Its connection is gone, `lost` or in good order. The farewell is published if it was lost, now or after its delay, and the
    /// endpoint ends when its lifetime does, and with it any delay; true if that is now.
    public mutating func detach(_ id: EndpointID, lost: Bool, into effects: inout Effects) -> Bool {
        endpoints[id.number].token = 0
        if !lost { clearFarewell(id, &effects) }
        if endpoints[id.number].lifetime == .zero {
            publishFarewell(id, &effects)
            deleteEndpoint(id, into: &effects)
            return true
        }
        if endpoints[id.number].farewellDelay == .zero {
            publishFarewell(id, &effects)
        } else if !endpoints[id.number].farewell.isNone {
            endpoints[id.number].farewellTime = now + endpoints[id.number].farewellDelay
        }
        let expiry = now + endpoints[id.number].lifetime
        endpoints[id.number].expiry = expiry
        schedule(id)
        return false
    }

    /// Ends an endpoint: its queue with all that is in it, its bindings, its identity. A farewell whose delay runs is published.
    public mutating func deleteEndpoint(_ id: EndpointID, into effects: inout Effects) {
        if endpoints[id.number].farewellTime != .never { publishFarewell(id, &effects) }
        clearFarewell(id, &effects)
        deleteQueue(endpoints[id.number].queue, into: &effects)
        router.release(endpoints[id.number].identity.span)
        endpointSchedule.forget(id)
        endpoints.remove(id.number)
    }

    /// Ends the endpoints whose time has come.
    public mutating func wake(at now: Instant, into effects: inout Effects) {
        for name in router.sweepRetained(at: wallTime) { end(name, &effects) }
        while let id = endpointSchedule.takeDue(at: now) {
            if endpoints[id.number].farewellTime <= now { publishFarewell(id, &effects) }
            // It may have come back, or its end moved away.
            guard endpoints[id.number].expiry <= now else { schedule(id); continue }
            effects.ended.append(EndedEndpoint(gateway: endpoints[id.number].gateway, gatewayState: endpoints[id.number].gatewayState))
            deleteEndpoint(id, into: &effects)
        }
    }

    private mutating func schedule(_ id: EndpointID) { endpointSchedule.set(endpoints[id.number].deadline, for: id) }

    public var endpointCount: Int { endpoints.count }
    /// Entries for their deadlines, those nobody waits for any more among them.
    public var scheduledEndpointCount: Int { endpointSchedule.count }
}
