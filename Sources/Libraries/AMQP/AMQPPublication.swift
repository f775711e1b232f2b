internal import MartletAMQPProtocol
internal import MartletBytes
internal import MartletClient

/// A message on its way to the server and who wants to know how it went.
struct AMQPPublication: Sendable {
    enum Completion: Sendable {
        case reply(AMQPReply<Void>)
        case window(AMQPWindow)
    }
    let exchange: String
    let routingKey: String
    let properties: [UInt8]
    let body: [UInt8]
    let completion: Completion
    let isMandatory: Bool
    /// It is complete when the server has confirmed it, and not when it has left.
    let awaitsConfirm: Bool

    /// What it is counted as where memory is bounded.
    var size: Int { body.count + properties.count + routingKey.utf8.count }

    /// Nobody waits for it and it has not been sent: it need not be.
    var isAbandoned: Bool { if case .reply(let reply) = completion { reply.isAbandoned } else { false } }

    /// For one. Those of a window that went well are counted first (`AMQPCompletions`).
    func complete(_ failure: AMQPError? = nil) {
        switch completion {
        case .reply(let reply): reply.resolve(failure.map { .failure($0) } ?? .success(()))
        case .window(let window): window.completed(1, size, failure)
        }
    }
}

/// Completions of one read, counted: a window is told once.
struct AMQPCompletions {
    private var window: AMQPWindow?
    private var count = 0
    private var size = 0

    mutating func complete(_ publication: AMQPPublication) {
        guard case .window(let window) = publication.completion else { return publication.complete() }
        if window !== self.window {
            flush()
            self.window = window
        }
        count += 1
        size += publication.size
    }

    mutating func flush() {
        guard let window else { return }
        window.completed(count, size, nil)
        (self.window, count, size) = (nil, 0, 0)
    }
}
