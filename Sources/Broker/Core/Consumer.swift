/// Someone who takes messages from one queue.
public struct Consumer: ~Copyable {
    let queue: QueueID
    let gateway: GatewayID
    /// The gateway's own name for it (MQTT: the session's number).
    let token: UInt32
    /// False: what it is given is settled by being given.
    let settles: Bool
    /// It is a group's and stands for a member's queue (`BrokerCore.feeds`); 0: it does not.
    var feed: UInt32 = 0
    /// It cannot take anything just now.
    var isPaused = false
    /// Unsettled messages it may hold, 0 for any number, and those it does hold.
    var limit: UInt32
    var outstanding: UInt32 = 0
    /// A limit that it shares with others; `.none`: no further limit.
    var credit: CreditID
    /// Its turn came when it could not take: it stands behind those that may (`Queue.firstParked`) until something changes for it.
    var isParked = false
    /// It takes nothing more, and goes when what it holds is settled.
    var isCancelled = false
    /// The queue's ring.
    var next: UInt32 = 0
    var previous: UInt32 = 0
    /// The shared credit's ring.
    var nextOfCredit: UInt32 = 0
    var previousOfCredit: UInt32 = 0

    init(of queue: QueueID, gateway: GatewayID, token: UInt32, settles: Bool, limit: UInt32, credit: CreditID) {
        self.queue = queue
        self.gateway = gateway
        self.token = token
        self.settles = settles
        self.limit = limit
        self.credit = credit
    }
}

/// Unsettled messages that several consumers may hold together (a channel's prefetch).
public struct Credit: ~Copyable {
    /// 0: any number.
    var limit: UInt32
    var outstanding: UInt32 = 0
    /// Its consumers' ring: who is offered freed credit first.
    var nextConsumer: UInt32 = 0
}
