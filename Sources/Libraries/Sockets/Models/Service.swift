public import MartletBytes

/// What a server does, whoever waits for its clients: a machine for each of them, and what to do with each event.
///
/// The four models run the same service, unchanged:
/// ```swift
/// let echo = Service({ FramingMachine(.lines) }) { event, bytes, machine, output in
///     switch event {
///     case .frame(let line): try machine.send(bytes.at(line), into: &output)
///     }
/// }
/// try echo.serve(.threads, on: BoundSocket(address), until: ServerStop())
/// ```
/// | model | waits in | a client costs | others wait while |
/// |---|---|---|---|
/// | `serveBlocking` | `recv` of the one client | nothing more | a client is served at all |
/// | `servePolling` | nothing: asks everybody, again and again | a system call each round | everybody else is asked |
/// | `serveThreads` | `recv`, a thread each | a thread and its stack | never |
/// | `serveLoop` | `epoll_wait`, for all of them | a row of a table | an event is handled |
///
/// Not here: what a client that connects is told first (a machine has no word before its first input), and TLS but in `serveLoop`.
public struct Service<Machine: ProtocolMachine & ~Copyable>: Sendable {
    /// Called for each event in order. `bytes` are valid until it returns; what is sent or appended to `output` leaves in that order.
    /// An error ends this client after what is in `output` has left: `Goodbye` in friendship, any other as a refusal.
    public typealias Handler = @Sendable (_ event: Machine.Event, _ bytes: Span<UInt8>, _ machine: inout Machine, _ output: inout ByteBuffer) throws -> Void

    public let makeMachine: @Sendable () -> Machine
    public let handle: Handler

    public init(_ makeMachine: @escaping @Sendable () -> Machine, handle: @escaping Handler) {
        self.makeMachine = makeMachine
        self.handle = handle
    }
}

/// Thrown by a handler: nothing more is said, and the client is closed once the output has left.
public struct Goodbye: Error, Sendable {
    public init() {}
}
