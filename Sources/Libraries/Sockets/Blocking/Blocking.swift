import CLinux
import MartletBytes
public import MartletNet

/// Sockets as the system has them: calls that wait. See `BlockingConnection` for where they belong, and where they must not be used.
/// ```swift
/// let listener = try Blocking.TCP.listen(on: "127.0.0.1:65432")
/// var client = try listener.accept()
/// while let bytes = try client.read() { try client.write(bytes) }
/// ```
public enum Blocking {
    public enum TCP {
        /// Connects to "HOST:PORT", trying the addresses of a name one after another. Throws `unresolvable`, and the last address's failure:
        /// `refused`, `timedOut`, `unreachable`. Looking up the name may take longer than `timeout`: the system's resolver has its own.
        public static func connect(
            to place: String, options: StreamOptions = StreamOptions(), timeout: Duration = .seconds(10)
        ) throws(NetError) -> BlockingConnection {
            let start = Instant.current, deadline = start + timeout
            var failure = NetError(.unresolvable, .resolve, place)
            for address in try addresses(of: place) {
                do throws(NetError) {
                    return BlockingConnection(try StreamSocket.connect(to: address, options: options, until: deadline), peer: address)
                } catch { failure = error }
            }
            throw failure
        }

        /// Listens on "HOST:PORT"; port 0 becomes a free one. Throws `addressInUse`, `addressNotAvailable`, `permissionDenied`, `unresolvable`.
        public static func listen(on place: String, options: StreamOptions = StreamOptions()) throws(NetError) -> BlockingListener {
            guard let address = try addresses(of: place).first else { throw NetError(.unresolvable, .listen, place) }
            return BlockingListener(try BoundSocket(address, options: options))
        }

        private static func addresses(of place: String) throws(NetError) -> [SocketAddress] {
            switch try Place(place) {
            case .internet(let host, let port): try SocketAddress.resolve(host.isEmpty ? "0.0.0.0" : host, port: port)
            case .unix(let path): throw NetError(.unresolvable, .resolve, path)
            }
        }
    }

    /// A path of at most 107 bytes, or "@name" for a name without a file.
    public enum Unix {
        /// Throws `refused` where nobody listens, `permissionDenied`, `timedOut`, `tooLong`.
        public static func connect(
            to path: String, options: StreamOptions = StreamOptions(), timeout: Duration = .seconds(10)
        ) throws(NetError) -> BlockingConnection {
            let address = try address(path, .connect)
            return BlockingConnection(try StreamSocket.connect(to: address, options: options, until: .current + timeout), peer: address)
        }

        /// A file that a dead server left behind is replaced; it is removed with the listener. Throws `addressInUse`, `permissionDenied`, `tooLong`.
        public static func listen(on path: String, options: StreamOptions = StreamOptions()) throws(NetError) -> BlockingListener {
            BlockingListener(try BoundSocket(try address(path, .listen), options: options))
        }

        private static func address(_ path: String, _ phase: NetError.Phase) throws(NetError) -> SocketAddress {
            guard let address = try Place.unix(path).address(phase: phase) else { throw NetError(.unresolvable, phase, path) }
            return address
        }
    }
}
