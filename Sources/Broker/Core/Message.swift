public import MartletBytes

/// A message on its way through the core: three pieces of somebody's read buffer, valid during the command, and plain numbers.
/// Not here: what the properties mean. They are the origin protocol's bytes, untouched; only a gateway reads them.
public struct Message: ~Escapable, Sendable {
    public let hub: HubID
    public let address: Span<UInt8>
    public let properties: Span<UInt8>
    public let body: Span<UInt8>
    public var header: MessageHeader

    @_lifetime(copy address, copy properties, copy body)
    public init(hub: HubID, address: Span<UInt8>, properties: Span<UInt8>, body: Span<UInt8>, header: MessageHeader) {
        self.hub = hub
        self.address = address
        self.properties = properties
        self.body = body
        self.header = header
    }

    /// The properties if they are `origin`'s: another gateway's mean nothing to it.
    @_lifetime(copy self)
    @inline(__always) public func properties(of origin: GatewayID) -> Span<UInt8> { header.origin == origin ? properties : Span() }

    public var byteCount: Int { address.count + properties.count + body.count }
}

/// What the core itself needs to know of a message.
public struct MessageHeader: BitwiseCopyable, Sendable, Equatable {
    public struct Flags: OptionSet, BitwiseCopyable, Sendable, Hashable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Its publisher asks that it survive a restart.
        public static let persistent = Flags(rawValue: 1)
        /// It may be lost on the way: nobody settles it, and a queue that is a session does not keep it.
        public static let atMostOnce = Flags(rawValue: 2)
        /// Kept by the hub for whoever binds later; an empty body removes what is kept.
        public static let retained = Flags(rawValue: 4)
        /// Given through a binding that says `exactlyOnce` too, it must not be given to another member of the group.
        public static let exactlyOnce = Flags(rawValue: 8)
        /// Its hub keeps it, but not over a restart: soon there is another.
        public static let passing = Flags(rawValue: 16)
    }
    public var flags: Flags
    /// 0 lowest … 9 highest, as AMQP counts; 4 unless the origin has priorities.
    public var priority: UInt8 = 4
    /// Which gateway's words the properties are.
    public var origin: GatewayID
    /// The queue of whoever published it, for bindings that spare it its own (`noLocal`). Good on the shard it was published on.
    public var publisherQueue: QueueID = .none
    /// When it is no longer worth delivering.
    public var expiry = WallTime.never

    public init(origin: GatewayID, flags: Flags = []) {
        self.origin = origin
        self.flags = flags
    }
}

/// Which gateway a consumer or a message belongs to: the index under which the shard knows it.
public struct GatewayID: Hashable, Sendable, BitwiseCopyable {
    public let index: UInt8
    public init(_ index: UInt8) { self.index = index }
}

/// A message that a queue keeps, once on a shard however many of its queues hold it.
public struct StoredMessage: ~Copyable {
    let bytes: OwnedBytes
    let addressCount: UInt32
    let propertiesCount: UInt32
    let hub: HubID
    let header: MessageHeader
    /// Of its record in the journal, over restarts; 0: it has none.
    var order: UInt64 = 0
    var owners: UInt32 = 0

    init(copying message: borrowing Message) {
        bytes = OwnedBytes(copying: message.address, message.properties, message.body)
        addressCount = UInt32(message.address.count)
        propertiesCount = UInt32(message.properties.count)
        hub = message.hub
        header = message.header
    }

    var byteCount: Int { bytes.count }

    /// The message as it came.
    var message: Message {
        @_lifetime(borrow self) get {
            let all = bytes.span, a = Int(addressCount), p = Int(propertiesCount)
            return Message(
                hub: hub, address: all.extracting(0..<a), properties: all.extracting(a..<a + p), body: all.extracting(a + p..<all.count), header: header)
        }
    }
}
