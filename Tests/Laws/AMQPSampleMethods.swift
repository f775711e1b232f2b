import MartletAMQPProtocol

/// Each method with random fields.
extension AMQPSamples {
    struct Unknown: Error { var id: AMQPMethodID }

    mutating func method(_ id: AMQPMethodID) throws -> AMQPMethod<[UInt8]> {
        if let method = basic(id) ?? connection(id) ?? other(id) { return method }
        throw Unknown(id: id)
    }

    private mutating func basic(_ id: AMQPMethodID) -> AMQPMethod<[UInt8]>? {
        switch id {
        case .basicQos: .basicQos(.init(prefetchSize: number(), prefetchCount: number(), global: flag()))
        case .basicQosOk: .basicQosOk
        case .basicConsume:
            .basicConsume(
                .init(
                    ticket: number(), queue: name(), consumerTag: name(), noLocal: flag(), noAck: flag(), exclusive: flag(), noWait: flag(),
                    arguments: table().encoded))
        case .basicConsumeOk: .basicConsumeOk(.init(consumerTag: name()))
        case .basicCancel: .basicCancel(.init(consumerTag: name(), noWait: flag()))
        case .basicCancelOk: .basicCancelOk(.init(consumerTag: name()))
        case .basicPublish: .basicPublish(.init(ticket: number(), exchange: name(), routingKey: name(), mandatory: flag(), immediate: flag()))
        case .basicReturn: .basicReturn(.init(replyCode: number(), replyText: name(), exchange: name(), routingKey: name()))
        case .basicDeliver: .basicDeliver(.init(consumerTag: name(), deliveryTag: number(), redelivered: flag(), exchange: name(), routingKey: name()))
        case .basicGet: .basicGet(.init(ticket: number(), queue: name(), noAck: flag()))
        case .basicGetOk: .basicGetOk(.init(deliveryTag: number(), redelivered: flag(), exchange: name(), routingKey: name(), messageCount: number()))
        case .basicGetEmpty: .basicGetEmpty(.init(clusterID: name()))
        case .basicAck: .basicAck(.init(deliveryTag: number(), multiple: flag()))
        case .basicReject: .basicReject(.init(deliveryTag: number(), requeue: flag()))
        case .basicRecoverAsync: .basicRecoverAsync(.init(requeue: flag()))
        case .basicRecover: .basicRecover(.init(requeue: flag()))
        case .basicRecoverOk: .basicRecoverOk
        case .basicNack: .basicNack(.init(deliveryTag: number(), multiple: flag(), requeue: flag()))
        default: nil
        }
    }

    private mutating func connection(_ id: AMQPMethodID) -> AMQPMethod<[UInt8]>? {
        switch id {
        case .connectionStart:
            .connectionStart(.init(versionMajor: number(), versionMinor: number(), serverProperties: table().encoded, mechanisms: bytes(), locales: bytes()))
        case .connectionStartOk: .connectionStartOk(.init(clientProperties: table().encoded, mechanism: name(), response: bytes(), locale: name()))
        case .connectionSecure: .connectionSecure(.init(challenge: bytes()))
        case .connectionSecureOk: .connectionSecureOk(.init(response: bytes()))
        case .connectionTune: .connectionTune(.init(channelMax: number(), frameMax: number(), heartbeat: number()))
        case .connectionTuneOk: .connectionTuneOk(.init(channelMax: number(), frameMax: number(), heartbeat: number()))
        case .connectionOpen: .connectionOpen(.init(virtualHost: name(), capabilities: name(), insist: flag()))
        case .connectionOpenOk: .connectionOpenOk(.init(knownHosts: name()))
        case .connectionClose: .connectionClose(.init(replyCode: number(), replyText: name(), classID: number(), methodID: number()))
        case .connectionCloseOk: .connectionCloseOk
        case .connectionBlocked: .connectionBlocked(.init(reason: name()))
        case .connectionUnblocked: .connectionUnblocked
        case .connectionUpdateSecret: .connectionUpdateSecret(.init(newSecret: bytes(), reason: name()))
        case .connectionUpdateSecretOk: .connectionUpdateSecretOk
        case .channelOpen: .channelOpen(.init(outOfBand: name()))
        case .channelOpenOk: .channelOpenOk(.init(channelID: bytes()))
        case .channelFlow: .channelFlow(.init(active: flag()))
        case .channelFlowOk: .channelFlowOk(.init(active: flag()))
        case .channelClose: .channelClose(.init(replyCode: number(), replyText: name(), classID: number(), methodID: number()))
        case .channelCloseOk: .channelCloseOk
        case .accessRequest: .accessRequest(.init(realm: name(), exclusive: flag(), passive: flag(), active: flag(), write: flag(), read: flag()))
        case .accessRequestOk: .accessRequestOk(.init(ticket: number()))
        default: nil
        }
    }

    private mutating func other(_ id: AMQPMethodID) -> AMQPMethod<[UInt8]>? {
        switch id {
        case .exchangeDeclare:
            .exchangeDeclare(
                .init(
                    ticket: number(), exchange: name(), type: name(), passive: flag(), durable: flag(), autoDelete: flag(), isInternal: flag(), noWait: flag(),
                    arguments: table().encoded))
        case .exchangeDeclareOk: .exchangeDeclareOk
        case .exchangeDelete: .exchangeDelete(.init(ticket: number(), exchange: name(), ifUnused: flag(), noWait: flag()))
        case .exchangeDeleteOk: .exchangeDeleteOk
        case .exchangeBind:
            .exchangeBind(.init(ticket: number(), destination: name(), source: name(), routingKey: name(), noWait: flag(), arguments: table().encoded))
        case .exchangeBindOk: .exchangeBindOk
        case .exchangeUnbind:
            .exchangeUnbind(.init(ticket: number(), destination: name(), source: name(), routingKey: name(), noWait: flag(), arguments: table().encoded))
        case .exchangeUnbindOk: .exchangeUnbindOk
        case .queueDeclare:
            .queueDeclare(
                .init(
                    ticket: number(), queue: name(), passive: flag(), durable: flag(), exclusive: flag(), autoDelete: flag(), noWait: flag(),
                    arguments: table().encoded))
        case .queueDeclareOk: .queueDeclareOk(.init(queue: name(), messageCount: number(), consumerCount: number()))
        case .queueBind: .queueBind(.init(ticket: number(), queue: name(), exchange: name(), routingKey: name(), noWait: flag(), arguments: table().encoded))
        case .queueBindOk: .queueBindOk
        case .queuePurge: .queuePurge(.init(ticket: number(), queue: name(), noWait: flag()))
        case .queuePurgeOk: .queuePurgeOk(.init(messageCount: number()))
        case .queueDelete: .queueDelete(.init(ticket: number(), queue: name(), ifUnused: flag(), ifEmpty: flag(), noWait: flag()))
        case .queueDeleteOk: .queueDeleteOk(.init(messageCount: number()))
        case .queueUnbind: .queueUnbind(.init(ticket: number(), queue: name(), exchange: name(), routingKey: name(), arguments: table().encoded))
        case .queueUnbindOk: .queueUnbindOk
        case .txSelect: .txSelect
        case .txSelectOk: .txSelectOk
        case .txCommit: .txCommit
        case .txCommitOk: .txCommitOk
        case .txRollback: .txRollback
        case .txRollbackOk: .txRollbackOk
        case .confirmSelect: .confirmSelect(.init(noWait: flag()))
        case .confirmSelectOk: .confirmSelectOk
        default: nil
        }
    }
}
