public import MartletBytes
public import MartletEventLoop

/// Connects to a place, on a loop: looks its name up elsewhere and tries its addresses in turn, both families, until the first answers
/// (RFC 8305, "happy eyeballs").
///
/// The families take turns, the resolver's first choice first (section 4). The next attempt starts 250 ms after the one before, or when that has
/// failed (section 5); the first that succeeds ends all others. It ends once, by `finished`, or by `cancel` without it.
/// Not here: separate questions for A and AAAA (section 3): the system's resolver answers both at once.
public final class Dialer: Channel {
    /// How a connection came about, for those who want to see.
    public struct Outcome: Sendable {
        /// The connected socket: the receiver's own.
        public let descriptor: Int32
        public let peer: SocketAddress
        public let steps: Steps
    }
    public struct Steps: Sendable {
        /// In the order in which they are tried.
        public var addresses: [SocketAddress] = []
        /// Looking the name up; zero for an address.
        public var resolution: Duration = .zero
        /// From the first attempt to the connection.
        public var connecting: Duration = .zero
        /// From the connection to the end of TLS's handshake; zero without TLS.
        public var securing: Duration = .zero
        /// Attempts that failed before.
        public var failures: [NetError] = []
        public init() {}
    }
    public typealias Finished = (Result<Outcome, NetError>) -> Void

    private let place: Place
    private let options: StreamOptions
    private let began: Instant
    private let latest: Instant
    private let attemptDelay: Duration
    private var finished: Finished?
    private var steps = Steps()
    private var next = 0
    private var local: [SocketAddress] = []
    private var attempts: [Connector] = []
    private var connectingSince = Instant.never
    private var nextAttemptAt = Instant.never

    /// Begins. `finished` is called on the loop, at the latest after `timeout`; for an address at once if it fails at once.
    @discardableResult
    public init(
        to place: Place, options: StreamOptions = StreamOptions(), timeout: Duration, by resolver: Resolver = .system,
        attemptDelay: Duration = .milliseconds(250), on loop: EventLoop, finished: @escaping Finished
    ) {
        self.place = place
        self.options = options
        self.attemptDelay = attemptDelay
        self.finished = finished
        began = loop.currentTime()
        latest = began + timeout
        super.init()
        start(by: resolver, on: loop)
    }

    private func start(by resolver: Resolver, on loop: EventLoop) {
        guard loop.add(clock: self) != nil else { return fail(NetError(errno: 24, .connect, "\(place)"), on: loop) }
        do throws(NetError) {
            if let text = options.bindAddress { local = [try Self.localAddress(text)] }
            if let address = try place.address(phase: .connect) { return begin([address], on: loop) }
        } catch {
            return fail(error, on: loop)
        }
        guard case .internet(let host, let port) = place else { return }
        let dialer = LoopBound(self, on: loop)
        resolver.resolve(host.isEmpty ? "localhost" : host, port: port) { result in
            loop.execute { dialer().resolved(result, on: $0) }
        }
    }

    /// "10.0.0.1", "10.0.0.1:4000", "::1", "[::1]:4000".
    private static func localAddress(_ text: String) throws(NetError) -> SocketAddress {
        if let address = SocketAddress(text, port: 0) { return address }
        guard case .internet(let host, let port)? = try? Place(text), let address = SocketAddress(host, port: port) else {
            throw NetError(.addressNotAvailable, .bind, text, detail: "an address is needed, not a name")
        }
        return address
    }

    /// Gives up; `finished` is not called.
    public func cancel(on loop: EventLoop) {
        finished = nil
        end(on: loop)
    }

    private func resolved(_ result: Result<[SocketAddress], NetError>, on loop: EventLoop) {
        guard finished != nil else { return }
        steps.resolution = loop.currentTime() - began
        switch result {
        case .success(let addresses): begin(Self.interleaved(addresses), on: loop)
        case .failure(let error): fail(error, on: loop)
        }
    }

    /// The families in turn, each in its own order.
    static func interleaved(_ addresses: [SocketAddress]) -> [SocketAddress] {
        var first = addresses.filter { $0.kind == addresses[0].kind }[...], other = addresses.filter { $0.kind != addresses[0].kind }[...]
        var order: [SocketAddress] = []
        while !first.isEmpty || !other.isEmpty {
            if let address = first.popFirst() { order.append(address) }
            if let address = other.popFirst() { order.append(address) }
        }
        return order
    }

    private func begin(_ addresses: [SocketAddress], on loop: EventLoop) {
        // A socket bound to one family reaches no other.
        steps.addresses = addresses.filter { address in local.isEmpty || local[0].kind == address.kind || address.kind == .unix }
        guard !steps.addresses.isEmpty else {
            let detail = addresses.isEmpty ? "" : "no address of the family of \(options.bindAddress ?? "")"
            return fail(NetError(.unresolvable, .resolve, "\(place)", elapsed: steps.resolution, detail: detail), on: loop)
        }
        connectingSince = loop.currentTime()
        attempt(on: loop)
    }

    private func attempt(on loop: EventLoop) {
        guard finished != nil, next < steps.addresses.count else { return }
        let address = steps.addresses[next]
        next += 1
        nextAttemptAt = next < steps.addresses.count ? loop.currentTime() + attemptDelay : .never
        let left = latest - loop.currentTime()
        var connector: Connector?
        connector = Connector(to: address, from: address.kind == .unix ? nil : local.first, options: options, timeout: left, on: loop) { [weak self] result in
            if let self { self.tried(address, result, on: loop) } else if case .success(let descriptor) = result { loop.discard(descriptor) }
        }
        if let connector, connector.slot != 0 { attempts.append(connector) }
        if slot != 0 { loop.schedule(self) }
    }

    private func tried(_ address: SocketAddress, _ result: Result<Int32, NetError>, on loop: EventLoop) {
        attempts.removeAll { $0.slot == 0 }
        switch result {
        case .success(let descriptor):
            guard let finished else { return loop.discard(descriptor) }
            steps.connecting = loop.currentTime() - connectingSince
            self.finished = nil
            end(on: loop)
            finished(.success(Outcome(descriptor: descriptor, peer: address, steps: steps)))
        case .failure(let error):
            steps.failures.append(error)
            if next < steps.addresses.count, loop.currentTime() < latest { return attempt(on: loop) }
            if attempts.isEmpty { fail(summary(on: loop), on: loop) }
        }
    }

    /// One error for all attempts: the last one's kind, and every one's in the detail.
    private func summary(on loop: EventLoop) -> NetError {
        guard let last = steps.failures.last else { return NetError(.timedOut, .connect, "\(place)", elapsed: loop.currentTime() - began) }
        if steps.failures.count == 1, last.address == "\(place)" || last.phase == .bind { return last }
        let kinds = steps.failures.map(\.kind)
        // Of several reasons the one that says most: an answer before silence, silence before no way.
        let kind = [.refused, .reset, .permissionDenied, .timedOut].first { kinds.contains($0) } ?? last.kind
        let told = steps.failures.first { $0.kind == kind } ?? last
        let detail = steps.failures.map { "\($0.address) \($0.reason)" }.joined(separator: ", ")
        return NetError(kind, told.phase, "\(place)", elapsed: loop.currentTime() - began, errno: told.errno, detail: detail)
    }

    private func fail(_ error: NetError, on loop: EventLoop) {
        let finished = self.finished
        self.finished = nil
        end(on: loop)
        finished?(.failure(error))
    }

    private func end(on loop: EventLoop) {
        for attempt in attempts where attempt.slot != 0 { loop.close(attempt, .finished) }
        attempts = []
        if slot != 0 { loop.close(self, .finished) }
    }

    public override var deadline: Instant { min(latest, nextAttemptAt) }

    public override func wake(on loop: EventLoop) {
        if loop.now >= latest {
            let isResolving = steps.addresses.isEmpty
            let error = isResolving ? NetError(.timedOut, .resolve, "\(place)", elapsed: loop.currentTime() - began) : summary(on: loop)
            return fail(error, on: loop)
        }
        if loop.now >= nextAttemptAt { attempt(on: loop) }
    }

    public override func closed(_ reason: CloseReason, on loop: EventLoop) {
        guard reason == .stopping, let finished else { return }
        self.finished = nil
        finished(.failure(NetError(.closed, .connect, "\(place)")))
    }
}
