import MartletBytes
import MartletZMTPProtocol
import Testing

/// What a ROUTER calls its peers.
@Suite("ZMTP names")
struct ZMTPRoutingTableTests {
    private static func name(_ table: borrowing ZMTPRoutingTable, _ peer: UInt32) -> [UInt8] {
        guard let name = table.name(of: peer) else { return [] }
        return name
    }

    private static func insert(_ table: inout ZMTPRoutingTable, _ peer: UInt32, _ identity: [UInt8]) -> ZMTPRoutingTable.Insertion {
        table.insert(peer, identity: identity.span)
    }

    private static func find(_ table: borrowing ZMTPRoutingTable, _ name: [UInt8]) -> UInt32? { table.find(name.span) }

    @Test("A name is one peer's", arguments: [true, false])
    func names(handsOver: Bool) {
        var table = ZMTPRoutingTable(handsOver: handsOver, seed: 7)
        let left = Array("left".utf8), none: [UInt8] = []
        let first = Self.insert(&table, 1, left), second = Self.insert(&table, 2, none), third = Self.insert(&table, 3, left)
        #expect(first == .inserted && second == .inserted && third == (handsOver ? .tookOver(from: 1) : .taken(by: 1)))
        let owner = Self.find(table, left), nameless = table.name(of: handsOver ? 1 : 3)
        #expect(owner == (handsOver ? 3 : 1) && nameless == nil)
        // Who has lost its name, or never had it, takes nothing along.
        table.remove(handsOver ? 1 : 3)
        let stays = Self.find(table, left), given = Self.name(table, 2)
        #expect(stays == owner && given.count == 5 && given.first == 0)
        let found = Self.find(table, given)
        table.remove(2)
        let gone = Self.find(table, given), again = Self.insert(&table, 4, none), other = table.name(of: 4), count = table.count
        #expect(found == 2 && gone == nil && again == .inserted && other != given && count == 2)
    }
}
