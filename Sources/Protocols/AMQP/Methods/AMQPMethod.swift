// Written by scripts/amqp-methods from the specification: change that, not this.

public import MartletBytes

/// A method with its fields (sections 1.2 to 1.8 of the class reference).
/// `Text` says where strings and tables are: a `ByteRange` of a machine's input as they come, `[UInt8]` in what is sent or kept. Strings and
/// tables have no length in front of them; a table is as it is encoded (`AMQPTable`, `AMQPTableCursor`), and checked.
public enum AMQPMethod<Text: AMQPText>: Equatable, Sendable {
    case basicQos(BasicQos)
    case basicQosOk
    case basicConsume(BasicConsume)
    case basicConsumeOk(BasicConsumeOk)
    case basicCancel(BasicCancel)
    case basicCancelOk(BasicCancelOk)
    case basicPublish(BasicPublish)
    case basicReturn(BasicReturn)
    case basicDeliver(BasicDeliver)
    case basicGet(BasicGet)
    case basicGetOk(BasicGetOk)
    case basicGetEmpty(BasicGetEmpty)
    case basicAck(BasicAck)
    case basicReject(BasicReject)
    case basicRecoverAsync(BasicRecoverAsync)
    case basicRecover(BasicRecover)
    case basicRecoverOk
    case basicNack(BasicNack)
    case connectionStart(ConnectionStart)
    case connectionStartOk(ConnectionStartOk)
    case connectionSecure(ConnectionSecure)
    case connectionSecureOk(ConnectionSecureOk)
    case connectionTune(ConnectionTune)
    case connectionTuneOk(ConnectionTuneOk)
    case connectionOpen(ConnectionOpen)
    case connectionOpenOk(ConnectionOpenOk)
    case connectionClose(ConnectionClose)
    case connectionCloseOk
    case connectionBlocked(ConnectionBlocked)
    case connectionUnblocked
    case connectionUpdateSecret(ConnectionUpdateSecret)
    case connectionUpdateSecretOk
    case channelOpen(ChannelOpen)
    case channelOpenOk(ChannelOpenOk)
    case channelFlow(ChannelFlow)
    case channelFlowOk(ChannelFlowOk)
    case channelClose(ChannelClose)
    case channelCloseOk
    case accessRequest(AccessRequest)
    case accessRequestOk(AccessRequestOk)
    case exchangeDeclare(ExchangeDeclare)
    case exchangeDeclareOk
    case exchangeDelete(ExchangeDelete)
    case exchangeDeleteOk
    case exchangeBind(ExchangeBind)
    case exchangeBindOk
    case exchangeUnbind(ExchangeUnbind)
    case exchangeUnbindOk
    case queueDeclare(QueueDeclare)
    case queueDeclareOk(QueueDeclareOk)
    case queueBind(QueueBind)
    case queueBindOk
    case queuePurge(QueuePurge)
    case queuePurgeOk(QueuePurgeOk)
    case queueDelete(QueueDelete)
    case queueDeleteOk(QueueDeleteOk)
    case queueUnbind(QueueUnbind)
    case queueUnbindOk
    case txSelect
    case txSelectOk
    case txCommit
    case txCommitOk
    case txRollback
    case txRollbackOk
    case confirmSelect(ConfirmSelect)
    case confirmSelectOk

    public var id: AMQPMethodID {
        switch self {
        case .basicQos: .basicQos
        case .basicQosOk: .basicQosOk
        case .basicConsume: .basicConsume
        case .basicConsumeOk: .basicConsumeOk
        case .basicCancel: .basicCancel
        case .basicCancelOk: .basicCancelOk
        case .basicPublish: .basicPublish
        case .basicReturn: .basicReturn
        case .basicDeliver: .basicDeliver
        case .basicGet: .basicGet
        case .basicGetOk: .basicGetOk
        case .basicGetEmpty: .basicGetEmpty
        case .basicAck: .basicAck
        case .basicReject: .basicReject
        case .basicRecoverAsync: .basicRecoverAsync
        case .basicRecover: .basicRecover
        case .basicRecoverOk: .basicRecoverOk
        case .basicNack: .basicNack
        case .connectionStart: .connectionStart
        case .connectionStartOk: .connectionStartOk
        case .connectionSecure: .connectionSecure
        case .connectionSecureOk: .connectionSecureOk
        case .connectionTune: .connectionTune
        case .connectionTuneOk: .connectionTuneOk
        case .connectionOpen: .connectionOpen
        case .connectionOpenOk: .connectionOpenOk
        case .connectionClose: .connectionClose
        case .connectionCloseOk: .connectionCloseOk
        case .connectionBlocked: .connectionBlocked
        case .connectionUnblocked: .connectionUnblocked
        case .connectionUpdateSecret: .connectionUpdateSecret
        case .connectionUpdateSecretOk: .connectionUpdateSecretOk
        case .channelOpen: .channelOpen
        case .channelOpenOk: .channelOpenOk
        case .channelFlow: .channelFlow
        case .channelFlowOk: .channelFlowOk
        case .channelClose: .channelClose
        case .channelCloseOk: .channelCloseOk
        case .accessRequest: .accessRequest
        case .accessRequestOk: .accessRequestOk
        case .exchangeDeclare: .exchangeDeclare
        case .exchangeDeclareOk: .exchangeDeclareOk
        case .exchangeDelete: .exchangeDelete
        case .exchangeDeleteOk: .exchangeDeleteOk
        case .exchangeBind: .exchangeBind
        case .exchangeBindOk: .exchangeBindOk
        case .exchangeUnbind: .exchangeUnbind
        case .exchangeUnbindOk: .exchangeUnbindOk
        case .queueDeclare: .queueDeclare
        case .queueDeclareOk: .queueDeclareOk
        case .queueBind: .queueBind
        case .queueBindOk: .queueBindOk
        case .queuePurge: .queuePurge
        case .queuePurgeOk: .queuePurgeOk
        case .queueDelete: .queueDelete
        case .queueDeleteOk: .queueDeleteOk
        case .queueUnbind: .queueUnbind
        case .queueUnbindOk: .queueUnbindOk
        case .txSelect: .txSelect
        case .txSelectOk: .txSelectOk
        case .txCommit: .txCommit
        case .txCommitOk: .txCommitOk
        case .txRollback: .txRollback
        case .txRollbackOk: .txRollbackOk
        case .confirmSelect: .confirmSelect
        case .confirmSelectOk: .confirmSelectOk
        }
    }
}

extension AMQPMethod where Text == ByteRange {
    /// The fields of the method `id`, as `reader` has them; what is left over is the caller's to judge.
    init(_ id: AMQPMethodID, from reader: inout ByteReader, depthMax: UInt8) throws(AMQPFault) {
        switch id {
        case .basicQos: self = .basicQos(try BasicQos(from: &reader, depthMax: depthMax))
        case .basicQosOk: self = .basicQosOk
        case .basicConsume: self = .basicConsume(try BasicConsume(from: &reader, depthMax: depthMax))
        case .basicConsumeOk: self = .basicConsumeOk(try BasicConsumeOk(from: &reader, depthMax: depthMax))
        case .basicCancel: self = .basicCancel(try BasicCancel(from: &reader, depthMax: depthMax))
        case .basicCancelOk: self = .basicCancelOk(try BasicCancelOk(from: &reader, depthMax: depthMax))
        case .basicPublish: self = .basicPublish(try BasicPublish(from: &reader, depthMax: depthMax))
        case .basicReturn: self = .basicReturn(try BasicReturn(from: &reader, depthMax: depthMax))
        case .basicDeliver: self = .basicDeliver(try BasicDeliver(from: &reader, depthMax: depthMax))
        case .basicGet: self = .basicGet(try BasicGet(from: &reader, depthMax: depthMax))
        case .basicGetOk: self = .basicGetOk(try BasicGetOk(from: &reader, depthMax: depthMax))
        case .basicGetEmpty: self = .basicGetEmpty(try BasicGetEmpty(from: &reader, depthMax: depthMax))
        case .basicAck: self = .basicAck(try BasicAck(from: &reader, depthMax: depthMax))
        case .basicReject: self = .basicReject(try BasicReject(from: &reader, depthMax: depthMax))
        case .basicRecoverAsync: self = .basicRecoverAsync(try BasicRecoverAsync(from: &reader, depthMax: depthMax))
        case .basicRecover: self = .basicRecover(try BasicRecover(from: &reader, depthMax: depthMax))
        case .basicRecoverOk: self = .basicRecoverOk
        case .basicNack: self = .basicNack(try BasicNack(from: &reader, depthMax: depthMax))
        case .connectionStart: self = .connectionStart(try ConnectionStart(from: &reader, depthMax: depthMax))
        case .connectionStartOk: self = .connectionStartOk(try ConnectionStartOk(from: &reader, depthMax: depthMax))
        case .connectionSecure: self = .connectionSecure(try ConnectionSecure(from: &reader, depthMax: depthMax))
        case .connectionSecureOk: self = .connectionSecureOk(try ConnectionSecureOk(from: &reader, depthMax: depthMax))
        case .connectionTune: self = .connectionTune(try ConnectionTune(from: &reader, depthMax: depthMax))
        case .connectionTuneOk: self = .connectionTuneOk(try ConnectionTuneOk(from: &reader, depthMax: depthMax))
        case .connectionOpen: self = .connectionOpen(try ConnectionOpen(from: &reader, depthMax: depthMax))
        case .connectionOpenOk: self = .connectionOpenOk(try ConnectionOpenOk(from: &reader, depthMax: depthMax))
        case .connectionClose: self = .connectionClose(try ConnectionClose(from: &reader, depthMax: depthMax))
        case .connectionCloseOk: self = .connectionCloseOk
        case .connectionBlocked: self = .connectionBlocked(try ConnectionBlocked(from: &reader, depthMax: depthMax))
        case .connectionUnblocked: self = .connectionUnblocked
        case .connectionUpdateSecret: self = .connectionUpdateSecret(try ConnectionUpdateSecret(from: &reader, depthMax: depthMax))
        case .connectionUpdateSecretOk: self = .connectionUpdateSecretOk
        case .channelOpen: self = .channelOpen(try ChannelOpen(from: &reader, depthMax: depthMax))
        case .channelOpenOk: self = .channelOpenOk(try ChannelOpenOk(from: &reader, depthMax: depthMax))
        case .channelFlow: self = .channelFlow(try ChannelFlow(from: &reader, depthMax: depthMax))
        case .channelFlowOk: self = .channelFlowOk(try ChannelFlowOk(from: &reader, depthMax: depthMax))
        case .channelClose: self = .channelClose(try ChannelClose(from: &reader, depthMax: depthMax))
        case .channelCloseOk: self = .channelCloseOk
        case .accessRequest: self = .accessRequest(try AccessRequest(from: &reader, depthMax: depthMax))
        case .accessRequestOk: self = .accessRequestOk(try AccessRequestOk(from: &reader, depthMax: depthMax))
        case .exchangeDeclare: self = .exchangeDeclare(try ExchangeDeclare(from: &reader, depthMax: depthMax))
        case .exchangeDeclareOk: self = .exchangeDeclareOk
        case .exchangeDelete: self = .exchangeDelete(try ExchangeDelete(from: &reader, depthMax: depthMax))
        case .exchangeDeleteOk: self = .exchangeDeleteOk
        case .exchangeBind: self = .exchangeBind(try ExchangeBind(from: &reader, depthMax: depthMax))
        case .exchangeBindOk: self = .exchangeBindOk
        case .exchangeUnbind: self = .exchangeUnbind(try ExchangeUnbind(from: &reader, depthMax: depthMax))
        case .exchangeUnbindOk: self = .exchangeUnbindOk
        case .queueDeclare: self = .queueDeclare(try QueueDeclare(from: &reader, depthMax: depthMax))
        case .queueDeclareOk: self = .queueDeclareOk(try QueueDeclareOk(from: &reader, depthMax: depthMax))
        case .queueBind: self = .queueBind(try QueueBind(from: &reader, depthMax: depthMax))
        case .queueBindOk: self = .queueBindOk
        case .queuePurge: self = .queuePurge(try QueuePurge(from: &reader, depthMax: depthMax))
        case .queuePurgeOk: self = .queuePurgeOk(try QueuePurgeOk(from: &reader, depthMax: depthMax))
        case .queueDelete: self = .queueDelete(try QueueDelete(from: &reader, depthMax: depthMax))
        case .queueDeleteOk: self = .queueDeleteOk(try QueueDeleteOk(from: &reader, depthMax: depthMax))
        case .queueUnbind: self = .queueUnbind(try QueueUnbind(from: &reader, depthMax: depthMax))
        case .queueUnbindOk: self = .queueUnbindOk
        case .txSelect: self = .txSelect
        case .txSelectOk: self = .txSelectOk
        case .txCommit: self = .txCommit
        case .txCommitOk: self = .txCommitOk
        case .txRollback: self = .txRollback
        case .txRollbackOk: self = .txRollbackOk
        case .confirmSelect: self = .confirmSelect(try ConfirmSelect(from: &reader, depthMax: depthMax))
        case .confirmSelectOk: self = .confirmSelectOk
        }
    }

    /// With strings and tables of its own.
    public func owned(in bytes: Span<UInt8>) -> AMQPMethod<[UInt8]> {
        switch self {
        case .basicQos(let fields): .basicQos(fields.owned(in: bytes))
        case .basicQosOk: .basicQosOk
        case .basicConsume(let fields): .basicConsume(fields.owned(in: bytes))
        case .basicConsumeOk(let fields): .basicConsumeOk(fields.owned(in: bytes))
        case .basicCancel(let fields): .basicCancel(fields.owned(in: bytes))
        case .basicCancelOk(let fields): .basicCancelOk(fields.owned(in: bytes))
        case .basicPublish(let fields): .basicPublish(fields.owned(in: bytes))
        case .basicReturn(let fields): .basicReturn(fields.owned(in: bytes))
        case .basicDeliver(let fields): .basicDeliver(fields.owned(in: bytes))
        case .basicGet(let fields): .basicGet(fields.owned(in: bytes))
        case .basicGetOk(let fields): .basicGetOk(fields.owned(in: bytes))
        case .basicGetEmpty(let fields): .basicGetEmpty(fields.owned(in: bytes))
        case .basicAck(let fields): .basicAck(fields.owned(in: bytes))
        case .basicReject(let fields): .basicReject(fields.owned(in: bytes))
        case .basicRecoverAsync(let fields): .basicRecoverAsync(fields.owned(in: bytes))
        case .basicRecover(let fields): .basicRecover(fields.owned(in: bytes))
        case .basicRecoverOk: .basicRecoverOk
        case .basicNack(let fields): .basicNack(fields.owned(in: bytes))
        case .connectionStart(let fields): .connectionStart(fields.owned(in: bytes))
        case .connectionStartOk(let fields): .connectionStartOk(fields.owned(in: bytes))
        case .connectionSecure(let fields): .connectionSecure(fields.owned(in: bytes))
        case .connectionSecureOk(let fields): .connectionSecureOk(fields.owned(in: bytes))
        case .connectionTune(let fields): .connectionTune(fields.owned(in: bytes))
        case .connectionTuneOk(let fields): .connectionTuneOk(fields.owned(in: bytes))
        case .connectionOpen(let fields): .connectionOpen(fields.owned(in: bytes))
        case .connectionOpenOk(let fields): .connectionOpenOk(fields.owned(in: bytes))
        case .connectionClose(let fields): .connectionClose(fields.owned(in: bytes))
        case .connectionCloseOk: .connectionCloseOk
        case .connectionBlocked(let fields): .connectionBlocked(fields.owned(in: bytes))
        case .connectionUnblocked: .connectionUnblocked
        case .connectionUpdateSecret(let fields): .connectionUpdateSecret(fields.owned(in: bytes))
        case .connectionUpdateSecretOk: .connectionUpdateSecretOk
        case .channelOpen(let fields): .channelOpen(fields.owned(in: bytes))
        case .channelOpenOk(let fields): .channelOpenOk(fields.owned(in: bytes))
        case .channelFlow(let fields): .channelFlow(fields.owned(in: bytes))
        case .channelFlowOk(let fields): .channelFlowOk(fields.owned(in: bytes))
        case .channelClose(let fields): .channelClose(fields.owned(in: bytes))
        case .channelCloseOk: .channelCloseOk
        case .accessRequest(let fields): .accessRequest(fields.owned(in: bytes))
        case .accessRequestOk(let fields): .accessRequestOk(fields.owned(in: bytes))
        case .exchangeDeclare(let fields): .exchangeDeclare(fields.owned(in: bytes))
        case .exchangeDeclareOk: .exchangeDeclareOk
        case .exchangeDelete(let fields): .exchangeDelete(fields.owned(in: bytes))
        case .exchangeDeleteOk: .exchangeDeleteOk
        case .exchangeBind(let fields): .exchangeBind(fields.owned(in: bytes))
        case .exchangeBindOk: .exchangeBindOk
        case .exchangeUnbind(let fields): .exchangeUnbind(fields.owned(in: bytes))
        case .exchangeUnbindOk: .exchangeUnbindOk
        case .queueDeclare(let fields): .queueDeclare(fields.owned(in: bytes))
        case .queueDeclareOk(let fields): .queueDeclareOk(fields.owned(in: bytes))
        case .queueBind(let fields): .queueBind(fields.owned(in: bytes))
        case .queueBindOk: .queueBindOk
        case .queuePurge(let fields): .queuePurge(fields.owned(in: bytes))
        case .queuePurgeOk(let fields): .queuePurgeOk(fields.owned(in: bytes))
        case .queueDelete(let fields): .queueDelete(fields.owned(in: bytes))
        case .queueDeleteOk(let fields): .queueDeleteOk(fields.owned(in: bytes))
        case .queueUnbind(let fields): .queueUnbind(fields.owned(in: bytes))
        case .queueUnbindOk: .queueUnbindOk
        case .txSelect: .txSelect
        case .txSelectOk: .txSelectOk
        case .txCommit: .txCommit
        case .txCommitOk: .txCommitOk
        case .txRollback: .txRollback
        case .txRollbackOk: .txRollbackOk
        case .confirmSelect(let fields): .confirmSelect(fields.owned(in: bytes))
        case .confirmSelectOk: .confirmSelectOk
        }
    }
}

extension AMQPMethod where Text == [UInt8] {
    /// The fields, without class and method.
    func encode(into output: inout ByteBuffer) throws(AMQPMisuse) {
        switch self {
        case .basicQos(let fields): try fields.encode(into: &output)
        case .basicConsume(let fields): try fields.encode(into: &output)
        case .basicConsumeOk(let fields): try fields.encode(into: &output)
        case .basicCancel(let fields): try fields.encode(into: &output)
        case .basicCancelOk(let fields): try fields.encode(into: &output)
        case .basicPublish(let fields): try fields.encode(into: &output)
        case .basicReturn(let fields): try fields.encode(into: &output)
        case .basicDeliver(let fields): try fields.encode(into: &output)
        case .basicGet(let fields): try fields.encode(into: &output)
        case .basicGetOk(let fields): try fields.encode(into: &output)
        case .basicGetEmpty(let fields): try fields.encode(into: &output)
        case .basicAck(let fields): try fields.encode(into: &output)
        case .basicReject(let fields): try fields.encode(into: &output)
        case .basicRecoverAsync(let fields): try fields.encode(into: &output)
        case .basicRecover(let fields): try fields.encode(into: &output)
        case .basicNack(let fields): try fields.encode(into: &output)
        case .connectionStart(let fields): try fields.encode(into: &output)
        case .connectionStartOk(let fields): try fields.encode(into: &output)
        case .connectionSecure(let fields): try fields.encode(into: &output)
        case .connectionSecureOk(let fields): try fields.encode(into: &output)
        case .connectionTune(let fields): try fields.encode(into: &output)
        case .connectionTuneOk(let fields): try fields.encode(into: &output)
        case .connectionOpen(let fields): try fields.encode(into: &output)
        case .connectionOpenOk(let fields): try fields.encode(into: &output)
        case .connectionClose(let fields): try fields.encode(into: &output)
        case .connectionBlocked(let fields): try fields.encode(into: &output)
        case .connectionUpdateSecret(let fields): try fields.encode(into: &output)
        case .channelOpen(let fields): try fields.encode(into: &output)
        case .channelOpenOk(let fields): try fields.encode(into: &output)
        case .channelFlow(let fields): try fields.encode(into: &output)
        case .channelFlowOk(let fields): try fields.encode(into: &output)
        case .channelClose(let fields): try fields.encode(into: &output)
        case .accessRequest(let fields): try fields.encode(into: &output)
        case .accessRequestOk(let fields): try fields.encode(into: &output)
        case .exchangeDeclare(let fields): try fields.encode(into: &output)
        case .exchangeDelete(let fields): try fields.encode(into: &output)
        case .exchangeBind(let fields): try fields.encode(into: &output)
        case .exchangeUnbind(let fields): try fields.encode(into: &output)
        case .queueDeclare(let fields): try fields.encode(into: &output)
        case .queueDeclareOk(let fields): try fields.encode(into: &output)
        case .queueBind(let fields): try fields.encode(into: &output)
        case .queuePurge(let fields): try fields.encode(into: &output)
        case .queuePurgeOk(let fields): try fields.encode(into: &output)
        case .queueDelete(let fields): try fields.encode(into: &output)
        case .queueDeleteOk(let fields): try fields.encode(into: &output)
        case .queueUnbind(let fields): try fields.encode(into: &output)
        case .confirmSelect(let fields): try fields.encode(into: &output)
        case .basicQosOk, .basicRecoverOk, .connectionCloseOk, .connectionUnblocked, .connectionUpdateSecretOk, .channelCloseOk, .exchangeDeclareOk,
            .exchangeDeleteOk, .exchangeBindOk, .exchangeUnbindOk, .queueBindOk, .queueUnbindOk, .txSelect, .txSelectOk, .txCommit, .txCommitOk, .txRollback,
            .txRollbackOk, .confirmSelectOk:
            break
        }
    }
}
