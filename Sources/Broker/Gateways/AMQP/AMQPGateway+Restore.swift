import MartletBytes
import MartletCollections
import MartletCore
import MartletShard

/// What survives a restart beside messages: durable exchanges, durable queues, and the bindings between those. Each is a definition in the
/// journal, big-endian; a name has its count 1 before it, arguments theirs 4:
/// ```
/// 1 exchange  virtual host · name · type 1 · flags 1 (1 deletes itself, 2 internal, 4 has an alternate) · the alternate's name
/// 2 queue     virtual host · name · serial number 8 · flags 1 (1 deletes itself) · lifetime 8, milliseconds · arguments
/// 3 binding   virtual host · source · 0 queue, 1 exchange · its name · routing key · arguments
/// ```
extension AMQPGateway {
    enum Definition { static let exchange: UInt8 = 1, queue: UInt8 = 2, binding: UInt8 = 3 }
    enum BindingTarget { case queue([UInt8]), exchange([UInt8]) }

    // MARK: Writing

    func undefine(_ record: JournalName) { shard.core.value.undefine(record, into: &shard.effects.value) }

    private func define(_ kind: UInt8, _ bytes: borrowing ByteBuffer) -> JournalName {
        shard.core.value.define(id, kind, bytes.span, into: &shard.effects.value)
    }

    /// `.none` if it does not survive a restart.
    func define(_ exchange: AMQPExchangeDeclaration, _ name: [UInt8], in host: UInt32) -> JournalName {
        guard exchange.isDurable, shard.core.value.isJournaled else { return .none }
        var bytes = ByteBuffer()
        bytes.append(name: virtualHosts.value[host].name)
        bytes.append(name: name)
        bytes.append(exchange.type.rawValue)
        let flags: [Bool] = [exchange.isAutoDelete, exchange.isInternal, exchange.alternate != nil]
        bytes.append(flags.enumerated().reduce(UInt8(0)) { $1.element ? $0 | 1 << UInt8($1.offset) : $0 })
        bytes.append(name: exchange.alternate ?? [])
        return define(Definition.exchange, bytes)
    }

    func define(_ queue: UInt32) -> JournalName {
        guard shard.core.value.isJournaled else { return .none }
        let arguments = queues.value[queue].arguments
        var bytes = ByteBuffer()
        bytes.append(name: virtualHosts.value[queues.value[queue].virtualHost].name)
        bytes.append(name: queues.value[queue].name)
        bytes.append(shard.core.value.serial(of: queues.value[queue].id))
        bytes.append(queues.value[queue].isAutoDelete ? 1 as UInt8 : 0)
        bytes.append(UInt64(queues.value[queue].lifetime / .milliseconds(1)))
        bytes.append(UInt32(arguments.count))
        bytes.append(arguments.span)
        return define(Definition.queue, bytes)
    }

    func defineBinding(of target: BindingTarget, to source: [UInt8], _ routingKey: [UInt8], _ arguments: [UInt8], _ host: UInt32) -> JournalName {
        guard shard.core.value.isJournaled else { return .none }
        var bytes = ByteBuffer()
        bytes.append(name: virtualHosts.value[host].name)
        bytes.append(name: source)
        switch target {
        case .queue(let name):
            bytes.append(0 as UInt8)
            bytes.append(name: name)
        case .exchange(let name):
            bytes.append(1 as UInt8)
            bytes.append(name: name)
        }
        bytes.append(name: routingKey)
        bytes.append(UInt32(arguments.count))
        bytes.append(arguments.span)
        return define(Definition.binding, bytes)
    }

    // MARK: Restoring

    /// A virtual host is at home where it always is.
    func restoreDefinition(_ kind: UInt8, _ definition: Span<UInt8>, as record: JournalName) {
        var reader = ByteReader(definition)
        guard let name = reader.readName() else { return }
        guard let (owner, host) = place(of: name) else {
            restoreFailure = "it has exchanges or queues of the virtual host '\(name.text)', which `vhosts` does not name"
            return
        }
        guard owner == shard.number else { return }
        let isRestored =
            switch kind {
            case Definition.exchange: restoreExchange(&reader, host, record)
            case Definition.queue: restoreQueue(&reader, host, record)
            case Definition.binding: restoreBinding(&reader, host, record)
            default: false
            }
        // Its exchange or queue ended, and the journal does not know yet that so did it; or it was written twice.
        if !isRestored { undefine(record) }
    }

    private func restoreExchange(_ reader: inout ByteReader, _ host: UInt32, _ record: JournalName) -> Bool {
        guard let name = reader.readName(), let type = reader.readUInt8().flatMap(Hub.Kind.init(rawValue:)), let flags = reader.readUInt8() else {
            return false
        }
        guard let alternate = reader.readName(), virtualHosts.value[host].exchanges.find(name.span) == nil else { return false }
        let declaration = AMQPExchangeDeclaration(
            type: type, isDurable: true, isAutoDelete: flags & 1 != 0, isInternal: flags & 2 != 0, alternate: flags & 4 != 0 ? alternate : nil)
        make(declaration, name, in: host, record: record)
        return true
    }

    private func restoreQueue(_ reader: inout ByteReader, _ host: UInt32, _ record: JournalName) -> Bool {
        guard let name = reader.readName(), let serial = reader.readUInt64(), let flags = reader.readUInt8(), let lifetime = reader.readUInt64() else {
            return false
        }
        guard let arguments = reader.readArguments(), virtualHosts.value[host].queues.find(name.span) == nil else { return false }
        let id = shard.core.value.openQueue(options.queuePolicy(isDurable: true), serial: serial)
        let queue = AMQPQueue(
            id: id, name: name, virtualHost: host, isDurable: true, isAutoDelete: flags & 1 != 0, owner: 0, arguments: arguments,
            lifetime: .milliseconds(Int64(clamping: lifetime)), record: record)
        use(insert(queue))
        return true
    }

    private func restoreBinding(_ reader: inout ByteReader, _ host: UInt32, _ record: JournalName) -> Bool {
        guard let source = reader.readName(), let kind = reader.readUInt8(), let target = reader.readName(), let routingKey = reader.readName(),
            let arguments = reader.readArguments(), let place = virtualHosts.value[host].exchanges.find(source.span)
        else { return false }
        let exchange = virtualHosts.value[host].exchanges[place: place]
        guard let pattern = try? Self.pattern(routingKey, arguments, of: exchange) else { return false }
        if kind == 0 {
            guard let place = virtualHosts.value[host].queues.find(target.span) else { return false }
            shard.core.value.bind(queues.value[virtualHosts.value[host].queues[place: place]].id, to: exchange.hub, pattern, record: record)
        } else {
            guard let place = virtualHosts.value[host].exchanges.find(target.span) else { return false }
            shard.router.bind(exchange.hub, pattern, to: virtualHosts.value[host].exchanges[place: place].hub, record: record)
        }
        return true
    }
}

extension ByteBuffer {
    /// A short string: at most 255 bytes, which AMQP makes sure of.
    fileprivate mutating func append(name: [UInt8]) {
        append(UInt8(truncatingIfNeeded: name.count))
        append(name.span)
    }
}

extension ByteReader {
    @_lifetime(self: copy self)
    fileprivate mutating func readName() -> [UInt8]? {
        guard let count = readUInt8(), let place = readRange(Int(count)) else { return nil }
        return bytes.at(place).array
    }

    @_lifetime(self: copy self)
    fileprivate mutating func readArguments() -> [UInt8]? {
        guard let count = readUInt32(), let place = readRange(Int(count)) else { return nil }
        return bytes.at(place).array
    }
}
