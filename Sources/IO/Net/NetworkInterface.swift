import CLinux
import Glibc

/// The network interfaces of this machine, by name: "eth0", "lo".
public enum NetworkInterface {
    /// The addresses that one has now, IPv4 first, each with `port`; link-local ones with their scope. Empty: there is none of that name, or without addresses.
    public static func addresses(of name: String, port: UInt16) -> [SocketAddress] {
        let found = all().filter { $0.name == name }.map(\.address)
        return (found.filter { $0.kind == .ipv4 } + found.filter { $0.kind == .ipv6 }).map { $0.with(port: port) }
    }

    /// The one that has this address ("127.0.0.1"); nil: there is none.
    public static func name(having address: String) -> String? { all().first { $0.address.host == address }?.name }

    private static func all() -> [(name: String, address: SocketAddress)] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [(name: String, address: SocketAddress)] = [], next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr else { continue }
            let count: Int
            switch Int32(address.pointee.sa_family) {
            case AF_INET: count = MemoryLayout<sockaddr_in>.size
            case AF_INET6: count = MemoryLayout<sockaddr_in6>.size
            default: continue
            }
            found.append((String(cString: entry.ifa_name), SocketAddress(name: address, count: UInt32(count))))
        }
        return found
    }
}
