import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletShard

/// What is declared of exchanges, and their bindings to each other.
extension AMQPGateway {
    /// Makes a virtual host with the exchanges that every one has (section 3.1.3 of the specification, and RabbitMQ's).
    func open(virtualHost name: [UInt8]) {
        let number = virtualHosts.value.insert(AMQPVirtualHost(name, shard.router))
        let names: [(String, Hub.Kind)] = [
            ("", .direct), ("amq.direct", .direct), ("amq.fanout", .fanout), ("amq.topic", .topic), ("amq.headers", .headers), ("amq.match", .headers),
        ]
        for (name, type) in names {
            let exchange = AMQPExchangeDeclaration(
                type: type, isDurable: true, isAutoDelete: false, isInternal: false, alternate: nil)
            _ = insert(exchange, Array(name.utf8), in: number)
        }
    }

    func insert(_ declaration: AMQPExchangeDeclaration, _ name: [UInt8], in virtualHost: UInt32, record: JournalName = .none) -> HubID {
        // Where all protocols meet, a hub is there already.
        let hub = shard.router.declareHub(name, declaration.type, spelled: .dots, in: virtualHosts.value[virtualHost].namespace)
        let exchange = AMQPExchange(
            hub: hub, type: declaration.type, isDurable: declaration.isDurable, isAutoDelete: declaration.isAutoDelete,
            isInternal: declaration.isInternal, alternate: declaration.alternate, isMeetingPoint: hub == shard.router.meetingPoint,
            record: record)
        virtualHosts.value[virtualHost].exchanges.insert(exchange, name.span)
        exchangeNames.value.insert(name, for: hub)
        return hub
    }

    /// The exchange of that name in the connection's virtual host.
    func exchange(_ name: [UInt8], _ connection: AMQPServerConnection) throws(AMQPException) -> AMQPExchange {
        guard let place = virtualHosts.value[connection.virtualHost].exchanges.find(name.span) else {
            throw virtualHosts.value[connection.virtualHost].resource(.exchange, name).isMissing
        }
        return virtualHosts.value[connection.virtualHost].exchanges[place: place]
    }

    // MARK: exchange.declare

    func declare(
        _ declare: AMQPMethod<ByteRange>.ExchangeDeclare, in bytes: Span<UInt8>, on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let name = bytes.at(declare.exchange).array, host = connection.virtualHost
        let resource = virtualHosts.value[host].resource(.exchange, name)
        if declare.passive {
            if name.isEmpty { throw Self.defaultExchange }
            _ = try exchange(name, connection)
        } else {
            let wanted = try AMQPExchangeDeclaration(declare, in: bytes, resource)
            if let place = virtualHosts.value[host].exchanges.find(name.span) {
                if name.isEmpty { throw Self.defaultExchange }
                try virtualHosts.value[host].exchanges[place: place].check(wanted, resource)
            } else {
                try checkName(name, "exchange")
                guard virtualHosts.value[host].exchanges.count < options.exchangesMax else {
                    seen.value.overLimit += 1
                    throw AMQPException(
                        .preconditionFailed,
                        "cannot declare exchange '\(name.text)' in vhost '\(virtualHosts.value[host].name.text)': exchange limit of \(options.exchangesMax) is reached"
                    )
                }
                make(wanted, name, in: host, record: define(wanted, name, in: host))
            }
        }
        if !declare.noWait { say(.exchangeDeclareOk, on: channel) }
    }

    /// An exchange that is not there yet.
    func make(_ declaration: AMQPExchangeDeclaration, _ name: [UInt8], in host: UInt32, record: JournalName) {
        let hub = insert(declaration, name, in: host, record: record)
        if let alternate = declaration.alternate, let place = virtualHosts.value[host].exchanges.find(alternate.span) {
            shard.router.setAlternate(of: hub, to: virtualHosts.value[host].exchanges[place: place].hub)
        }
        adoptAlternates(name, hub, in: host)
    }

    /// Exchanges may name an alternate that is not there yet.
    private func adoptAlternates(_ name: [UInt8], _ hub: HubID, in virtualHost: UInt32) {
        var waiting: [HubID] = []
        virtualHosts.value[virtualHost].exchanges.forEach { if $0.alternate == name { waiting.append($0.hub) } }
        for other in waiting { shard.router.setAlternate(of: other, to: hub) }
    }

    static var defaultExchange: AMQPException { AMQPException(.accessRefused, "operation not permitted on the default exchange") }

    /// `kind`: `exchange` or `queue`.
    func checkName(_ name: [UInt8], _ kind: String) throws(AMQPException) {
        if name.starts(with: "amq.".utf8) { throw AMQPException(.accessRefused, "\(kind) name '\(name.text)' contains reserved prefix 'amq.*'") }
    }

    // MARK: exchange.delete

    func delete(
        _ delete: AMQPMethod<ByteRange>.ExchangeDelete, in bytes: Span<UInt8>, on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let name = bytes.at(delete.exchange).array, host = connection.virtualHost
        if name.isEmpty { throw Self.defaultExchange }
        let resource = virtualHosts.value[host].resource(.exchange, name)
        if name.starts(with: "amq.".utf8) { throw AMQPException(.accessRefused, "deletion of system \(resource) not allowed") }
        if let place = virtualHosts.value[host].exchanges.find(name.span) {
            let hub = virtualHosts.value[host].exchanges[place: place].hub
            if delete.ifUnused, shard.router.bindingCount(of: hub) > 0 { throw AMQPException(.preconditionFailed, "\(resource) in use") }
            deleteUnbound(remove(exchangeAt: place, in: host), in: host)
        }
        if !delete.noWait { say(.exchangeDeleteOk, on: channel) }
    }

    /// The answer: hubs that have lost a binding.
    private func remove(exchangeAt place: Int, in virtualHost: UInt32) -> [HubID] {
        let hub = virtualHosts.value[virtualHost].exchanges[place: place].hub
        undefine(virtualHosts.value[virtualHost].exchanges[place: place].record)
        virtualHosts.value[virtualHost].exchanges.remove(at: place)
        let sources = shard.router.hubs(leadingTo: hub)
        shard.core.value.removeHub(hub)
        return sources
    }

    /// Hubs that have lost a binding: an exchange that deletes itself goes with its last one.
    func deleteUnbound(_ hubs: [HubID], in virtualHost: UInt32) {
        var waiting = hubs
        while let hub = waiting.popLast() {
            guard shard.router.bindingCount(of: hub) == 0 else { continue }
            guard let name = exchangeNames.value.name(of: hub), let place = virtualHosts.value[virtualHost].exchanges.find(name.span) else { continue }
            let exchange = virtualHosts.value[virtualHost].exchanges[place: place]
            if exchange.hub == hub, exchange.isAutoDelete { waiting += remove(exchangeAt: place, in: virtualHost) }
        }
    }

    // MARK: exchange.bind, exchange.unbind

    func bindExchange(
        _ destination: [UInt8], to source: [UInt8], _ routingKey: [UInt8], _ arguments: [UInt8], _ connection: AMQPServerConnection, isBinding: Bool
    ) throws(AMQPException) {
        if source.isEmpty || destination.isEmpty { throw Self.defaultExchange }
        let target = try exchange(destination, connection), from = try exchange(source, connection)
        let pattern = try Self.pattern(routingKey, arguments, of: from)
        if isBinding {
            try checkBindings(of: connection)
            let isDurable = from.isDurable && target.isDurable
            let record = isDurable ? defineBinding(of: .exchange(destination), to: source, routingKey, arguments, connection.virtualHost) : .none
            shard.router.bind(from.hub, pattern, to: target.hub, record: record)
            shard.core.value.bindingsChanged()
        } else if shard.router.unbind(from.hub, pattern, from: target.hub) {
            shard.core.value.bindingsChanged()
            deleteUnbound([from.hub], in: connection.virtualHost)
        }
    }

    func checkBindings(of connection: AMQPServerConnection) throws(AMQPException) {
        let host = connection.virtualHost
        guard shard.router.bindingCount(in: virtualHosts.value[host].namespace) >= options.bindingsMax else { return }
        seen.value.overLimit += 1
        throw AMQPException(
            .preconditionFailed, "cannot bind in vhost '\(virtualHosts.value[host].name.text)': binding limit of \(options.bindingsMax) is reached")
    }

    /// What a binding to an exchange asks for. Arguments count for headers exchanges alone.
    static func pattern(_ routingKey: [UInt8], _ arguments: [UInt8], of exchange: AMQPExchange) throws(AMQPException) -> Pattern {
        switch exchange.type {
        case .headers: .headers(try HeaderCondition(arguments: arguments, label: routingKey))
        case .topic where exchange.isMeetingPoint: .address(Address.convert(routingKey.span, to: .slashes, isPattern: true))
        case .direct, .topic, .fanout: .address(routingKey)
        }
    }
}

/// What exchange.declare asks for.
struct AMQPExchangeDeclaration {
    let type: Hub.Kind
    let isDurable: Bool
    let isAutoDelete: Bool
    let isInternal: Bool
    let alternate: [UInt8]?
}

extension AMQPExchangeDeclaration {
    init(_ declare: AMQPMethod<ByteRange>.ExchangeDeclare, in bytes: Span<UInt8>, _ resource: AMQPResource) throws(AMQPException) {
        let name = bytes.at(declare.type).array.text
        guard let type = Hub.Kind(typeName: name) else { throw AMQPException(.commandInvalid, "unknown exchange type '\(name)'") }
        var alternate: [UInt8]?
        for field in AMQPTable(declare.arguments, in: bytes).fields {
            guard field.key.text == "alternate-exchange" else { continue }
            guard case .string(let text) = field.value, text.count <= 255 else {
                throw AMQPException(.preconditionFailed, "invalid arg 'alternate-exchange' for \(resource): it is no exchange's name")
            }
            alternate = text
        }
        self.init(
            type: type, isDurable: declare.durable, isAutoDelete: declare.autoDelete, isInternal: declare.isInternal, alternate: alternate)
    }
}

extension AMQPExchange {
    /// Section 1.6.2.1 of the class reference: what exists must be what is asked for.
    func check(_ wanted: AMQPExchangeDeclaration, _ resource: AMQPResource) throws(AMQPException) {
        if type != wanted.type { throw resource.differs(in: "type", received: "'\(wanted.type.typeName)'", current: "'\(type.typeName)'") }
        if isDurable != wanted.isDurable { throw resource.differs(in: "durable", received: "'\(wanted.isDurable)'", current: "'\(isDurable)'") }
        if isAutoDelete != wanted.isAutoDelete {
            throw resource.differs(in: "auto_delete", received: "'\(wanted.isAutoDelete)'", current: "'\(isAutoDelete)'")
        }
        if isInternal != wanted.isInternal { throw resource.differs(in: "internal", received: "'\(wanted.isInternal)'", current: "'\(isInternal)'") }
        if alternate != wanted.alternate {
            throw resource.differs(
                in: "alternate-exchange", received: wanted.alternate.map(\.text), current: alternate.map(\.text), type: "longstr")
        }
    }
}

extension Hub.Kind {
    init?(typeName: String) {
        switch typeName {
        case "direct": self = .direct
        case "fanout": self = .fanout
        case "topic": self = .topic
        case "headers": self = .headers
        default: return nil
        }
    }

    var typeName: String { "\(self)" }
}
