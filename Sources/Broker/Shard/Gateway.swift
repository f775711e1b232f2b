public import MartletCore
public import MartletEventLoop

/// What one protocol is on one shard: its connections' events become commands to the core, the core's effects become packets.
///
/// Confined to its shard's loop. A gateway must not call the core while it is being given deliveries.
open class Gateway {
    public let shard: Shard
    public let id: GatewayID

    public init(_ shard: Shard, id: GatewayID) {
        self.shard = shard
        self.id = id
    }

    /// Takes over a connection: just accepted, or from another shard with what was received there.
    open func adopt(_ transport: Transport) {}

    /// Gives `message` to consumers: those of `shard.effects` in `range`, which are all this gateway's.
    open func deliver(_ range: Range<Int>, of message: borrowing Message) {}

    /// An acknowledgement may leave.
    open func acknowledge(_ acknowledgement: Acknowledgement) {}

    /// One of its publishers fills queues faster than they empty: `Shard.holdBack` its connection for `duration`.
    open func slowDown(_ token: UInt32, for duration: Duration) {}

    /// One of its consumers lost a message because its queue is full.
    open func overflowed(_ token: UInt32) {}

    /// An endpoint of this gateway is no more; its state was `state`.
    open func endpointEnded(_ state: UInt32) {}

    /// The server stops: say goodbye in the protocol's words.
    open func stop() {}

    /// Numbers for the server's metrics.
    open var samples: [(name: String, value: UInt64)] { [] }
}
