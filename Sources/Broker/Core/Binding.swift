/// "What matches `pattern` goes from this hub to that target." The pattern itself lives in the hub's matcher.
public struct Binding: BitwiseCopyable, Sendable {
    public enum Target: BitwiseCopyable, Sendable, Hashable {
        case queue(QueueID, shard: UInt8)
        case hub(HubID)
    }
    let hub: HubID
    let target: Target
    /// The target queue's serial number; 0 for a hub.
    let serial: UInt64
    /// Its definition in the journal, if it survives a restart; it ends with the binding.
    var record: JournalName
    var options: BindingOptions
    /// Its neighbours among those of the same target, so that all of a queue's go with it.
    var nextOfTarget: UInt32 = 0
    var previousOfTarget: UInt32 = 0
    /// Its neighbours among those of the same hub, so that all of a hub's go with it.
    var nextOfHub: UInt32 = 0
    var previousOfHub: UInt32 = 0
    /// The matcher's own: its neighbours under the same pattern, and where that pattern is.
    var nextInMatcher: UInt32 = 0
    var previousInMatcher: UInt32 = 0
    var matcherPlace: UInt32 = 0
    /// The last retained publication before it was made (`Retained.version`): what was stored later reaches it live.
    let since: UInt64

    init(hub: HubID, target: Target, serial: UInt64, record: JournalName, options: BindingOptions, since: UInt64) {
        self.hub = hub
        self.target = target
        self.serial = serial
        self.record = record
        self.options = options
        self.since = since
    }
}

/// What a binding says about the messages it lets through.
public struct BindingOptions: BitwiseCopyable, Sendable, Hashable {
    public struct Flags: OptionSet, BitwiseCopyable, Sendable, Hashable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Deliveries through it need no settling: they may be lost.
        public static let atMostOnce = Flags(rawValue: 1)
        /// Its target queue survives a restart.
        public static let durable = Flags(rawValue: 2)
        /// A wildcard in its first level does not match an address that begins with `$`.
        public static let sparesReserved = Flags(rawValue: 4)
        /// Messages that the owner of the target queue published do not pass.
        public static let noLocal = Flags(rawValue: 8)
        /// Its target takes what must not be given twice (`MessageHeader.Flags.exactlyOnce`) exactly once; without, at least once.
        public static let exactlyOnce = Flags(rawValue: 16)
        /// What passes is a replay of what the hub kept.
        static let replay = Flags(rawValue: 128)
    }
    public var flags: Flags
    /// The gateway's own. Where several bindings of one target match, the largest is the one that counts.
    public var opaque: UInt16
    /// The gateway's own name for the binding, given back with each delivery (a subscription identifier); 0 for none.
    public var tag: UInt32

    public init(flags: Flags = [], opaque: UInt16 = 0, tag: UInt32 = 0) {
        self.flags = flags
        self.opaque = opaque
        self.tag = tag
    }
}

/// One binding through which a message came to a target.
public struct BindingMatch: BitwiseCopyable, Sendable, Hashable {
    public let opaque: UInt16
    public let tag: UInt32
}
