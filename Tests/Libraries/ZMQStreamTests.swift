import MartletZMQ
import Testing

/// STREAM between two of our sockets: what Python's sockets and curl say to one is in Tests/Interop/test_zmq_stream.py.
@Suite struct ZMQStreamTests {
    private func message(_ id: [UInt8], _ bytes: [UInt8]) -> ZMQMessage { ZMQMessage(frames: [id, bytes]) }

    private func bytes(_ count: Int, from socket: ZMQSocket<ZMQStream>, of id: [UInt8]) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let message = try await socket.receive()
            #expect(message.count == 2 && message[0] == id && !message[1].isEmpty)
            bytes += message[1]
        }
        return bytes
    }

    @Test(arguments: [ZMQSocketTests.Transport.tcp, .tcp6, .ipc, .abstract])
    func `bytes go both ways, and an empty message says that a peer comes and goes, or sends it away`(transport: ZMQSocketTests.Transport) async throws {
        let server = ZMQSocket(.stream), client = ZMQSocket(.stream)
        let endpoint = try await server.bind(ZMQSocketTests.endpoint(transport))
        try client.connect("\(endpoint)")
        let came = try await server.receive(), connected = try await client.receive()
        #expect(came.count == 2 && came[1].isEmpty && came[0].count == 5 && came[0][0] == 0)
        #expect(connected.count == 2 && connected[1].isEmpty)
        let (one, other) = (came[0], connected[0])
        try await client.send(message(other, Array("GET / HTTP/1.0\r\n\r\n".utf8)))
        let request = try await bytes(18, from: server, of: one)
        #expect(request == Array("GET / HTTP/1.0\r\n\r\n".utf8))
        // What was sent before the end leaves before it.
        let large = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try await server.send(message(one, large))
        try await server.send(message(one, Array("end".utf8)))
        try await server.send(message(one, []))
        let answer = try await bytes(large.count + 3, from: client, of: other)
        #expect(answer == large + Array("end".utf8))
        let gone = try await client.receive()
        #expect(gone == message(other, []))
        // The connection is made again, under the same name at the end that makes it and another at the other.
        let again = try await client.receive(), newcomer = try await server.receive()
        #expect(again == message(other, []) && newcomer[1].isEmpty && newcomer[0] != one)
        await #expect(throws: ZMQError.noPeer(routingID: one)) { try await server.send(message(one, [1])) }
        // The end that made it ends it for good.
        try await client.send(message(other, []))
        let left = try await server.receive()
        #expect(left == message(newcomer[0], []))
        try await ZMQSocketTests.until { server.peerCount == 0 && client.peerCount == 0 }
        await client.close()
        await server.close()
    }

    @Test func `a sender waits for a peer that does not read`() async throws {
        var options = ZMQSocketOptions()
        (options.sendHighWaterMark, options.receiveHighWaterMark) = (4, 4)
        let server = ZMQSocket(.stream, options: options), client = ZMQSocket(.stream, options: options)
        let endpoint = try await server.bind("tcp://127.0.0.1:*")
        try client.connect("\(endpoint)")
        let one = try await server.receive()[0], other = try await client.receive()[0]
        let block = [UInt8](repeating: 1, count: 100_000)
        var sent = 0
        await #expect(throws: ZMQError.timedOut) {
            while true {
                try await server.send(message(one, block), timeout: .milliseconds(100))
                sent += 1
            }
        }
        async let rest: Void = server.send(message(one, block))
        let received = try await bytes((sent + 1) * block.count, from: client, of: other)
        try await rest
        #expect(received.count == (sent + 1) * block.count && server.counters.droppedAtMark == 0)
        await client.close()
        await server.close()
    }

    @Test func `inproc has no streams of bytes`() async throws {
        let stream = ZMQSocket(.stream)
        await #expect(throws: ZMQError.self) { try await stream.bind("inproc://stream") }
        #expect(throws: ZMQError.self) { try stream.connect("inproc://stream") }
        await stream.close()
    }

    @Test func `a ROUTER that asks for it is told of its peers, and a peer that it connects to keeps its name`() async throws {
        var options = ZMQSocketOptions()
        options.tellsOfPeers = true
        let router = ZMQSocket(.router, options: options), endpoint = ZMQSocketTests.endpoint(.ipc)
        try router.connect(endpoint)
        var names: Set<[UInt8]> = []
        for number in 0..<2 {
            let name = try await withZMQSocket(.dealer, bind: endpoint) { dealer in
                let came = try await router.receive()
                #expect(came.count == 2 && came[1].isEmpty)
                try await router.send(ZMQMessage(frames: [came[0], Array("hello \(number)".utf8)]))
                let message = try await dealer.receive()
                #expect(message == ZMQMessage("hello \(number)"))
                return came[0]
            }
            names.insert(name)
            let gone = try await router.receive()
            #expect(gone[1].isEmpty && names == [gone[0]])
        }
        await router.close()
    }
}
