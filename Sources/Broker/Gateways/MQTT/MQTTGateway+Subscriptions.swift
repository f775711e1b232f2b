import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletMQTTProtocol
import MartletShard

/// What clients want.
extension MQTTGateway {
    /// SUBSCRIBE.
    func subscribe(
        _ session: UInt32, _ packetIdentifier: UInt16, _ identifier: UInt32, _ filters: consuming MQTTFilterCursor, _ bytes: Span<UInt8>, _ slot: UInt32,
        _ machine: inout MQTTServerMachine
    ) {
        var reasons: [MQTTReason] = []
        while let (filter, wanted) = filters.next() { reasons.append(subscribe(session, identifier, bytes.at(filter).array, wanted)) }
        answer(.suback(packetIdentifier: packetIdentifier, reasons: reasons), session, slot, &machine)
    }

    private func subscribe(_ session: UInt32, _ identifier: UInt32, _ filter: [UInt8], _ wanted: MQTTSubscriptionOptions) -> MQTTReason {
        let shared = Self.shared(filter)
        guard !options.deniedFilters.contains(shared?.pattern ?? filter) else { return .notAuthorized }
        guard sessions.value[session].subscriptions < options.subscriptionsMax else { return .quotaExceeded }
        let record = defineSubscription(filter, wanted, identifier, of: session)
        bind(session, identifier, filter, wanted, Self.replay(wanted.retainHandling), record: record)
        return wanted.qos == 0 ? .grantedQoS0 : wanted.qos == 1 ? .grantedQoS1 : .grantedQoS2
    }

    /// `record`: the subscription's definition in the journal, which ends with it.
    func bind(
        _ session: UInt32, _ identifier: UInt32, _ filter: [UInt8], _ wanted: MQTTSubscriptionOptions, _ replay: RetainedReplay, record: JournalName
    ) {
        var flags: BindingOptions.Flags = .sparesReserved
        if wanted.qos == 0 { flags.insert(.atMostOnce) }
        if wanted.qos == 2 { flags.insert(.exactlyOnce) }
        if wanted.noLocal { flags.insert(.noLocal) }
        let opaque = MQTTBindingOptions(qos: wanted.qos, retainAsPublished: wanted.retainAsPublished).opaque
        let binding = BindingOptions(flags: flags, opaque: opaque, tag: identifier)
        let queue = sessions.value[session].queue
        let isNew =
            if let (name, pattern) = Self.shared(filter) {
                // Section 3.8.3.1: nothing that was retained is sent.
                shard.perform {
                    $0.join(
                        name, hub, pattern, queue, binding, policy: options.queuePolicy(isDurable: isDurable(session)), limit: window(session),
                        record: record, into: &$1)
                }
            } else {
                shard.core.value.bind(queue, to: hub, .address(filter), binding, replay: replay, record: record)
            }
        if isNew {
            sessions.value[session].subscriptions += 1
            subscriptionCount += 1
        }
    }

    /// Section 3.8.3.1.
    private static func replay(_ retainHandling: UInt8) -> RetainedReplay { retainHandling == 0 ? .always : retainHandling == 1 ? .ifNew : .none }

    private func isDurable(_ session: UInt32) -> Bool { shard.core.value.policy(of: sessions.value[session].queue).isDurable }

    /// UNSUBSCRIBE.
    func unsubscribe(
        _ session: UInt32, _ packetIdentifier: UInt16, _ filters: consuming MQTTFilterCursor, _ bytes: Span<UInt8>, _ slot: UInt32,
        _ machine: inout MQTTServerMachine
    ) {
        var reasons: [MQTTReason] = []
        let queue = sessions.value[session].queue
        while let (filter, _) = filters.next() {
            let filter = bytes.at(filter).array
            let wasThere =
                if let (name, pattern) = Self.shared(filter) {
                    shard.perform { $0.leave(name, hub, pattern, queue, into: &$1) }
                } else {
                    shard.core.value.unbind(queue, from: hub, .address(filter))
                }
            if wasThere {
                sessions.value[session].subscriptions -= 1
                subscriptionCount -= 1
            }
            reasons.append(wasThere ? .success : .noSubscriptionExisted)
        }
        // Its UNSUBACK waits for them.
        if isDefined(session) { shard.core.value.endBindings(into: &shard.effects.value) }
        answer(.unsuback(packetIdentifier: packetIdentifier, reasons: reasons), session, slot, &machine)
    }

    /// `$share/NAME/FILTER` (section 4.8.2). The machine has seen that all of it is there. MQTT 3.1.1 knows nothing of it, but clients of
    /// that version rely on it, as with every other broker.
    private static func shared(_ filter: [UInt8]) -> (name: [UInt8], pattern: [UInt8])? {
        let prefix = Array("$share/".utf8)
        guard filter.starts(with: prefix), let end = filter[prefix.count...].firstIndex(of: UInt8(ascii: "/")) else { return nil }
        return (Array(filter[prefix.count..<end]), Array(filter[(end + 1)...]))
    }
}

/// What a binding's opaque bits say: the largest counts where several match, so the QoS stands above the rest.
/// ```
/// | 2 1 QoS | 0 retain as published |
/// ```
struct MQTTBindingOptions {
    let opaque: UInt16

    init(opaque: UInt16) { self.opaque = opaque }

    init(qos: UInt8, retainAsPublished: Bool) { opaque = UInt16(qos) << 1 | (retainAsPublished ? 1 : 0) }

    @inline(__always) var qos: UInt8 { UInt8(truncatingIfNeeded: opaque >> 1 & 3) }
    @inline(__always) var retainAsPublished: Bool { opaque & 1 != 0 }
}
