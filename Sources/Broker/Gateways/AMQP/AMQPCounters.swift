/// What this shard's AMQP has seen; plain numbers of its thread.
struct AMQPCounters {
    /// Connections taken from the listener, whether they opened or not.
    var sockets: UInt64 = 0
    var connectionsOpened: UInt64 = 0
    var connectionsRefused: UInt64 = 0
    /// Connections whose TLS failed; those whose time ran out are among the violations.
    var handshakesFailed: UInt64 = 0
    var violations: UInt64 = 0
    /// Channels and connections that an exception of ours closed.
    var exceptions: UInt64 = 0
    var published: UInt64 = 0
    /// Bytes of their bodies, and of those that were delivered or got.
    var publishedBytes: UInt64 = 0
    var deliveredBytes: UInt64 = 0
    /// basic.return.
    var returned: UInt64 = 0
    /// Messages that basic.ack and basic.nack told their publishers about.
    var confirmed: UInt64 = 0
    var delivered: UInt64 = 0
    /// Answers to basic.get.
    var got: UInt64 = 0
    var acknowledged: UInt64 = 0
    /// How often a publisher was held.
    var blocked: UInt64 = 0
    /// Exceptions because of a limit of `AMQPGatewayOptions`.
    var overLimit: UInt64 = 0

    var samples: [(name: String, value: UInt64)] {
        [
            ("sockets", sockets), ("connectionsOpened", connectionsOpened), ("connectionsRefused", connectionsRefused), ("violations", violations),
            ("handshakesFailed", handshakesFailed), ("publishedBytes", publishedBytes), ("deliveredBytes", deliveredBytes),
            ("exceptions", exceptions), ("published", published), ("returned", returned), ("confirmed", confirmed), ("delivered", delivered),
            ("got", got), ("acknowledged", acknowledged), ("blocked", blocked), ("overLimit", overLimit),
        ]
    }
}
