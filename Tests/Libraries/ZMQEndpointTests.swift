import MartletNet
import MartletZMQ
import Testing

/// Where sockets are bound and connect to, beyond an address and a port.
@Suite struct ZMQEndpointTests {
    @Test func `an interface's addresses are bound, all with one port`() async throws {
        let own = NetworkInterface.addresses(of: "lo", port: 1)
        #expect(own.first?.description == "127.0.0.1:1" && NetworkInterface.addresses(of: "nothing", port: 1).isEmpty)
        let pull = ZMQSocket(.pull)
        let endpoint = try await pull.bind("tcp://lo:*")
        #expect(endpoint.description.hasPrefix("tcp://127.0.0.1:"))
        for address in own {
            let push = ZMQSocket(.push)
            try push.connect("tcp://\(address.with(port: try #require(endpoint.description.split(separator: ":").last.flatMap { UInt16($0) })))")
            try await push.send("by \(address.host)")
            #expect(try await pull.receive().text == "by \(address.host)")
            await push.close()
        }
        try await pull.unbind("tcp://lo:*")
        await pull.close()
    }

    @Test(arguments: ["127.0.0.9:*", "lo:0"])
    func `a connection comes from the source that is named`(_ source: String) async throws {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push)
        let events = pull.events
        let place = try await pull.bind("tcp://127.0.0.1:*").description.dropFirst(6)
        try push.connect("tcp://\(source);\(place)")
        try await push.send("hello")
        #expect(try await pull.receive().text == "hello")
        for await case .accepted(let peer) in events {
            #expect(peer.hasPrefix(source.hasPrefix("lo") ? "127.0.0.1:" : "127.0.0.9:"))
            break
        }
        await push.close()
        await pull.close()
    }

    @Test func `a source that is not this machine's is told of, and tried again`() async throws {
        let push = ZMQSocket(.push)
        let events = push.events
        try push.connect("tcp://192.0.2.1:0;127.0.0.1:9")
        for await case .connectFailed(_, let reason, _) in events {
            #expect(reason.contains("192.0.2.1") || reason.contains("address"))
            break
        }
        await push.close()
    }

    @Test func `endpoints that are none are refused`() async throws {
        for text in ["tcp://", "tcp://a", "tcp://a:b", "tcp://::1:5", "tcp://a:1;b", ";", "tcp://:5", "sctp://a:1"] {
            #expect(throws: ZMQError.self, "\(text)") { try ZMQEndpoint(text) }
        }
        let pull = ZMQSocket(.pull)
        await #expect(throws: ZMQError.self) { try await pull.bind("tcp://127.0.0.1:0;127.0.0.1:*") }
        await #expect(throws: ZMQError.self) { try await pull.bind("tcp://no-such-interface.invalid:*") }
        #expect(throws: ZMQError.self) { try pull.connect("tcp://lo:*") }
        await pull.close()
    }

    @Test func `an IPv6 address has its scope`() throws {
        #expect(SocketAddress("fe80::1%lo", port: 5)?.kind == .ipv6)
        #expect(
            SocketAddress("fe80::1%1", port: 5) == SocketAddress("fe80::1%lo", port: 5)
                && SocketAddress("fe80::1", port: 5) != SocketAddress("fe80::1%lo", port: 5))
        #expect(SocketAddress("fe80::1%nothing", port: 5) == nil && SocketAddress("127.0.0.1%lo", port: 5) == nil && SocketAddress("fe80::1%", port: 5) == nil)
        _ = try ZMQEndpoint("tcp://[fe80::1%lo]:5555")
    }
}
