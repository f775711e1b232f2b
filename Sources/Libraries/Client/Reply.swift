/// The answer to one request: resolved once by the loop, awaited by one task.
public final class Reply<Value: Sendable, Failure: ClientFailure>: Sendable {
    @usableFromInline enum State: Sendable {
        case open
        case resolved(Result<Value, Failure>)
        /// Nobody waits any more.
        case abandoned
    }
    @usableFromInline let monitor = Monitor<State, Failure>(.open)

    @inlinable public init() {}

    @inlinable public var isAbandoned: Bool { monitor.with { if case .abandoned = $0 { true } else { false } } }

    /// The first answer counts.
    @inlinable public func resolve(_ result: Result<Value, Failure>) {
        monitor.update { if case .open = $0 { $0 = .resolved(result) } }
    }

    /// Throws `.cancelled` when the task is; the request may then still be under way.
    @inlinable public func value() async throws(Failure) -> Value {
        do throws(Failure) {
            return try await monitor.when(Self.result).get()
        } catch {
            monitor.with { if case .open = $0 { $0 = .abandoned } }
            throw error
        }
    }

    /// Waits in a cancelled task too.
    @inlinable public func outcome() async -> Result<Value, Failure> { await monitor.whenever(Self.result) }

    @inlinable static func result(_ state: inout State) -> Result<Value, Failure>? {
        if case .resolved(let result) = state { result } else { nil }
    }
}
