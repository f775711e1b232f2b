import MartletBytes

/// What the loop and a delivery need of a connection: a row of a table that never moves (address space reserved once).
/// Not here: anything of a protocol (see `Channel`).
struct Slot: ~Copyable {
    enum Kind: UInt8 { case stream, events, datagrams }
    /// Bits that change together with reading and writing.
    struct Flags: OptionSet {
        let rawValue: UInt16
        static let dirty = Flags(rawValue: 1)  // in the list of those to flush at the end of the tick
        static let awaitsWritable = Flags(rawValue: 2)  // the kernel's buffer is full
        static let blocked = Flags(rawValue: 4)  // output is above the high-water mark: not read from meanwhile
        static let lingering = Flags(rawValue: 8)  // its channel is gone; the output still leaves
        static let ended = Flags(rawValue: 16)  // the peer sends no more
        static let paused = Flags(rawValue: 32)  // its owner reads no more for now
        static let endsOutput = Flags(rawValue: 64)  // our stream ends once the output has left
        static let outputEnded = Flags(rawValue: 128)  // our stream has ended
        static let awaitsChange = Flags(rawValue: 256)  // told of a hang-up once, not as long as it lasts
    }

    var channel: Unmanaged<Channel>?
    var generation: UInt32
    var descriptor: Int32
    /// The next free row; 0 at the end of the list.
    var next: UInt32 = 0
    var kind: Kind
    var flags: Flags = []
    /// What the protocol left unread: owns memory only while a frame is cut.
    var unread = ByteBuffer()
    /// What its bytes go through, if anything.
    var layer: Unmanaged<StreamLayer>?

    init(_ channel: Unmanaged<Channel>?, generation: UInt32, descriptor: Int32, kind: Kind) {
        self.channel = channel
        self.generation = generation
        self.descriptor = descriptor
        self.kind = kind
    }
}

extension EventLoop {
    /// Bytes of the table that one connection has, beside its output.
    public static var rowSize: Int { MemoryLayout<Slot>.stride }
}
