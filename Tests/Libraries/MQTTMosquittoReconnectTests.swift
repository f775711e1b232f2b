import MartletMQTTProtocol
import Testing

@testable import MartletMQTT

/// Connections that break under load, against Debian's mosquitto behind a proxy that cuts them.
@Suite(.enabled(if: MosquittoServer.isInstalled, "\(MosquittoServer.path) is not installed"), .timeLimit(.minutes(10)))
struct MQTTMosquittoReconnectTests {
    private func options(_ version: MQTTVersion, keepsSession: Bool = true) -> MQTTClientOptions {
        var options = MQTTClientOptions()
        options.version = version
        options.reconnect.delayMin = .milliseconds(20)
        options.reconnect.delayMax = .milliseconds(50)
        // The first connection may be cut too.
        options.reconnect.includesFirst = true
        options.cleanStart = version == .v5
        if !keepsSession { options.reconnect.sessionExpiry = .zero }
        return options
    }

    /// Publishes so many numbers through a proxy that is cut again and again, and answers what a subscriber behind another such proxy got.
    private func throughCuts(_ count: Int, _ qos: MQTTQoS, _ version: MQTTVersion, keepsSession: Bool = true) async throws -> [String] {
        let server = try await MosquittoServer("allow_anonymous true")
        let proxy = try CuttingProxy(to: server.port), other = try CuttingProxy(to: server.port)
        defer { proxy.end(); other.end() }
        let cutter = Task {
            while !Task.isCancelled {
                try await Task.sleep(for: .milliseconds(60))
                proxy.cut()
                try await Task.sleep(for: .milliseconds(60))
                if keepsSession { other.cut() }
            }
        }
        defer { cutter.cancel() }
        return try await MQTTClient.withConnection(to: "mqtt://127.0.0.1:\(other.port)", clientID: "subscriber", options: options(version)) { subscriber in
            try await subscriber.subscribe(to: "numbers", qos: qos) { messages in
                try await MQTTClient.withConnection(
                    to: "mqtt://127.0.0.1:\(proxy.port)", clientID: "publisher", options: options(version, keepsSession: keepsSession)
                ) { publisher in
                    try await publisher.pipelined { pipeline in
                        for number in 0..<count {
                            try await pipeline.publish("\(number)", to: "numbers", qos: qos)
                            if number.isMultiple(of: 50) { try await Task.sleep(for: .milliseconds(10)) }
                        }
                    }
                }
                cutter.cancel()
                #expect(proxy.connectionCount > 3)
                #expect(!keepsSession || other.connectionCount > 3)
                var received: [String] = []
                var missing = Set((0..<count).map(String.init))
                var iterator = messages.makeAsyncIterator()
                while !missing.isEmpty, let batch = try await iterator.nextBatch() {
                    for message in batch { missing.remove(message.text) }
                    received += batch.map(\.text)
                }
                return received
            }
        }
    }

    @Test(arguments: [MQTTVersion.v3_1_1, .v5]) func `QoS 2 comes once and in order over many cuts`(_ version: MQTTVersion) async throws {
        #expect(try await throughCuts(5_000, .exactlyOnce, version) == (0..<5_000).map(String.init))
    }

    @Test(arguments: [MQTTVersion.v3_1_1, .v5]) func `QoS 1 loses nothing over many cuts`(_ version: MQTTVersion) async throws {
        let received = try await throughCuts(5_000, .atLeastOnce, version)
        #expect(Set(received).count == 5_000)
    }

    @Test func `QoS 1 loses nothing when the server forgets the session at each cut`() async throws {
        let received = try await throughCuts(3_000, .atLeastOnce, .v5, keepsSession: false)
        #expect(Set(received).count == 3_000)
    }

    @Test func `a will comes when the connection breaks, and not when it is left`() async throws {
        let server = try await MosquittoServer()
        let proxy = try CuttingProxy(to: server.port)
        defer { proxy.end() }
        var options = MQTTClientOptions()
        options.will = MQTTWillMessage(topic: "wills/1", payload: Array("gone".utf8), qos: .atLeastOnce)
        options.reconnect = .never
        let texts = try await MQTTClient.withConnection(to: server.url) { watcher in
            try await watcher.subscribe(to: "wills/+", qos: .atLeastOnce) { messages in
                try await MQTTClient.withConnection(to: "mqtt://127.0.0.1:\(proxy.port)", options: options) { _ in }
                try await watcher.publish("between", to: "wills/2", qos: .atLeastOnce)
                try await MQTTClient.withConnection(to: "mqtt://127.0.0.1:\(proxy.port)", options: options) { client in
                    proxy.cut()
                    _ = await client.untilLost()
                }
                var iterator = messages.makeAsyncIterator()
                return [try await iterator.next()?.text, try await iterator.next()?.text]
            }
        }
        #expect(texts == ["between", "gone"])
    }

    @Test func `a request is answered by another client, through the server`() async throws {
        let server = try await MosquittoServer()
        let text = try await MQTTClient.withConnection(to: server.url) { responder in
            try await responder.subscribe(to: "work/+", qos: .exactlyOnce) { requests in
                let asking = Task {
                    try await MQTTClient.withConnection(to: server.url) { try await $0.request("6x7", to: "work/sums", qos: .exactlyOnce).text }
                }
                var iterator = requests.makeAsyncIterator()
                if let request = try await iterator.next() { try await responder.respond(to: request, with: Array("\(request.text)=42".utf8)) }
                return try await asking.value
            }
        }
        #expect(text == "6x7=42")
    }

    @Test(arguments: [MQTTVersion.v3_1, .v3_1_1, .v5]) func `shared subscriptions give each message to one of a group, at every QoS`(_ version: MQTTVersion)
        async throws
    {
        let server = try await MosquittoServer()
        let options = options(version, keepsSession: false)
        let counts = try await MQTTClient.withConnection(to: server.url, clientID: "a", options: options) { first in
            try await MQTTClient.withConnection(to: server.url, clientID: "b", options: options) { second in
                try await first.subscribe(to: "$share/g/jobs/+", qos: .exactlyOnce) { some in
                    try await second.subscribe(to: "$share/g/jobs/+", qos: .exactlyOnce) { others in
                        for number in 0..<20 { try await first.publish("\(number)", to: "jobs/\(number)", qos: .exactlyOnce) }
                        var (a, b) = (some.makeAsyncIterator(), others.makeAsyncIterator())
                        var counts = [0, 0]
                        for _ in 0..<10 {
                            if try await a.next() != nil { counts[0] += 1 }
                            if try await b.next() != nil { counts[1] += 1 }
                        }
                        return counts
                    }
                }
            }
        }
        #expect(counts == [10, 10])
    }
}
