import MartletBytes
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletMQTTProtocol
import MartletShard

/// One MQTT client's connection: its machine, and which session it speaks for.
final class MQTTServerChannel: Channel {
    let gateway: MQTTGateway
    var machine: MQTTServerMachine
    /// Its number with the gateway; 0 before CONNECT.
    var session: UInt32 = 0
    private var aliases: MQTTTopicAliases?
    /// An enhanced authentication that goes on.
    var authentication: MQTTGateway.Authentication?
    /// CONNACK, while it waits for the disk; its machine takes nothing until then.
    var greeting: MQTTConnack?
    private var silence = PeerSilence()

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
        var packets: UInt64 = 0, publishes: UInt64 = 0
        let tolerated = machine.tolerated
        defer { gateway.count(packets, publishes, tolerated: machine.tolerated &- tolerated) }
        do {
            let used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in
                packets &+= 1
                switch event {
                case .publish(let publish):
                    publishes &+= 1
                    if !gateway.publish(publish, in: bytes, channel, session, &machine) { end = gateway.unpublished(slot, &machine) }
                case .puback(let identifier, _), .pubcomp(let identifier, _):
                    gateway.acknowledged(identifier, session)
                case .pubrec(let identifier, let reason):
                    gateway.received(identifier, reason, session, slot, &machine)
                case .pubrel(let identifier, _):
                    gateway.released(identifier, session, slot, &machine)
                case .connect(let connect):
                    end = channel.goOn(gateway.connect(connect, in: bytes, channel, &machine), &session)
                case .auth(let auth):
                    end = channel.goOn(gateway.authenticate(auth, in: bytes, channel, &machine), &session)
                case .subscribe(let identifier, let subscriptionIdentifier, let filters):
                    gateway.subscribe(session, identifier, subscriptionIdentifier, MQTTFilterCursor(subscribe: filters, in: bytes), bytes, slot, &machine)
                case .unsubscribe(let identifier, let filters):
                    gateway.unsubscribe(session, identifier, MQTTFilterCursor(unsubscribe: filters, in: bytes), bytes, slot, &machine)
                case .pingreq: gateway.seen.value.answersSent &+= 1
                case .disconnect(let reason, let expiry):
                    if session != 0 { gateway.disconnecting(session, expiry) }
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

    /// What became of a CONNECT or an AUTH.
    private func goOn(_ answer: MQTTGateway.ConnectAnswer, _ session: inout UInt32) -> MQTTGateway.ConnectionEnd? {
        switch answer {
        case .accepted(let number): session = number
        case .over(let end): return end
        case .waiting: break
        }
        return nil
    }

    // MARK: Topic aliases

    /// The client takes this many; whether it takes any.
    func acceptAliases(_ count: UInt16) -> Bool {
        if count > 0 { aliases = MQTTTopicAliases(oursMax: count) }
        return count > 0
    }

    func setAlias(_ alias: UInt16, _ topic: [UInt8]) {
        let aliases = aliases ?? MQTTTopicAliases(oursMax: 0)
        aliases.set(alias, topic)
        self.aliases = aliases
    }

    func topic(of alias: UInt16) -> [UInt8]? { aliases?.topic(of: alias) }
    func alias(for topic: Span<UInt8>) -> (alias: UInt16, isKnown: Bool)? { aliases?.alias(for: topic) }

    override func wake(on loop: EventLoop) {
        if silence.isExcused(slot, on: loop) { return machine.heard(at: loop.now) }
        do { try loop.wake(&machine, slot: slot) } catch { gateway.violated(self, error) }
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) {
        if session != 0, greeting == nil { gateway.outputBlocked(session, blocked) }
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) { gateway.closed(self, reason) }
}
