/// What a datagram socket is set to before it is used. `nil`: as the system has it.
public struct DatagramOptions: Sendable, Equatable {
    /// The longest datagram that is received whole, 1 to 65,535 bytes; the rest of a longer one is lost and reported (`NetError.Kind.truncated`).
    public var datagramMax = 65_535
    /// Datagrams that wait for a task; above it the socket is not read from, and the kernel drops and counts what its own buffer does not hold.
    public var inboundMax = 1_024
    /// `SO_RCVBUF` in bytes; the kernel doubles it and caps it at `net.core.rmem_max`.
    public var receiveBuffer: Int?
    /// `SO_SNDBUF` in bytes; as above, `net.core.wmem_max`.
    public var sendBuffer: Int?
    /// Several sockets of this machine may bind the address, for a multicast group that all of them join. Needless, and dangerous, elsewhere.
    public var reuseAddress = false
    /// Several sockets share the address, and each sender is always given to the same of them (`SO_REUSEPORT`).
    public var reusePort = false
    /// Sending to broadcast addresses is allowed.
    public var broadcast = false
    /// The address to bind before connecting: "192.0.2.1:0"; a path for a Unix socket.
    public var localAddress: String?
    /// Hops that a datagram to one host may make (`IP_TTL`), 1 to 255.
    public var timeToLive: Int?
    /// Hops that a datagram to a group may make, 0 to 255; 1 stays in the network.
    public var multicastTTL = 1
    /// What is sent to a group is also given to this machine's own members.
    public var multicastLoopback = true
    /// The interface by which datagrams to groups leave, by name ("eth0").
    public var multicastInterface: String?

    public init() {}
}
