import MartletMQTTProtocol
import Testing

@testable import MartletMQTT

/// The client against Debian's mosquitto.
@Suite(.enabled(if: MosquittoServer.isInstalled, "\(MosquittoServer.path) is not installed"), .timeLimit(.minutes(10)))
struct MQTTMosquittoTests {
    static let versions: [MQTTVersion] = [.v3_1_1, .v5]

    private func options(_ version: MQTTVersion) -> MQTTClientOptions {
        var options = MQTTClientOptions()
        options.version = version
        return options
    }

    @Test(arguments: versions, [MQTTQoS.atMostOnce, .atLeastOnce])
    func `what is published arrives, with its topic, by wildcards`(_ version: MQTTVersion, _ qos: MQTTQoS) async throws {
        let server = try await MosquittoServer()
        let messages = try await MQTTClient.withConnection(to: server.url, clientID: "meter-7", options: options(version)) { client in
            try await client.subscribe(to: ["home/+/temperature", "alarm/#"], qos: qos) { messages in
                try await client.publish("21.5", to: "home/kitchen/temperature", qos: qos)
                try await client.publish("nobody", to: "home/kitchen/humidity", qos: qos)
                try await client.publish([], to: "alarm", qos: qos)
                try await client.publish("ünïcode", to: "alarm/fire/1", qos: qos)
                var iterator = messages.makeAsyncIterator()
                var all: [MQTTMessage] = []
                while all.count < 3, let message = try await iterator.next() { all.append(message) }
                return all
            }
        }
        #expect(
            messages == [
                MQTTMessage(topic: "home/kitchen/temperature", payload: Array("21.5".utf8), qos: qos),
                MQTTMessage(topic: "alarm", payload: [], qos: qos),
                MQTTMessage(topic: "alarm/fire/1", payload: Array("ünïcode".utf8), qos: qos),
            ])
    }

    @Test(arguments: versions) func `5,000 pipelined QoS 1 messages arrive in order`(_ version: MQTTVersion) async throws {
        let server = try await MosquittoServer()
        let received = try await MQTTClient.withConnection(to: server.url, options: options(version)) { client in
            try await client.subscribe(to: "numbers", qos: .atLeastOnce) { messages in
                try await MQTTClient.withConnection(to: server.url, options: options(version)) { publisher in
                    try await publisher.pipelined { pipeline in
                        for number in 0..<5_000 { try await pipeline.publish("\(number)", to: "numbers", qos: .atLeastOnce) }
                    }
                }
                var iterator = messages.makeAsyncIterator()
                var received: [String] = []
                while received.count < 5_000, let batch = try await iterator.nextBatch() { received += batch.map(\.text) }
                return received
            }
        }
        #expect(received == (0..<5_000).map(String.init))
    }

    @Test(arguments: versions) func `many tasks publish at once`(_ version: MQTTVersion) async throws {
        let server = try await MosquittoServer()
        try await MQTTClient.withConnection(to: server.url, options: options(version)) { client in
            try await withThrowingTaskGroup { group in
                for number in 0..<200 { group.addTask { try await client.publish("\(number)", to: "t/\(number)", qos: .atLeastOnce) } }
                try await group.waitForAll()
            }
        }
    }

    @Test(arguments: versions) func `a large message passes in both directions`(_ version: MQTTVersion) async throws {
        let server = try await MosquittoServer()
        let payload = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let echo = try await MQTTClient.withConnection(to: server.url, options: options(version)) { client in
            try await client.subscribe(to: "big", qos: .atLeastOnce) { messages in
                try await client.publish(payload, to: "big", qos: .atLeastOnce)
                var iterator = messages.makeAsyncIterator()
                return try await iterator.next()?.payload
            }
        }
        #expect(echo == payload)
    }

    @Test(arguments: versions) func `a retained message comes to a later subscriber`(_ version: MQTTVersion) async throws {
        let server = try await MosquittoServer()
        try await MQTTClient.withConnection(to: server.url, options: options(version)) {
            try await $0.publish("kept", to: "r", qos: .atLeastOnce, retain: true)
        }
        let message = try await MQTTClient.withConnection(to: server.url, options: options(version)) { client in
            try await client.subscribe(to: "r") { messages in
                var iterator = messages.makeAsyncIterator()
                return try await iterator.next()
            }
        }
        #expect(message == MQTTMessage(topic: "r", payload: Array("kept".utf8), retain: true))
    }

    @Test(arguments: versions) func `a kept session brings what came meanwhile`(_ version: MQTTVersion) async throws {
        let server = try await MosquittoServer()
        var kept = options(version)
        kept.cleanStart = false
        kept.sessionExpiry = .seconds(60)
        try await MQTTClient.withConnection(to: server.url, clientID: "panel", options: kept) { client in
            try await client.subscribe(to: "alarms", qos: .atLeastOnce, staysSubscribed: true) { _ in }
        }
        try await MQTTClient.withConnection(to: server.url, options: options(version)) { client in
            for number in 0..<3 { try await client.publish("\(number)", to: "alarms", qos: .atLeastOnce) }
        }
        let texts = try await MQTTClient.withConnection(to: server.url, clientID: "panel", options: kept) { client in
            try await client.subscribe(to: "alarms", qos: .atLeastOnce, staysSubscribed: true) { messages in
                var iterator = messages.makeAsyncIterator()
                var texts: [String] = []
                while texts.count < 3, let message = try await iterator.next() { texts.append(message.text) }
                return texts
            }
        }
        #expect(texts == ["0", "1", "2"])
    }

    @Test(arguments: versions) func `cancelling ends an iteration`(_ version: MQTTVersion) async throws {
        let server = try await MosquittoServer()
        let options = options(version)
        let task = Task {
            try await MQTTClient.withConnection(to: server.url, options: options) { client in
                try await client.subscribe(to: "#") { messages in for try await _ in messages {} }
            }
        }
        try await Task.sleep(for: .milliseconds(100))
        task.cancel()
        await #expect(throws: MQTTClientError.self) { try await task.value }
    }

    @Test(arguments: versions) func `credentials that are missing are refused as such`(_ version: MQTTVersion) async throws {
        let server = try await MosquittoServer("allow_anonymous false")
        do {
            try await MQTTClient.withConnection(to: server.url, options: options(version)) { _ in }
            Issue.record("let in")
        } catch let error as MQTTClientError {
            #expect(error.isNotAuthorized)
        }
    }

    @Test func `a server that is not there is unreachable`() async throws {
        do {
            try await MQTTClient.withConnection(to: "mqtt://127.0.0.1:1") { _ in }
            Issue.record("connected")
        } catch let error as MQTTClientError {
            #expect(error.isUnreachable)
        }
    }

    /// The examples of the documentation, as they stand there.
    @Test func `the examples of the documentation work`() async throws {
        let server = try await MosquittoServer()
        let lines = ["1", "2"]
        try await MQTTClient.withConnection(to: server.url, clientID: "meter-7") { client in
            try await client.publish("21.5", to: "home/kitchen/temperature", qos: .atLeastOnce, retain: true)
            try await client.pipelined { pipeline in
                for line in lines { try await pipeline.publish(line, to: "numbers", qos: .atLeastOnce) }
            }
            try await client.subscribe(to: "home/+/temperature") { messages in
                for try await message in messages {
                    #expect(message.text == "21.5")
                    break
                }
            }
            try await client.subscribe(to: "meters/+/commands") { commands in
                async let answer = try await client.request("status", to: "meters/7/commands")
                for try await command in commands {
                    try await client.respond(to: command, with: Array("fine".utf8))
                    break
                }
                #expect(try await answer.text == "fine")
            }
        }
    }
}
