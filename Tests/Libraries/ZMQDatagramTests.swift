import MartletSockets
import MartletZMQ
import Testing

/// RADIO and DISH over UDP (RFC 48's groups): unicast, and a group on the loopback interface.
@Suite struct ZMQDatagramTests {
    /// Sends until something comes: nothing says when a DISH has joined, nor that a datagram arrives.
    private func first(_ radio: ZMQSocket<ZMQRadio>, _ dish: ZMQSocket<ZMQDish>, _ group: ZMQGroup) async throws -> ZMQGroupMessage {
        for _ in 0..<400 {
            try await radio.send("hello", to: group)
            do { return try await dish.receive(timeout: .milliseconds(50)) } catch ZMQError.timedOut { continue }
        }
        throw ZMQError.timedOut
    }

    @Test(arguments: ["udp://127.0.0.1:*", "udp://lo;239.77.1.9:0", "udp://127.0.0.1;239.77.1.9:*", "udp://[::1]:*"])
    func `a message reaches who has joined its group, and nobody else`(_ place: String) async throws {
        let dish = ZMQSocket(.dish), radio = ZMQSocket(.radio)
        let bound = try await dish.bind(place)
        dish.join("weather")
        let interface = place.split(separator: ";").count > 1 ? place.dropFirst(6).split(separator: ";")[0] + ";" : ""
        try radio.connect(bound.description.replacing("udp://", with: "udp://" + interface))
        let one = try await first(radio, dish, "weather")
        #expect(one.group == "weather" && one.text == "hello")
        try await radio.send("not for you", to: "weath")
        try await radio.send("not for you", to: "weather2")
        let large = [UInt8](repeating: 7, count: 8_192 - 8)
        try await radio.send(large, to: "weather")
        var next = try await dish.receive(timeout: .seconds(20))
        while next.text == "hello" { next = try await dish.receive(timeout: .seconds(20)) }
        #expect(next.body == large)
        try await radio.send(large + [7], to: "weather")
        try await radio.send("last", to: "weather")
        #expect(try await dish.receive(timeout: .seconds(20)).text == "last")
        #expect(radio.counters.droppedTooLong == 1 && dish.counters.droppedUnwanted >= 2)
        await radio.close()
        await dish.close()
    }

    @Test func `what no RADIO sends is dropped and counted, and so is what nobody takes`() async throws {
        var options = ZMQSocketOptions()
        options.receiveHighWaterMark = 10
        let dish = ZMQSocket(.dish, options: options)
        let place = String(try await dish.bind("udp://127.0.0.1:*").description.dropFirst(6))
        dish.join("g")
        let wrong: [[UInt8]] = [[], [5, 1, 2], [1], [255], [UInt8](repeating: 0, count: 9_000)]
        try await UDP.withSocket(to: place) { socket in
            for bytes in wrong { try await socket.send(bytes) }
            let good: [UInt8] = [1, UInt8(ascii: "g"), 42]
            while dish.counters.droppedAtMark == 0 { try await socket.send(good) }
        }
        #expect(dish.counters.droppedTooLong == 1 && dish.counters.droppedUnwanted == 4)
        #expect(try await dish.receive().body == [42])
        await dish.close()
    }

    @Test func `only a DISH binds and only a RADIO connects`() async throws {
        let dish = ZMQSocket(.dish), radio = ZMQSocket(.radio), push = ZMQSocket(.push)
        #expect(throws: ZMQError.self) { try dish.connect("udp://127.0.0.1:5555") }
        #expect(throws: ZMQError.self) { try push.connect("udp://127.0.0.1:5555") }
        await #expect(throws: ZMQError.self) { try await radio.bind("udp://127.0.0.1:*") }
        await #expect(throws: ZMQError.self) { try await dish.bind("udp://no-such-interface;239.77.1.9:*") }
        for text in ["udp://localhost:5", "udp://lo;127.0.0.1:5", "udp://;239.0.0.1:5", "udp://239.0.0.1"] {
            #expect(throws: ZMQError.self, "\(text)") { try ZMQEndpoint(text) }
        }
        for socket in [dish.close, radio.close, push.close] { await socket() }
    }

    @Test func `a place is left by unbind and disconnect`() async throws {
        let dish = ZMQSocket(.dish), radio = ZMQSocket(.radio)
        let bound = try await dish.bind("udp://127.0.0.1:*")
        try radio.connect("\(bound)")
        dish.join("g")
        _ = try await first(radio, dish, "g")
        try await dish.unbind("udp://127.0.0.1:*")
        try await radio.disconnect("\(bound)")
        let before = radio.counters.droppedUnroutable
        try await radio.send("nobody", to: "g")
        #expect(radio.counters.droppedUnroutable == before + 1)
        await #expect(throws: ZMQError.noSuchEndpoint("\(bound)")) { try await radio.disconnect("\(bound)") }
        await dish.close()
        await radio.close()
    }
}
