public import MartletNet

extension Blocking {
    /// Datagrams by calls that wait, for threads of the system's own, never inside of a task: recvfrom and sendto. Tasks use `MartletSockets.UDP`.
    /// ```swift
    /// let socket = try Blocking.UDP.bind(on: "127.0.0.1:65432")
    /// while true {
    ///     let (datagram, from) = try socket.receive()
    ///     try socket.send(datagram, to: from)
    /// }
    /// ```
    public enum UDP {
        /// Binds to "HOST:PORT"; port 0 becomes a free one. Throws `addressInUse`, `addressNotAvailable`, `permissionDenied`, `unresolvable`.
        public static func bind(on place: String, options: DatagramOptions = DatagramOptions()) throws(NetError) -> BlockingDatagrams {
            guard let address = try addresses(of: place, .bind).first else { throw NetError(.unresolvable, .bind, place) }
            return BlockingDatagrams(try DatagramSocket(boundTo: address, options: options))
        }

        /// Connects to "HOST:PORT", which sends nothing: the first of a name's addresses to which there is a route. Throws `unresolvable`, `unreachable`.
        public static func connect(to place: String, options: DatagramOptions = DatagramOptions()) throws(NetError) -> BlockingDatagrams {
            var failure = NetError(.unresolvable, .resolve, place)
            for address in try addresses(of: place, .connect) {
                do throws(NetError) { return BlockingDatagrams(try DatagramSocket(connectedTo: address, options: options)) } catch { failure = error }
            }
            throw failure
        }

        private static func addresses(of place: String, _ phase: NetError.Phase) throws(NetError) -> [SocketAddress] {
            switch try Place(place, phase: phase) {
            case .internet(let host, let port): try SocketAddress.resolve(host.isEmpty ? "0.0.0.0" : host, port: port)
            case .unix(let path): throw NetError(.unresolvable, phase, path)
            }
        }
    }
}
