internal import MartletClient
internal import MartletEventLoop
public import MartletHTTP
internal import Synchronization

/// When a client connects again.
public struct WebSocketReconnect: Sendable, Equatable {
    /// The wait before the second attempt in a row, doubled with each that fails. (websockets 3 s, rising to a minute.)
    public var delayMin = Duration.milliseconds(200)
    public var delayMax = Duration.seconds(30)
    /// 0...1: which part of each wait is left to chance, so that a server that comes back is not met by all at once.
    public var jitter = 0.5
    /// Failed attempts in a row after which the error is thrown; nil: none is enough.
    public var attemptsMax: Int?
    /// A connection that lasted so long was a success: the waits begin anew.
    public var settledAfter = Duration.seconds(10)

    public init() {}
}

/// Connections to one URL, one after the other. See `WebSocketConnection.reconnecting(to:)`.
public struct WebSocketReconnecting: AsyncSequence, Sendable {
    public typealias Element = WebSocketConnection
    public typealias Failure = WebSocketError
    let dial: Result<WebSocketDial, WebSocketError>
    let reconnect: WebSocketReconnect

    public func makeAsyncIterator() -> Iterator { Iterator(sequence: self) }

    public struct Iterator: AsyncIteratorProtocol {
        let sequence: WebSocketReconnecting
        private var attempts = 0
        private var last: WebSocketLease?
        private var began = ContinuousClock.now

        init(sequence: WebSocketReconnecting) { self.sequence = sequence }

        /// Closes the last connection, if it is not closed, and makes another. Throws `urlInvalid`, `requestInvalid`, `handshakeInvalid`, a `refused` that
        /// would be so again, and `cancelled`.
        public mutating func next() async throws(WebSocketError) -> WebSocketConnection? { try await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(WebSocketError) -> WebSocketConnection? {
            let reconnect = sequence.reconnect
            if let last {
                self.last = nil
                try await last.core.close(.normal, "")
                if .now - began >= reconnect.settledAfter { attempts = 0 }
            }
            let dial = try sequence.dial.get()
            while true {
                if attempts > 0 { try await pause() }
                attempts += 1
                do throws(WebSocketError) {
                    let core = try await dial.connect(owner: nil)
                    began = .now
                    last = WebSocketLease(core)
                    return WebSocketConnection(core: core)
                } catch {
                    guard error.isPassing, attempts < reconnect.attemptsMax ?? .max else { throw error }
                }
            }
        }

        private func pause() async throws(WebSocketError) {
            let reconnect = sequence.reconnect
            let wait = Backoff.delay(
                before: attempts, from: reconnect.delayMin, to: reconnect.delayMax, jitter: reconnect.jitter, chance: Double.random(in: 0..<1))
            do { try await Task.sleep(for: wait) } catch { throw .cancelled }
        }
    }
}

/// Closes a connection when the loop over connections is left.
final class WebSocketLease: Sendable {
    let core: WebSocketCore

    init(_ core: WebSocketCore) { self.core = core }

    deinit { core.beginClosing(.goingAway, "") }
}

extension WebSocketConnection {
    /// Connects, and again whenever the loop's body comes to its end, whether the connection was lost or not:
    /// ```
    /// for try await connection in WebSocketConnection.reconnecting(to: "ws://localhost:8765") {
    ///     do { for try await message in connection.messages { … } } catch {}
    /// }
    /// ```
    /// A server that is not there, or says 408, 429 or 500 and above, is tried again; what it would say again is thrown. Leaving the loop closes the
    /// connection (1001).
    public static func reconnecting(
        to url: String, options: WebSocketClientOptions = WebSocketClientOptions(), _ reconnect: WebSocketReconnect = WebSocketReconnect()
    ) -> WebSocketReconnecting {
        let dial: Result<WebSocketDial, WebSocketError>
        do throws(WebSocketError) { dial = .success(try WebSocketDial(url, options)) } catch { dial = .failure(error) }
        return WebSocketReconnecting(dial: dial, reconnect: reconnect)
    }
}

extension WebSocketError {
    /// The same attempt may succeed in a moment.
    var isPassing: Bool {
        switch self {
        case .unreachable, .closed: true
        case .refused(_, let status, _): status.rawValue == 408 || status.rawValue == 429 || status.rawValue >= 500
        case .urlInvalid, .requestInvalid, .handshakeInvalid, .misuse, .busy, .cancelled: false
        }
    }
}
