import MartletBytes
import MartletCollections

/// A tree of levels: nodes by number, a child found by (parent, level). What its owner knows of a node is the node's `value`.
///
/// Not here: wildcards, and when a node may go; both are the owner's.
struct LevelTree<Value: BitwiseCopyable>: ~Copyable {
    struct Node: BitwiseCopyable {
        var parent: UInt32
        /// Where its edge is found again; unused for a node without one.
        var hash: UInt32
        /// Children that have an edge.
        var children: UInt32 = 0
        var value: Value
    }
    private var nodes = Slab<Node>()
    private var edges = LevelTable(seed: .random(in: .min ... .max))

    subscript(number: UInt32) -> Node {
        @inline(__always) get { nodes[number] }
        @inline(__always) _modify { yield &nodes[number] }
    }

    /// A node that no level leads to: a root, or one that its owner finds in another way.
    mutating func addNode(under parent: UInt32, _ value: Value) -> UInt32 { nodes.insert(Node(parent: parent, hash: 0, value: value)) }
    mutating func removeNode(_ number: UInt32) { nodes.remove(number) }

    /// The child of `parent` at `level`; 0 if there is none.
    @inline(__always) func child(of parent: UInt32, _ level: Span<UInt8>) -> UInt32 { edges.child(of: parent, level) }

    /// For many look-ups at a time: the hash for `child(of:_:hash:)`, and a node, are fetched into the processor's cache.
    @inline(__always) func expectChild(of parent: UInt32, _ level: Span<UInt8>) -> UInt32 { edges.expect(parent, level) }
    @inline(__always) func child(of parent: UInt32, _ level: Span<UInt8>, hash: UInt32) -> UInt32 { edges.child(of: parent, level, hash: hash) }
    @inline(__always) func expect(_ number: UInt32) { nodes.expect(number) }

    mutating func addChild(of parent: UInt32, _ level: Span<UInt8>, _ value: Value) -> UInt32 {
        let child = addNode(under: parent, value)
        nodes[child].hash = edges.insert(child, under: parent, level)
        nodes[parent].children += 1
        return child
    }

    /// Removes a child that has none itself.
    mutating func removeChild(_ child: UInt32) {
        edges.remove(child, hash: nodes[child].hash)
        nodes[nodes[child].parent].children -= 1
        nodes.remove(child)
    }

    /// The level that leads to `child`.
    func level(to child: UInt32) -> [UInt8] { edges.level(to: child, hash: nodes[child].hash) }
}
