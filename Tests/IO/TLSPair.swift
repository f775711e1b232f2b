import MartletBytes
import MartletEventLoop
import MartletPipe
import MartletTLS

/// A TLS client and a TLS server over a pipe, each on a loop of its own.
final class TLSPair {
    typealias Ear = StreamLayerTests.Ear
    let network: PipeNetwork
    let loops: [EventLoop]
    let client = Ear(), server = Ear()
    let descriptors: (Int32, Int32)

    init(_ client: TLSContext, _ server: TLSContext, name: String? = "localhost", _ network: PipeNetwork = PipeNetwork()) {
        var limits = EventLoopLimits()
        limits.connectionsMax = 64
        self.network = network
        loops = (0..<2).map { EventLoop(number: $0, kernel: PipeKernel(network), limits: limits) }
        descriptors = network.makeStream()
        loops[0].add(self.client, Transport(descriptor: descriptors.0, layer: client.makeLayer(serverName: name)))
        loops[1].add(self.server, Transport(descriptor: descriptors.1, layer: server.makeLayer()))
    }

    func tick(_ count: Int = 1) { for _ in 0..<count { for loop in loops { loop.tick(until: loop.now) } } }
    func settle(_ isDone: () -> Bool) { for _ in 0..<200_000 where !isDone() { tick() } }

    /// Lets both sides say what they have to; a connection that opens exchanges a word each way.
    @discardableResult func shakeHands() -> TLSPair {
        tick(12)
        if client.slot != 0 { client.say(Array("ping".utf8), on: loops[0]) }
        tick(4)
        if server.slot != 0 { server.say(Array("pong".utf8), on: loops[1]) }
        tick(4)
        return self
    }
    var isOpen: Bool { client.heard == Array("pong".utf8) && server.heard == Array("ping".utf8) }
    var clientSession: TLSSession? { loops[0].tlsSession(of: client.slot) }
    var serverSession: TLSSession? { loops[1].tlsSession(of: server.slot) }
    /// How each side ended, the client's first; `nil` while it goes on.
    var ends: (LayerFailure?, LayerFailure?) { (client.failure, server.failure) }
}
