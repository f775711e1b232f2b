internal import MartletClient
internal import MartletMQTTProtocol

/// A message on its way to the server and who wants to know how it went.
struct MQTTPublication: Sendable {
    enum Completion: Sendable {
        case reply(MQTTReply<Void>)
        case pipeline(MQTTPipeline, size: Int)
    }
    var message: MQTTPublish.Owned
    let topic: String
    let completion: Completion

    init(
        _ payload: [UInt8], to topic: String, qos: MQTTQoS, retain: Bool, properties: MQTTProperties, _ completion: Completion
    ) throws(MQTTClientError) {
        do throws(MQTTMisuse) {
            message = MQTTPublish.Owned(topic: Array(topic.utf8), properties: try properties.encoded(), payload: payload, qos: qos.rawValue, retain: retain)
        } catch {
            throw .misuse(.publish(topic: topic), error)
        }
        self.topic = topic
        self.completion = completion
    }

    /// What it is counted as where memory is bounded.
    var size: Int { message.topic.count + message.properties.count + message.payload.count }

    /// Nobody waits for it and it has not been sent: it need not be.
    var isAbandoned: Bool { if case .reply(let reply) = completion { reply.isAbandoned } else { false } }

    func complete(_ failure: MQTTClientError? = nil) {
        switch completion {
        case .reply(let reply): reply.resolve(failure.map { .failure($0) } ?? .success(()))
        case .pipeline(let pipeline, let size): pipeline.completed(size, failure)
        }
    }
}
