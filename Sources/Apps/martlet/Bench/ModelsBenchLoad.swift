import CLinux
import MartletBytes
import MartletEventLoop
import MartletNet
import Synchronization

/// The clients of one measurement, on a loop of their own: each sends a message, waits for its echo, and sends the next.
final class ModelsBenchLoad: LoopTenant {
    struct Counts: Sendable {
        var connected = 0
        /// Connections that could not be made, or that the server ended.
        var lost = 0
        var replies: UInt64 = 0
        /// Clients that were answered while it was measured.
        var served = 0
        var latency = LatencyHistogram()
    }

    fileprivate var counts = Counts()
    fileprivate let message: [UInt8]
    fileprivate private(set) var isSending = false
    /// 0 before the measuring; a client is served in a phase once.
    fileprivate private(set) var phase = 0
    private let address: SocketAddress
    private var clients: [ModelsBenchClient] = []
    private var toConnect: Int
    /// Every so-many-th client talks.
    private let stride: Int, busy: Int
    private var connecting = 0
    /// Below the kernel's queues, so that no handshake has to be repeated.
    private static let connectingMax = 128

    init(_ clientCount: Int, busy: Int, _ address: SocketAddress, size: Int) {
        toConnect = clientCount
        stride = clientCount / busy
        self.busy = busy
        self.address = address
        message = (0..<size).map { UInt8(ascii: "a") + UInt8($0 % 26) }
    }

    static func on(_ loop: EventLoop) -> ModelsBenchLoad? { loop.tenant as? ModelsBenchLoad }

    func connect(on loop: EventLoop) {
        while toConnect > 0, connecting < Self.connectingMax {
            toConnect -= 1
            connecting += 1
            Connector(to: address, timeout: .seconds(60), on: loop) { [self] result in
                connecting -= 1
                switch result {
                case .success(let descriptor):
                    let client = ModelsBenchClient(self, isBusy: clients.count % stride == 0 && clients.count / stride < busy)
                    clients.append(client)
                    counts.connected += 1
                    loop.add(client, descriptor: descriptor)
                    if isSending, client.isBusy { client.send(on: loop) }
                case .failure: counts.lost += 1
                }
                loop.execute { loop in Self.on(loop)?.connect(on: loop) }
            }
        }
    }

    func startSending(on loop: EventLoop) {
        isSending = true
        for client in clients where client.slot != 0 && client.isBusy { client.send(on: loop) }
    }

    func startMeasuring() {
        let (connected, lost) = (counts.connected, counts.lost)
        counts = Counts()
        (counts.connected, counts.lost) = (connected, lost)
        phase = 1
    }

    func stop(on loop: EventLoop) {
        isSending = false
        toConnect = 0
        for client in clients where client.slot != 0 { loop.close(client, .finished) }
    }

    func tickBegan(on loop: EventLoop) {}
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}
    func tickEnded(on loop: EventLoop) {}
}

/// One of them.
final class ModelsBenchClient: Channel {
    let isBusy: Bool
    private unowned let load: ModelsBenchLoad
    private var sentAt: Int64 = 0
    private var missing = 0
    private var servedPhase = -1

    init(_ load: ModelsBenchLoad, isBusy: Bool) {
        self.load = load
        self.isBusy = isBusy
        super.init()
    }

    func send(on loop: EventLoop) {
        sentAt = cl_monotonic_ns()
        let message = load.message
        missing = message.count
        loop.willWrite(slot)
        loop[output: slot].append(message.span)
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        missing -= bytes.count
        guard missing <= 0 else { return bytes.count }
        load.counts.replies &+= 1
        load.counts.latency.add(nanoseconds: cl_monotonic_ns() &- sentAt)
        if servedPhase != load.phase {
            servedPhase = load.phase
            load.counts.served += 1
        }
        if load.isSending { send(on: loop) }
        return bytes.count
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) { if reason != .finished { load.counts.lost += 1 } }
}

/// The loop of the load, asked from the thread that waits for it.
struct ModelsBenchLoop {
    private let loop: EventLoop
    private let thread: LoopThread

    init(_ clientCount: Int, busy: Int, _ address: SocketAddress, size: Int) {
        var limits = EventLoopLimits()
        limits.connectionsMax = clientCount + 256
        loop = EventLoop(limits: limits)
        thread = loop.start { loop in
            let load = ModelsBenchLoad(clientCount, busy: busy, address, size: size)
            // The tenant is settled after this; connecting asks for it.
            loop.execute { loop in ModelsBenchLoad.on(loop)?.connect(on: loop) }
            return load
        }
    }

    /// What the loop's load has counted, after `call`. Waits for it.
    @discardableResult func ask(_ call: @escaping @Sendable (ModelsBenchLoad, EventLoop) -> Void = { _, _ in }) -> ModelsBenchLoad.Counts {
        let answer = Answer()
        loop.execute { loop in
            guard let load = ModelsBenchLoad.on(loop) else { return answer.counts.withLock { $0 = ModelsBenchLoad.Counts() } }
            call(load, loop)
            let counts = load.counts
            answer.counts.withLock { $0 = counts }
        }
        while true {
            if let counts = answer.counts.withLock({ $0 }) { return counts }
            DetachedThread.sleep(.microseconds(100))
        }
    }

    private final class Answer: Sendable {
        let counts = Mutex<ModelsBenchLoad.Counts?>(nil)
    }

    func end() {
        ask { load, loop in load.stop(on: loop) }
        loop.stop(grace: .zero)
        thread.join()
    }
}
