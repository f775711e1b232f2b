import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletShard

/// Channels, what each method asks, and what is said when it cannot be done.
extension AMQPGateway {
    /// A method that came without content, or before it.
    func handle(
        _ method: AMQPMethod<ByteRange>, in bytes: Span<UInt8>, _ number: UInt16, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) -> ConnectionEnd? {
        do throws(AMQPException) {
            if number == 0 { return try handleConnection(method, in: bytes, connection, &machine) }
            switch method {
            case .channelOpen: openChannel(number, connection, &machine)
            case .channelCloseOk: break
            default:
                // The machine answers for a channel that is being closed, and this side knows no other.
                let channel = connection.channel(number)
                guard channel != 0 else { return nil }
                try handle(method, in: bytes, channel, connection, &machine)
            }
        } catch {
            // As RabbitMQ: a login that is refused is not about a method.
            let isLogin = number == 0 && error.code == .accessRefused
            refuse(error, isLogin ? nil : method.id, number, connection, &machine)
        }
        return nil
    }

    private func handle(
        _ method: AMQPMethod<ByteRange>, in bytes: Span<UInt8>, _ channel: UInt32, _ connection: AMQPServerConnection,
        _ machine: inout AMQPServerMachine
    ) throws(AMQPException) {
        switch method {
        case .basicAck(let ack): try acknowledge(ack.deliveryTag, multiple: ack.multiple, .accepted, on: channel)
        case .basicReject(let reject): try acknowledge(reject.deliveryTag, multiple: false, reject.requeue ? .requeued : .rejected, on: channel)
        case .basicNack(let nack): try acknowledge(nack.deliveryTag, multiple: nack.multiple, nack.requeue ? .requeued : .rejected, on: channel)
        case .basicPublish(let publish): beginAssembly(publish, in: bytes, on: channel)
        case .basicGet(let get): try self.get(bytes.at(get.queue).array, noAck: get.noAck, on: channel, connection)
        case .basicQos(let qos): try setPrefetch(qos, on: channel)
        case .basicConsume(let consume): try self.consume(consume, in: bytes, on: channel, connection)
        case .basicCancel(let cancel): self.cancel(bytes.at(cancel.consumerTag).array, noWait: cancel.noWait, on: channel)
        case .basicRecover(let recover): try self.recover(requeue: recover.requeue, isAsync: false, on: channel)
        case .basicRecoverAsync(let recover): try self.recover(requeue: recover.requeue, isAsync: true, on: channel)
        case .exchangeDeclare(let declare): try self.declare(declare, in: bytes, on: channel, connection)
        case .exchangeDelete(let delete): try self.delete(delete, in: bytes, on: channel, connection)
        case .exchangeBind(let bind):
            try bindExchange(
                bytes.at(bind.destination).array, to: bytes.at(bind.source).array, bytes.at(bind.routingKey).array, bytes.at(bind.arguments).array,
                connection, isBinding: true)
            if !bind.noWait { say(.exchangeBindOk, on: channel) }
        case .exchangeUnbind(let unbind):
            try bindExchange(
                bytes.at(unbind.destination).array, to: bytes.at(unbind.source).array, bytes.at(unbind.routingKey).array,
                bytes.at(unbind.arguments).array, connection, isBinding: false)
            if !unbind.noWait { say(.exchangeUnbindOk, on: channel) }
        case .queueDeclare(let declare): try self.declare(declare, in: bytes, on: channel, connection)
        case .queueBind(let bind):
            try self.bind(bind, in: bytes, on: channel, connection)
            if !bind.noWait { say(.queueBindOk, on: channel) }
        case .queueUnbind(let unbind):
            try self.unbind(unbind, in: bytes, on: channel, connection)
            say(.queueUnbindOk, on: channel)
        case .queuePurge(let purge): try self.purge(bytes.at(purge.queue).array, noWait: purge.noWait, on: channel, connection)
        case .queueDelete(let delete): try self.delete(delete, in: bytes, on: channel, connection)
        case .confirmSelect(let select): try selectConfirms(noWait: select.noWait, on: channel)
        case .txSelect: try selectTransactions(on: channel)
        case .txCommit: try commit(channel, connection)
        case .txRollback: try rollBack(channel, connection)
        case .channelFlow(let flow):
            guard flow.active else { throw AMQPException(.notImplemented, "active=false") }
            say(.channelFlowOk(.init(active: true)), on: channel)
        case .accessRequest: say(.accessRequestOk(.init(ticket: 1)), on: channel)
        case .channelClose: closeChannel(channel, connection, &machine)
        default: break
        }
    }

    // MARK: Opening and closing

    private func openChannel(_ number: UInt16, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine) {
        let channel = AMQPChannel(slot: connection.slot, number: number, frameMax: machine.frameMax)
        connection.add(channels.value.insert(channel), as: number)
        send(.channelOpenOk(.init(channelID: [])), number, connection, &machine)
    }

    private func closeChannel(_ channel: UInt32, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine) {
        let number = channels.value[channel].number
        forgetChannel(number, of: connection)
        send(.channelCloseOk, number, connection, &machine)
    }

    /// The channel is no more; what it had not acknowledged goes back.
    func forgetChannel(_ number: UInt16, of connection: AMQPServerConnection) {
        let channel = connection.channel(number)
        guard channel != 0 else { return }
        connection.removeChannel(number)
        cancelConsumers(of: channel)
        remove(channel, of: connection)
    }

    /// Takes a channel out whose consumers are gone already: nothing comes back to it.
    func remove(_ channel: UInt32, of connection: AMQPServerConnection) {
        if let assembly = channels.value[channel].assembly { uncount(assembly, connection) }
        for publication in channels.value[channel].transaction?.publications ?? [] { uncount(publication, connection) }
        confirming.value.removeAll { $0 == channel }
        requeueAll(of: channel)
        // What a transaction had acknowledged and did not commit.
        for acknowledgement in channels.value[channel].transaction?.acknowledgements ?? [] { settle(acknowledgement.entry, .requeued) }
        if !channels.value[channel].credit.isNone { shard.core.value.closeCredit(channels.value[channel].credit) }
        if !channels.value[channel].publisher.isNone { shard.core.value.closePublisher(channels.value[channel].publisher) }
        channels.value.remove(channel)
    }

    // MARK: Exceptions

    /// A soft error closes its channel, a hard one the connection (section 2.3.7 of the specification).
    func refuse(
        _ exception: AMQPException, _ cause: AMQPMethodID?, _ number: UInt16, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) {
        seen.value.exceptions += 1
        log.debug("exception", metadata: ["address": address(connection), "channel": "\(number)", "text": exception.replyText.text])
        tellConfirms(of: connection)
        if exception.code.closesConnection || number == 0 {
            release(connection)
            let close = AMQPMethod<[UInt8]>.ConnectionClose(
                replyCode: exception.code.rawValue, replyText: exception.replyText, classID: cause?.classID ?? 0, methodID: cause?.methodID ?? 0)
            send(.connectionClose(close), 0, connection, &machine)
        } else {
            forgetChannel(number, of: connection)
            let close = AMQPMethod<[UInt8]>.ChannelClose(
                replyCode: exception.code.rawValue, replyText: exception.replyText, classID: cause?.classID ?? 0, methodID: cause?.methodID ?? 0)
            send(.channelClose(close), number, connection, &machine)
        }
    }
}
