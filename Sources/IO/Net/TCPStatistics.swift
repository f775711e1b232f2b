import CLinux

/// What the kernel knows of one TCP connection (`TCP_INFO`), at the moment of the question.
public struct TCPStatistics: Sendable {
    /// The smoothed round-trip time, its variance, and the least that was seen; zero before the first answer.
    public let rtt, rttVariance, rttMin: Duration
    /// Unanswered retransmissions of the oldest segment, and all retransmissions since the start.
    public let retransmits, retransmitsTotal: Int
    /// Segments that may be under way, and the size of one in bytes.
    public let congestionWindow, segmentSize: Int
    /// Segments under way, and those believed lost.
    public let unacknowledged, lost: Int
    /// Bytes written and not yet sent.
    public let unsent: Int
    /// Bytes that the peer confirmed, and bytes that came in.
    public let bytesAcknowledged, bytesReceived: UInt64
    /// Bytes a second that the network delivered lately.
    public let deliveryRate: UInt64

    /// Of a connected TCP descriptor; nil if it is none.
    public init?(descriptor: Int32) {
        var state = cl_tcp_state()
        guard descriptor >= 0, cl_tcp_info(descriptor, &state) == 0 else { return nil }
        let microseconds = { (count: UInt32) in Duration.microseconds(Int64(count)) }
        rtt = microseconds(state.rtt)
        rttVariance = microseconds(state.rtt_variance)
        rttMin = microseconds(state.rtt_min == .max ? 0 : state.rtt_min)
        retransmits = Int(state.retransmits)
        retransmitsTotal = Int(state.retransmitted)
        congestionWindow = Int(state.window)
        segmentSize = Int(state.segment)
        unacknowledged = Int(state.unacked)
        lost = Int(state.lost)
        unsent = Int(state.unsent)
        bytesAcknowledged = state.acknowledged
        bytesReceived = state.received
        deliveryRate = state.delivery_rate
    }
}

/// How full a listener's accept queue is.
public struct AcceptQueue: Sendable, Equatable {
    /// Connections that wait to be accepted, and how many may.
    public let waiting, capacity: Int
    /// Connections the kernel dropped since the start because the queue was full. Their clients try again, or time out.
    public let overflows: Int

    /// Of a listening TCP descriptor; nil if it is none.
    public init?(descriptor: Int32) {
        var state = cl_tcp_state()
        guard descriptor >= 0, cl_tcp_info(descriptor, &state) == 0 else { return nil }
        waiting = Int(state.unacked)
        capacity = Int(state.sacked)
        overflows = max(0, Int(cl_dropped(descriptor)))
    }
}
