import MartletBytes
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletMQTTProtocol
import MartletNet
import MartletShard

/// One MQTT client's connection: its machine, and which session it speaks for.
final class MQTTServerChannel: Channel {
    let gateway: MQTTGateway
    var machine: MQTTServerMachine
    /// Its number with the gateway; 0 before CONNECT.
    var session: UInt32 = 0
    /// Output that a slow reader had not taken when its keep-alive last ran out.
    private var leftWhenLastAsked = UInt32.max

    init(_ gateway: MQTTGateway) {
        self.gateway = gateway
        machine = MQTTServerMachine(limits: gateway.options.limits, now: gateway.shard.loop.now)
        super.init()
    }

    override var deadline: Instant { machine.deadline }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        // The machine is taken once a read, not once an event: a class's field costs an exclusivity check each time.
        Self.handle(bytes, self, &machine, gateway, loop)
    }

    private static func handle(
        _ bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine, _ gateway: MQTTGateway, _ loop: EventLoop
    ) -> Int {
        let slot = channel.slot
        var session = channel.session
        var end: MQTTGateway.ConnectionEnd?
        do {
            let used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in
                switch event {
                case .publish(let publish):
                    if publish.retain, machine.version == .v5 {
                        end = gateway.refuse(.retainNotSupported, "this server does not retain messages", slot: slot, &machine)
                        return false
                    }
                    if publish.qos == 2 {
                        end = gateway.refuse(.qosNotSupported, "this server does not take QoS 2", slot: slot, &machine)
                        return false
                    }
                    gateway.publish(publish, in: bytes, session, slot, &machine)
                case .puback(let identifier, _):
                    gateway.acknowledged(identifier, session)
                case .connect(let connect):
                    switch gateway.connect(connect, in: bytes, channel, &machine) {
                    case .accepted(let number): session = number
                    case .over(let reason): end = reason
                    }
                case .subscribe(let identifier, let subscriptionIdentifier, let filters):
                    guard subscriptionIdentifier == 0 else {
                        end = gateway.refuse(.subscriptionIdentifiersNotSupported, "this server has no subscription identifiers", slot: slot, &machine)
                        return false
                    }
                    let reasons = gateway.subscribe(session, MQTTFilterCursor(subscribe: filters, in: bytes), bytes, machine.version)
                    try? loop.send(.suback(packetIdentifier: identifier, reasons: reasons), through: &machine, slot: slot)
                case .unsubscribe(let identifier, let filters):
                    let reasons = gateway.unsubscribe(session, MQTTFilterCursor(unsubscribe: filters, in: bytes), bytes)
                    try? loop.send(.unsuback(packetIdentifier: identifier, reasons: reasons), through: &machine, slot: slot)
                case .pingreq, .pubrec, .pubrel, .pubcomp, .auth: break
                case .disconnect(let reason, let expiry):
                    gateway.disconnecting(session, expiry)
                    // Only a normal DISCONNECT deletes the will (MQTT 5.0 section 3.1.2.5).
                    end = reason == .success ? .close(.finished) : .close(.refused("the client disconnected: \(reason)"))
                }
                return end == nil
            }
            guard let end else {
                if gateway.shard.isCongested { gateway.shard.holdBack(channel) }
                return used
            }
            return gateway.end(channel, end, bytes)
        } catch {
            gateway.violated(channel, error)
            return bytes.count
        }
    }

    override func wake(on loop: EventLoop) {
        // Its silence is ours while we do not read: because we hold it back, or because it reads slowly, but reads.
        let left = UInt32(loop[output: slot].count)
        let reads = loop.isBlocked(slot) && left < leftWhenLastAsked
        leftWhenLastAsked = loop.isBlocked(slot) ? left : .max
        if loop.isPaused(slot) || reads { return machine.heard(at: loop.now) }
        do { try loop.wake(&machine, slot: slot) } catch { gateway.violated(self, error) }
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) {
        if session != 0 { gateway.outputBlocked(session, blocked) }
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) { gateway.closed(self, reason) }
}
