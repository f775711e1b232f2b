import CLinux
public import MartletEventLoop

/// A network call that failed: what was tried, with whom, for how long, and why. `description` is one sentence that ends with what to do.
public struct NetError: Error, Sendable, Equatable {
    /// Why. The same on every path that leads there, so that a program can decide by it.
    public enum Kind: Sendable, Equatable, CaseIterable {
        /// Nobody listens at the address.
        case refused
        /// The peer, or something between, has thrown the connection away.
        case reset
        /// The deadline came first, the call's or the system's.
        case timedOut
        /// There is no way to the network or the host.
        case unreachable
        /// The name has no address.
        case unresolvable
        case addressInUse
        /// The address to bind is not one of this machine's.
        case addressNotAvailable
        case permissionDenied
        case certificateExpired
        case certificateWrongHost
        case certificateUntrusted
        /// The peer wants a certificate of ours.
        case certificateRequired
        /// Another failure of TLS: no common version, a peer that does not speak it, a broken record.
        case tls
        /// The stream, or a datagram, ended before the whole was there.
        case truncated
        /// More bytes than the caller or the protocol allows in one piece.
        case tooLong
        /// The connection was closed here, or written to after `finishWriting`.
        case closed
        /// The task that waited was cancelled. What had arrived is kept for the next call.
        case cancelled
        /// Anything else: see `errno` and `detail`.
        case other
    }

    /// What was under way.
    public enum Phase: Sendable, Equatable, CaseIterable { case resolve, bind, listen, connect, handshake, read, write, close }

    public let kind: Kind
    public let phase: Phase
    /// Where: "127.0.0.1:9000", "example.org:443", "/run/x.sock", "@name".
    public let address: String
    /// From the call until the failure; zero where no time passes, as in binding.
    public let elapsed: Duration
    /// The system's number, 0 if the failure has none.
    public let errno: Int32
    /// What is known beside the kind, in lower case without a full stop; often empty.
    public let detail: String

    public init(_ kind: Kind, _ phase: Phase, _ address: String, elapsed: Duration = .zero, errno: Int32 = 0, detail: String = "") {
        self.kind = kind
        self.phase = phase
        self.address = address
        self.elapsed = elapsed
        self.errno = abs(errno)
        self.detail = detail
    }

    /// The failure of a system call; `errno` may have either sign.
    public init(errno: Int32, _ phase: Phase, _ address: String, elapsed: Duration = .zero) {
        let kind = Kind(errno: abs(errno), phase)
        self.init(kind, phase, address, elapsed: elapsed, errno: errno, detail: kind == .other ? Self.text(of: errno) : "")
    }

    /// The failure of a layer such as TLS. One in the handshake has that phase, whatever was called.
    public init(_ failure: LayerFailure, _ phase: Phase, _ address: String, elapsed: Duration = .zero) {
        let kind: Kind =
            switch failure.kind {
            case .certificateExpired: .certificateExpired
            case .certificateWrongHost: .certificateWrongHost
            case .certificateUntrusted: .certificateUntrusted
            case .certificateRequired: .certificateRequired
            case .handshakeFailed, .protocolError: .tls
            case .upgradeRefused: .other
            case .truncated: .truncated
            }
        let isHandshake = failure.isAboutCertificate || failure.kind == .handshakeFailed
        let phase: Phase = isHandshake ? .handshake : failure.kind == .upgradeRefused ? .connect : phase
        self.init(kind, phase, address, elapsed: elapsed, detail: failure.text)
    }

    /// The system's words for a number.
    static func text(of errno: Int32) -> String { String(cString: cl_error_text(errno)).lowercased() }
}

extension NetError.Kind {
    /// What a system call's number means during a phase.
    init(errno: Int32, _ phase: NetError.Phase) {
        switch errno {
        case 111: self = .refused  // ECONNREFUSED
        case 2 where phase == .connect, 11 where phase == .connect: self = .refused  // ENOENT, EAGAIN: a Unix socket that is not there, or full
        case 104, 32, 103: self = .reset  // ECONNRESET, EPIPE, ECONNABORTED
        case 110: self = .timedOut  // ETIMEDOUT
        case 100, 101, 112, 113: self = .unreachable  // ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH
        case 98: self = .addressInUse
        case 99: self = .addressNotAvailable
        case 1, 13: self = .permissionDenied  // EPERM, EACCES
        case 90: self = .tooLong  // EMSGSIZE
        default: self = .other
        }
    }
}

extension NetError: CustomStringConvertible {
    /// "cannot connect to 127.0.0.1:9: refused after 1 ms; is the server running?"
    public var description: String {
        var text = "\(attempt): \(reason)"
        if elapsed > .zero { text += " after \(Self.short(elapsed))" }
        if !detail.isEmpty, kind != .other { text += " (\(detail))" }
        let hint = hint
        return hint.isEmpty ? text : "\(text); \(hint)"
    }

    private var attempt: String {
        switch phase {
        case .resolve: "cannot resolve \(address)"
        case .bind: "cannot bind \(address)"
        case .listen: "cannot listen on \(address)"
        case .connect: "cannot connect to \(address)"
        case .handshake: "no TLS with \(address)"
        case .read: "cannot read from \(address)"
        case .write: "cannot write to \(address)"
        case .close: "cannot close the connection to \(address)"
        }
    }

    /// The kind in words.
    public var reason: String {
        switch kind {
        case .refused: "refused"
        case .reset: "reset by the peer"
        case .timedOut: "timed out"
        case .unreachable: "unreachable"
        case .unresolvable: "no such host"
        case .addressInUse: "address already in use"
        case .addressNotAvailable: "not an address of this machine"
        case .permissionDenied: "permission denied"
        case .certificateExpired: "the certificate has expired"
        case .certificateWrongHost: "the certificate is for another host"
        case .certificateUntrusted: "the certificate is not trusted"
        case .certificateRequired: "a client certificate is required"
        case .tls: "TLS failed"
        case .truncated: "cut short"
        case .tooLong: "too long"
        case .closed: "closed"
        case .cancelled: "cancelled"
        case .other: detail.isEmpty ? "failed" : detail
        }
    }

    /// What to look at or to do, without a full stop; empty where nothing better than the reason can be said.
    public var hint: String {
        switch (kind, phase) {
        case (.refused, _): isPath ? "is the server running, and is that its socket?" : "is the server running?"
        case (.reset, .connect), (.reset, .handshake): "does the server speak this protocol, and is it full?"
        case (.reset, _): "the peer crashed, gave up or closed with bytes unread"
        case (.timedOut, .connect): "is the host up, and does a firewall drop the packets?"
        case (.timedOut, .resolve): "is the name server reachable?"
        case (.timedOut, .read): "the peer sent nothing; is it stuck, or is the timeout too short?"
        case (.timedOut, .write), (.timedOut, .close): "the peer does not read"
        case (.timedOut, .handshake): "does the server speak TLS on this port?"
        case (.unreachable, _): "is the network up, and is there a route to the host?"
        case (.unresolvable, _): "is the name spelt right, and is the name server reachable?"
        case (.addressInUse, _): "is another server running there? take another port, or 0 for a free one"
        case (.addressNotAvailable, _): "bind 0.0.0.0, [::] or an address that `ip address` lists"
        case (.permissionDenied, .listen), (.permissionDenied, .bind):
            isPath ? "may this user write to the directory?" : "ports below 1024 need root or CAP_NET_BIND_SERVICE"
        case (.permissionDenied, .connect) where address.hasPrefix("255.") || address.contains(".255:"): "broadcast has to be allowed"
        case (.permissionDenied, .connect): isPath ? "may this user write to the socket?" : "does a firewall on this machine forbid it?"
        case (.permissionDenied, .write): "is it a broadcast address? that has to be allowed"
        case (.certificateExpired, _): "renew it, or set this machine's clock"
        case (.certificateWrongHost, _): "use the name that is in the certificate, or set serverName"
        case (.certificateUntrusted, _): "trust its authority with a CA file, if it is yours"
        case (.certificateRequired, _): "give an identity: a certificate and its key"
        case (.tooLong, .connect), (.tooLong, .listen), (.tooLong, .bind): "a Unix path has at most 107 bytes"
        case (.tooLong, .read): "raise the limit, if the peer may send so much"
        case (.tooLong, .write): "split it over several datagrams"
        case (.truncated, .read) where errno == 90: "raise it to have such datagrams whole"  // EMSGSIZE
        case (.truncated, .read): "the peer ended the stream too early"
        case (.closed, _): "use the connection inside of its scope, and write before finishWriting"
        default: ""
        }
    }

    private var isPath: Bool { address.hasPrefix("/") || address.hasPrefix("@") }

    /// Two or three digits: "0.4 ms", "12 ms", "1.5 s".
    private static func short(_ duration: Duration) -> String {
        let microseconds = Int64(duration / .microseconds(1))
        if microseconds < 950 { return "0.\(max(1, (microseconds + 50) / 100)) ms" }
        if microseconds < 999_500 { return "\((microseconds + 500) / 1_000) ms" }
        let tenths = (microseconds + 50_000) / 100_000
        return tenths % 10 == 0 ? "\(tenths / 10) s" : "\(tenths / 10).\(tenths % 10) s"
    }
}
