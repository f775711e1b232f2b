internal import MartletClient
internal import MartletMQTTProtocol
internal import Synchronization

/// Requests of one client that wait for their answers: the response topic they share, and who waits for which correlation data.
///
/// Invariant: the response topic is subscribed to once, before the first request leaves.
final class MQTTResponses: Sendable {
    private enum Topic: Sendable {
        case none
        case subscribing
        case ready(String)
    }
    private struct Contents: Sendable {
        var topic = Topic.none
        var replies: [[UInt8]: MQTTReply<MQTTMessage>] = [:]
    }
    private let monitor = MQTTMonitor(Contents())

    /// The response topic, once it is subscribed to; the first caller does that by `subscribe`.
    func topic(_ subscribe: () async throws(MQTTClientError) -> String) async throws(MQTTClientError) -> String {
        let known: Result<String, MQTTClientError>? = try await monitor.when { (contents) -> Result<String, MQTTClientError>?? in
            switch contents.topic {
            case .ready(let topic): return .some(.success(topic))
            case .subscribing: return nil
            case .none:
                contents.topic = .subscribing
                return .some(nil)
            }
        }
        if let known { return try known.get() }
        do throws(MQTTClientError) {
            let topic = try await subscribe()
            monitor.update { $0.topic = .ready(topic) }
            return topic
        } catch {
            monitor.update { $0.topic = .none }
            throw error
        }
    }

    func expect(_ correlation: [UInt8], _ reply: MQTTReply<MQTTMessage>) { monitor.with { $0.replies[correlation] = reply } }
    func forget(_ correlation: [UInt8]) { monitor.with { $0.replies[correlation] = nil } }

    /// By the loop.
    func arrived(_ message: MQTTMessage) {
        guard let correlation = message.properties.correlationData else { return }
        monitor.with { $0.replies.removeValue(forKey: correlation) }?.resolve(.success(message))
    }

    func end(_ error: MQTTClientError) {
        let waiting = monitor.with { contents in
            let replies = contents.replies.values
            contents.replies = [:]
            return Array(replies)
        }
        for reply in waiting { reply.resolve(.failure(error)) }
    }
}

extension MQTTClient {
    /// Publishes a request and waits for its answer (MQTT 5.0 section 4.10; v5 alone). The answer is what comes to the response
    /// topic of this client with the request's correlation data. Any number of requests may be under way.
    /// ```swift
    /// let answer = try await client.request("status", to: "meters/7/commands")
    /// ```
    /// Throws `noResponse` when none came within `timeout`; a responder that is slow may have done its work all the same.
    public func request(
        _ payload: [UInt8], to topic: String, qos: MQTTQoS = .atLeastOnce, properties: MQTTProperties = MQTTProperties(), timeout: Duration = .seconds(10)
    ) async throws(MQTTClientError) -> MQTTMessage {
        guard version == .v5 else { throw .misuse(.publish(topic: topic), .propertiesInvalid) }
        var properties = properties
        properties.responseTopic = try await responses.topic { () throws(MQTTClientError) in try await subscribeToResponses() }
        let correlation = (0..<16).map { _ in UInt8.random(in: 0...255) }
        properties.correlationData = correlation
        let reply = MQTTReply<MQTTMessage>()
        responses.expect(correlation, reply)
        defer { responses.forget(correlation) }
        let timer = Task {
            try await Task.sleep(for: timeout)
            reply.resolve(.failure(.noResponse(topic: topic, after: timeout)))
        }
        defer { timer.cancel() }
        try await publish(payload, to: topic, qos: qos, properties: properties)
        return try await reply.value()
    }

    public func request(
        _ text: String, to topic: String, qos: MQTTQoS = .atLeastOnce, properties: MQTTProperties = MQTTProperties(), timeout: Duration = .seconds(10)
    ) async throws(MQTTClientError) -> MQTTMessage {
        try await request(Array(text.utf8), to: topic, qos: qos, properties: properties, timeout: timeout)
    }

    /// Answers a request: publishes to its response topic, with its correlation data. Does nothing if it asked for no answer.
    public func respond(
        to request: MQTTMessage, with payload: [UInt8], qos: MQTTQoS = .atLeastOnce, properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTClientError) {
        guard let topic = request.properties.responseTopic else { return }
        var properties = properties
        properties.correlationData = request.properties.correlationData
        try await publish(payload, to: topic, qos: qos, properties: properties)
    }

    /// Under the server's response information, if it gives any; else under the client identifier.
    private func subscribeToResponses() async throws(MQTTClientError) -> String {
        let (clientID, address) = opening.withLock { ($0.clientID, $0.responseAddress) }
        let name = String(clientID.map { "+#/".contains($0) ? "_" : $0 })
        let topic = "\(address ?? "martlet/responses/\(name)")/\(String(UInt64.random(in: 0...(.max)), radix: 36))"
        let inbox = MQTTInbox(limits: limits, sink: { [responses] in responses.arrived($0) }) {}
        let reasons = try await subscribe(nextSubscription(), [topic], MQTTSubscribing(qos: .atLeastOnce), inbox).value()
        if let reason = reasons.first, reason.isFailure { throw .rejected(.subscribe(filter: topic), reason) }
        return topic
    }
}
