import MartletPipe

/// A client's end of a stream, whose bytes take their time: what is sent leaves in pieces, what has come is heard in pieces, and the
/// connection can break at any byte.
final class Wire {
    let network: PipeNetwork
    private let descriptor: Int32
    private var outgoing: [UInt8] = []
    private var incoming: [UInt8] = []
    /// Nothing moves for so many turns.
    private(set) var stalledTurns = 0
    private var endsOutput = false
    private var hasEndedOutput = false
    /// The client can neither read nor write any more.
    private(set) var isBroken = false

    init(_ network: PipeNetwork, _ descriptor: Int32) {
        self.network = network
        self.descriptor = descriptor
    }

    func send(_ bytes: [UInt8]) { if !isBroken, !endsOutput { outgoing += bytes } }

    /// The client sends no more, but listens.
    func endOutput() { endsOutput = true }

    func stall(turns: Int) { stalledTurns = turns }

    /// What the client has sent so far may arrive or not, as `random` says; it hears nothing more.
    func cut(_ random: inout SeededRandom) {
        guard !isBroken else { return }
        isBroken = true
        let count = Int.random(in: 0...outgoing.count, using: &random)
        if count > 0, !hasEndedOutput { network.write(Array(outgoing[..<count]), to: descriptor) }
        if Bool.random(using: &random) { network.reset(descriptor) } else { network.end(descriptor) }
        (outgoing, incoming) = ([], [])
    }

    /// The other machine is gone.
    func lose() {
        isBroken = true
        (outgoing, incoming) = ([], [])
    }

    /// Moves some bytes either way; the answer: what the client hears. `all`: everything there is.
    func move(_ random: inout SeededRandom, all: Bool = false) -> [UInt8] {
        guard !isBroken else { return [] }
        if stalledTurns > 0, !all {
            stalledTurns -= 1
            return []
        }
        if !outgoing.isEmpty {
            let count = all || Bool.random(using: &random) ? outgoing.count : Int.random(in: 1...outgoing.count, using: &random)
            if !hasEndedOutput { network.write(Array(outgoing[..<count]), to: descriptor) }
            outgoing.removeFirst(count)
        }
        if endsOutput, outgoing.isEmpty, !hasEndedOutput {
            hasEndedOutput = true
            network.end(descriptor)
        }
        incoming += network.read(from: descriptor)
        guard !incoming.isEmpty else { return [] }
        let count = all || Bool.random(using: &random) ? incoming.count : Int.random(in: 1...incoming.count, using: &random)
        defer { incoming.removeFirst(count) }
        return Array(incoming[..<count])
    }

    /// Everything has been heard, and nothing more will come.
    var hasEnded: Bool { isBroken || incoming.isEmpty && network.hasEnded(descriptor) && network.isDrained(descriptor) }
    var hasOutput: Bool { !outgoing.isEmpty }
}
