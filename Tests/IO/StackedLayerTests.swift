import MartletBytes
import MartletEventLoop
import MartletPipe
import Testing

/// A layer above another: bytes pass both, in order, and the ends of either are the connection's.
@Suite struct StackedLayerTests {
    typealias Ear = StreamLayerTests.Ear

    /// Turns all bits of a byte around.
    final class NotLayer: SpanLayer {
        override func start() { isOpen = true }
        override func unseal(_ bytes: Span<UInt8>, into plain: inout OutputSpan<UInt8>) {
            let turned = bytes.array.map { ~$0 }
            plain.append(turned.span)
        }
        override func seal(_ plain: Span<UInt8>) {
            let turned = plain.array.map { ~$0 }
            sealed.value.append(turned.span)
        }
    }

    final class Pair {
        let network = PipeNetwork()
        let loops: [EventLoop]
        let client = Ear(), server = Ear()
        let clientUpper = XORLayer(isClient: true), serverUpper = XORLayer(isClient: false)

        init() {
            var limits = EventLoopLimits()
            limits.connectionsMax = 64
            let network = network
            loops = (0..<2).map { EventLoop(number: $0, kernel: PipeKernel(network), limits: limits) }
            let (near, far) = network.makeStream()
            loops[0].add(client, Transport(descriptor: near, layer: StackedLayer(clientUpper, above: XORLayer(isClient: true))))
            loops[1].add(server, Transport(descriptor: far, layer: StackedLayer(serverUpper, above: XORLayer(isClient: false))))
        }
        func settle(_ isDone: () -> Bool) {
            for _ in 0..<200_000 where !isDone() { for loop in loops { loop.tick(until: loop.now) } }
        }
    }

    @Test("What is written before both are open leaves once they are, and bytes come back as they were", arguments: [1, 7, 4096, 65536])
    func bytes(readSize: Int) {
        let pair = Pair(), count = readSize == 1 ? 3_000 : 150_000
        pair.network.readSizeMax = readSize
        pair.server.echoes = true
        let bytes = Array(StreamLayerTests.numbers.prefix(count))
        pair.client.say(bytes, on: pair.loops[0])
        pair.settle { pair.client.heard.count >= count }
        #expect(pair.server.heard == bytes)
        #expect(pair.client.heard == bytes)
        #expect(pair.client.happened == ["secured"])
        #expect(pair.clientUpper.starts == 1)
    }

    @Test("The upper farewell is heard, and the lower one after it")
    func end() {
        let pair = Pair()
        pair.client.say([1], on: pair.loops[0])
        pair.settle { !pair.server.heard.isEmpty }
        pair.loops[0].finish(pair.client, .finished)
        pair.settle { pair.server.happened.count == 3 }
        #expect(pair.server.happened == ["secured", "end", "closed: \(CloseReason.ended)"])
    }

    @Test("A lower farewell without the upper one cuts the stream off")
    func cut() {
        let network = PipeNetwork(), loop = EventLoop(kernel: PipeKernel(network)), ear = Ear()
        let (near, far) = network.makeStream()
        loop.add(ear, Transport(descriptor: near, layer: StackedLayer(XORLayer(isClient: false), above: XORLayer(isClient: false))))
        network.write(Array("HELLO".utf8) + XORLayer.records(Array("HELLO".utf8) + XORLayer.records([7])) + [0, 0], to: far)
        loop.tick(until: loop.now)
        #expect(ear.heard == [7])
        #expect(ear.failure?.kind == .truncated)
    }

    @Test("Layers without pointers, three of them")
    func spans() {
        let network = PipeNetwork(), loop = EventLoop(kernel: PipeKernel(network)), ear = Ear()
        let (near, far) = network.makeStream()
        ear.echoes = true
        let layer = StackedLayer(NotLayer(), above: StackedLayer(NotLayer(), above: NotLayer()))
        loop.add(ear, Transport(descriptor: near, layer: layer))
        let bytes = Array(StreamLayerTests.numbers.prefix(60_000))
        network.write(bytes, to: far)
        for _ in 0..<10 { loop.tick(until: loop.now) }
        #expect(ear.heard == bytes.map { ~$0 })
        #expect(network.read(from: far) == bytes)
        #expect(layer.bottom is NotLayer)
    }

    @Test("A connection that changes hands keeps what it had read and what it had not sent", arguments: [false, true])
    func stacking(isLayered: Bool) {
        let network = PipeNetwork(), loop = EventLoop(kernel: PipeKernel(network)), first = Ear(), second = Ear()
        let (near, far) = network.makeStream()
        let lower: StreamLayer? = isLayered ? XORLayer(isClient: false) : nil
        func sealed(_ bytes: [UInt8]) -> [UInt8] { isLayered ? XORLayer.records(bytes) : bytes }
        loop.add(first, Transport(descriptor: near, layer: lower))
        first.onReceive = { _, _, _ in 0 }
        let hello = Array("HELLO".utf8)
        network.write((isLayered ? hello : []) + sealed(hello + XORLayer.records([1, 2])), to: far)
        loop.tick(until: loop.now)
        first.say([9, 9], on: loop)
        let transport = loop.surrender(first)
        second.echoes = true
        loop.add(second, transport.stacking(XORLayer(isClient: false)))
        network.write(sealed(XORLayer.records([3])), to: far)
        for _ in 0..<3 { loop.tick(until: loop.now) }
        #expect(second.heard == [1, 2, 3])
        // The old owner's bytes, the upper layer's handshake, and then what goes through both.
        let upper = Array("OLLEH".utf8), answer = XORLayer.records([1, 2, 3])
        let said = network.read(from: far)
        if isLayered {
            let records = upper + XORLayer.records([9, 9]) + XORLayer.records(upper)
            #expect(Array(said.prefix(records.count)) == records)
            #expect(said.count > records.count)
        } else {
            #expect(said == [9, 9] + upper + answer)
        }
    }
}
