import MartletPipe

/// A client that lasts: it keeps what a real one keeps on its own disk, over all its connections and all crashes of the broker.
class Actor {
    let name: String
    let number: Int
    unowned let world: Simulation
    private(set) var wire: Wire?
    /// Connections begun so far: names the one there is.
    private(set) var connection = 0

    init(_ world: Simulation, _ name: String, number: Int) {
        self.world = world
        self.name = name
        self.number = number
    }

    /// Begins a connection to some shard.
    func open(_ adopt: (Int32) -> Void) {
        let (near, far) = world.network.makeStream()
        adopt(near)
        connection += 1
        wire = Wire(world.network, far)
        world.trace.note("opens", connection, name)
    }

    func send(_ bytes: [UInt8]) {
        world.trace.note("sends", bytes, name)
        wire?.send(bytes)
    }

    /// Some bytes move. `all`: all that can.
    func move(all: Bool = false) {
        guard let wire else { return }
        let bytes = wire.move(&world.random, all: all)
        if !bytes.isEmpty {
            world.trace.note("hears", bytes, name)
            hear(bytes)
        }
        if self.wire === wire, wire.hasEnded {
            world.trace.note("ended", connection, name)
            forgetConnection()
        }
    }

    /// The connection breaks on this side.
    func cut() {
        world.trace.note("cut", connection, name)
        wire?.cut(&world.random)
        forgetConnection()
    }

    /// The broker's machine is gone.
    func lose() {
        wire?.lose()
        forgetConnection()
    }

    func forgetConnection() {
        guard wire != nil else { return }
        wire = nil
        connectionEnded()
    }

    // MARK: What kinds of actors do

    /// One thing of its own choice.
    func act() {}
    func hear(_ bytes: [UInt8]) {}
    func connectionEnded() {}
    /// Nothing breaks any more: comes back, answers everything, begins nothing new.
    func settle() {}
    /// Whether it waits for nothing.
    var isIdle: Bool { true }
    /// For what.
    var waitsFor: String { "" }
    /// Takes back everything that lasts.
    func leave() {}
}
