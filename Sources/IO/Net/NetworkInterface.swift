import CLinux
import Glibc

/// The network interfaces of this machine, by name: "eth0", "lo".
public enum NetworkInterface {
    /// The addresses that one has now, IPv4 first, each with `port`; link-local ones with their scope. Empty: there is none of that name, or without addresses.
    public static func addresses(of name: String, port: UInt16) -> [SocketAddress] {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var found: [SocketAddress] = [], next = list
        while let entry = next?.pointee {
            next = entry.ifa_next
            guard let address = entry.ifa_addr, String(cString: entry.ifa_name) == name else { continue }
            switch Int32(address.pointee.sa_family) {
            case AF_INET: found.append(SocketAddress(name: address, count: UInt32(MemoryLayout<sockaddr_in>.size)))
            case AF_INET6: found.append(SocketAddress(name: address, count: UInt32(MemoryLayout<sockaddr_in6>.size)))
            default: break
            }
        }
        return (found.filter { $0.kind == .ipv4 } + found.filter { $0.kind == .ipv6 }).map { $0.with(port: port) }
    }
}
