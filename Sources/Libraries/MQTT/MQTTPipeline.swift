internal import MartletClient

/// Publishing without waiting for each acknowledgement. Made by `MQTTClient.pipelined`, which returns when all are acknowledged.
///
/// `publish` suspends when `MQTTClientLimits.pipelineCountMax` messages are under way. The server's receive maximum is kept: what
/// it does not allow yet waits on the loop. The first refusal is thrown by the next call, or at the end of the scope.
/// Any number of tasks may publish; the order is that of the calls.
public final class MQTTPipeline: Sendable {
    private struct Progress: Sendable {
        var count = 0
        var bytes = 0
        var isHeld = false
        var failure: MQTTClientError?
    }
    private let progress = MQTTMonitor(Progress())
    private let client: MQTTClient
    private let limits: MQTTClientLimits

    init(_ client: MQTTClient, limits: MQTTClientLimits) {
        self.client = client
        self.limits = limits
    }

    /// Returns when the message has been taken over, not when it is acknowledged.
    public func publish(
        _ text: String, to topic: String, qos: MQTTQoS = .atMostOnce, retain: Bool = false, properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTClientError) {
        try await publish(Array(text.utf8), to: topic, qos: qos, retain: retain, properties: properties)
    }

    /// The same with any bytes.
    public func publish(
        _ payload: [UInt8], to topic: String, qos: MQTTQoS = .atMostOnce, retain: Bool = false, properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTClientError) {
        let limits = limits, size = payload.count + topic.utf8.count
        let publication = try MQTTPublication(payload, to: topic, qos: qos, retain: retain, properties: properties, .pipeline(self, size: size))
        let failure: MQTTClientError? = try await progress.when { (progress) -> MQTTClientError?? in
            if let failure = progress.failure { return .some(failure) }
            let isFull = progress.count >= limits.pipelineCountMax || progress.bytes >= limits.pipelineBytesMax
            let hasRoom = progress.count <= limits.pipelineCountMax / 2 && progress.bytes <= limits.pipelineBytesMax / 2
            if isFull || progress.isHeld && !hasRoom {
                progress.isHeld = true
                return nil
            }
            progress.isHeld = false
            progress.count += 1
            progress.bytes += size
            return .some(nil)
        }
        if let failure { throw failure }
        client.hand(publication)
    }

    /// By the loop.
    func completed(_ size: Int, _ failure: MQTTClientError?) {
        let limits = limits
        let wakes = progress.with { progress in
            progress.count -= 1
            progress.bytes -= size
            if let failure, progress.failure == nil { progress.failure = failure }
            return progress.count == 0 || progress.failure != nil
                || progress.isHeld && progress.count <= limits.pipelineCountMax / 2 && progress.bytes <= limits.pipelineBytesMax / 2
        }
        if wakes { progress.update() }
    }

    func drained() async throws(MQTTClientError) {
        let failure: MQTTClientError? = try await progress.when { (progress) -> MQTTClientError?? in
            if let failure = progress.failure { return .some(failure) }
            return progress.count == 0 ? .some(nil) : nil
        }
        if let failure { throw failure }
    }
}
