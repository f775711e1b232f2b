import MartletAMQPProtocol
import MartletBytes
import MartletDriver
import MartletEventLoop
import MartletShard

/// One AMQP client's connection: its machine, and its channels.
final class AMQPServerConnection: Channel {
    let gateway: AMQPGateway
    var machine: AMQPServerMachine
    /// Its number with the gateway; 0 before connection.open.
    var virtualHost: UInt32 = 0
    var user: [UInt8] = []
    var capabilities: AMQPCapabilities = []
    /// By channel number, in its order: the channel's with the gateway.
    private(set) var channels: [(number: UInt16, channel: UInt32)] = []
    private var lastPlace = 0
    /// Nothing of it is in the gateway any more.
    var isReleased = false
    /// Bytes of its messages that are not complete, or staged in transactions.
    var unfinishedBytes = 0
    /// Queues that go with it, by their numbers with the gateway.
    var exclusiveQueues: [UInt32] = []
    /// Its output is too large for more, before the loop has seen it: nothing more of what it sent is looked at.
    var isOverfull = false
    /// It has been told that it is blocked.
    var isBlocked = false
    private var silence = PeerSilence()

    init(_ gateway: AMQPGateway) {
        self.gateway = gateway
        machine = AMQPServerMachine(limits: gateway.options.limits, now: gateway.shard.loop.now)
        super.init()
    }

    /// The number of a channel with the gateway; 0: it is not open.
    func channel(_ number: UInt16) -> UInt32 {
        if lastPlace < channels.count, channels[lastPlace].number == number { return channels[lastPlace].channel }
        let place = place(of: number)
        guard place < channels.count, channels[place].number == number else { return 0 }
        lastPlace = place
        return channels[place].channel
    }

    /// Where it is, or belongs: the first whose number is not below it.
    private func place(of number: UInt16) -> Int {
        var low = 0, high = channels.count
        // Most clients number them from one up.
        if Int(number) <= high, number > 0, channels[Int(number) - 1].number == number { return Int(number) - 1 }
        while low < high {
            let middle = (low + high) / 2
            if channels[middle].number < number { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func add(_ channel: UInt32, as number: UInt16) { channels.insert((number, channel), at: place(of: number)) }

    func removeChannel(_ number: UInt16) {
        let place = place(of: number)
        guard place < channels.count, channels[place].number == number else { return }
        channels.remove(at: place)
        if channels.isEmpty { channels = [] }
    }

    func removeAllChannels() { channels = [] }

    // MARK: Channel

    override var deadline: Instant { machine.deadline }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        // The machine is taken once a read, not once an event: a class's field costs an exclusivity check each time.
        Self.handle(bytes, self, &machine, gateway, loop)
    }

    private static func handle(
        _ bytes: Span<UInt8>, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine, _ gateway: AMQPGateway, _ loop: EventLoop
    ) -> Int {
        if connection.isOverfull { return 0 }
        let slot = connection.slot
        var end: AMQPGateway.ConnectionEnd?
        do {
            let used = try loop.drive(&machine, over: bytes, slot: connection.slot) { event, machine in
                switch event {
                case .content(let number, .basicPublish(let method), let header, let body):
                    gateway.publish(method, header, body: body, in: bytes, number, connection, &machine)
                case .method(let number, let method):
                    end = gateway.handle(method, in: bytes, number, connection, &machine)
                case .header(let number, let header): gateway.begin(header, in: bytes, number, connection, &machine)
                case .body(let number, let piece, let remaining):
                    gateway.goOn(bytes.at(piece), remaining: remaining, number, connection, &machine)
                case .bodyTooLarge(let number, _): gateway.forgetChannel(number, of: connection)
                case .protocolHeader: gateway.start(connection, &machine)
                case .content, .heartbeat, .discarded: break
                }
                if gateway.outputs[slot].count > AMQPGateway.outputMax, !gateway.hasRoom(connection) { return false }
                return end == nil
            }
            guard let end else {
                if gateway.shard.isCongested { gateway.shard.holdBack(connection) }
                return used
            }
            return gateway.end(connection, end, bytes, used: used, &machine)
        } catch {
            gateway.violated(connection, error)
            return bytes.count
        }
    }

    override func wake(on loop: EventLoop) {
        if silence.isExcused(slot, on: loop) { machine.heard(at: loop.now) }
        do {
            try loop.wake(&machine, slot: slot)
        } catch { gateway.violated(self, error) }
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) { gateway.outputBlocked(self, blocked) }
    override func closed(_ reason: CloseReason, on loop: EventLoop) { gateway.closed(self, reason) }
}
