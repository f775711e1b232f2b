import CLinux
import MartletBytes
import MartletEventLoop

/// Where one loop's datagram channels receive, one after the other: 64 datagrams of at most 64 KiB, memory where it was once used.
final class DatagramArea {
    static let datagramsMax = Int(CL_DATAGRAMS_MAX), stride = 65_536
    let bytes = cl_reserve(datagramsMax * stride)!
    let arrived = UnsafeMutablePointer<cl_datagram>.allocate(capacity: datagramsMax)
    let outgoing = UnsafeMutablePointer<cl_outgoing_datagram>.allocate(capacity: datagramsMax)

    init() {
        arrived.initialize(repeating: cl_datagram(), count: Self.datagramsMax)
        outgoing.initialize(repeating: cl_outgoing_datagram(), count: Self.datagramsMax)
    }

    deinit {
        cl_release(bytes, Self.datagramsMax * Self.stride)
        arrived.deallocate()
        outgoing.deallocate()
    }

    static func of(_ loop: EventLoop) -> DatagramArea {
        if let area = loop.datagramArea.value { return unsafeDowncast(area, to: DatagramArea.self) }
        let area = DatagramArea()
        loop.datagramArea.value = area
        return area
    }
}

/// One received datagram, where it lies: valid during the call that shows it.
public struct ArrivedDatagram: ~Copyable {
    let base: UnsafeRawPointer
    let entry: UnsafePointer<cl_datagram>
    /// How many of its bytes were received.
    public let count: Int

    /// What was received: all of it unless `isTruncated`. May be empty.
    public var bytes: Span<UInt8> {
        @_lifetime(borrow self) get {
            let bytes = Span<UInt8>(_unsafeStart: base.assumingMemoryBound(to: UInt8.self), count: count)
            return _overrideLifetime(bytes, borrowing: self)
        }
    }

    /// How long it was when it was sent.
    public var sentCount: Int { Int(entry.pointee.count) }
    /// Its end was lost, because it is longer than `DatagramOptions.datagramMax`.
    public var isTruncated: Bool { sentCount > count }

    /// Who sent it.
    public var sender: SocketAddress { SocketAddress(name: entry, count: entry.pointee.name_length) }  // the name lies at its entry's beginning
}
