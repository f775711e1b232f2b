import CLinux

/// Who connected to a Unix socket, or listens at it, as the kernel saw it at that moment (SO_PEERCRED).
public struct PeerCredentials: Sendable, Equatable {
    public let process: Int32
    public let user: UInt32
    public let group: UInt32

    /// Of a connected Unix descriptor; nil for anything else.
    public init?(descriptor: Int32) {
        var process: Int32 = 0, user: UInt32 = 0, group: UInt32 = 0
        // TCP answers too, with process 0.
        guard descriptor >= 0, cl_peer_credentials(descriptor, &process, &user, &group) == 0, process != 0 else { return nil }
        (self.process, self.user, self.group) = (process, user, group)
    }
}
