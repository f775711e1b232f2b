import MartletSockets

/// What the commands about UDP have in common: from options to a socket.
enum UDPArguments {
    static let groupOptions: [Command.Option] = [
        .one("--multicast-ttl", value: "N", about: "hops for a datagram to a group, 0 to 255 (default: 1, this network)"),
        .one("--interface", value: "NAME", about: "the network interface for groups (default: by the routes)"),
        .flag("--no-multicast-loop", about: "not to members of the group on this machine"),
        .flag("--broadcast", about: "allow broadcast addresses"),
    ]

    static func options(_ arguments: Arguments) throws(CommandFailure) -> DatagramOptions {
        var options = DatagramOptions()
        options.multicastTTL = try arguments.integer("--multicast-ttl", in: 0...255) ?? 1
        options.multicastInterface = arguments.text("--interface")
        options.multicastLoopback = !arguments.has("--no-multicast-loop")
        options.broadcast = arguments.has("--broadcast")
        return options
    }

    /// Binds while there is no task yet: a name is looked up on this thread.
    static func bind(_ place: Place, _ options: DatagramOptions, of command: String) throws(CommandFailure) -> DatagramSocket {
        do throws(NetError) {
            switch place {
            case .internet(let host, let port):
                if let first = try SocketAddress.resolve(host, port: port).first { return try DatagramSocket(boundTo: first, options: options) }
            case .unix: if let address = try place.address(phase: .bind) { return try DatagramSocket(boundTo: address, options: options) }
            }
        } catch { throw CommandFailure(SocketEnd.code(of: error), "\(command): \(error)") }
        throw .usage("\(command): \(place) has no address")
    }

    /// A datagram as a line of stdout.
    static func line(_ datagram: [UInt8]) -> [UInt8] { datagram.last == UInt8(ascii: "\n") ? datagram : datagram + [UInt8(ascii: "\n")] }
}
