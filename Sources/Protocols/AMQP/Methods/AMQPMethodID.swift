// Written by scripts/amqp-methods from the specification: change that, not this.

/// The methods of AMQP 0-9-1 with RabbitMQ's: class in the upper sixteen bits, method in the lower (section 4.2.4).
public enum AMQPMethodID: UInt32, CaseIterable, Sendable {
    case basicQos = 0x003C_000A
    case basicQosOk = 0x003C_000B
    case basicConsume = 0x003C_0014
    case basicConsumeOk = 0x003C_0015
    case basicCancel = 0x003C_001E
    case basicCancelOk = 0x003C_001F
    case basicPublish = 0x003C_0028
    case basicReturn = 0x003C_0032
    case basicDeliver = 0x003C_003C
    case basicGet = 0x003C_0046
    case basicGetOk = 0x003C_0047
    case basicGetEmpty = 0x003C_0048
    case basicAck = 0x003C_0050
    case basicReject = 0x003C_005A
    case basicRecoverAsync = 0x003C_0064
    case basicRecover = 0x003C_006E
    case basicRecoverOk = 0x003C_006F
    case basicNack = 0x003C_0078
    case connectionStart = 0x000A_000A
    case connectionStartOk = 0x000A_000B
    case connectionSecure = 0x000A_0014
    case connectionSecureOk = 0x000A_0015
    case connectionTune = 0x000A_001E
    case connectionTuneOk = 0x000A_001F
    case connectionOpen = 0x000A_0028
    case connectionOpenOk = 0x000A_0029
    case connectionClose = 0x000A_0032
    case connectionCloseOk = 0x000A_0033
    case connectionBlocked = 0x000A_003C
    case connectionUnblocked = 0x000A_003D
    case connectionUpdateSecret = 0x000A_0046
    case connectionUpdateSecretOk = 0x000A_0047
    case channelOpen = 0x0014_000A
    case channelOpenOk = 0x0014_000B
    case channelFlow = 0x0014_0014
    case channelFlowOk = 0x0014_0015
    case channelClose = 0x0014_0028
    case channelCloseOk = 0x0014_0029
    case accessRequest = 0x001E_000A
    case accessRequestOk = 0x001E_000B
    case exchangeDeclare = 0x0028_000A
    case exchangeDeclareOk = 0x0028_000B
    case exchangeDelete = 0x0028_0014
    case exchangeDeleteOk = 0x0028_0015
    case exchangeBind = 0x0028_001E
    case exchangeBindOk = 0x0028_001F
    case exchangeUnbind = 0x0028_0028
    case exchangeUnbindOk = 0x0028_0033
    case queueDeclare = 0x0032_000A
    case queueDeclareOk = 0x0032_000B
    case queueBind = 0x0032_0014
    case queueBindOk = 0x0032_0015
    case queuePurge = 0x0032_001E
    case queuePurgeOk = 0x0032_001F
    case queueDelete = 0x0032_0028
    case queueDeleteOk = 0x0032_0029
    case queueUnbind = 0x0032_0032
    case queueUnbindOk = 0x0032_0033
    case txSelect = 0x005A_000A
    case txSelectOk = 0x005A_000B
    case txCommit = 0x005A_0014
    case txCommitOk = 0x005A_0015
    case txRollback = 0x005A_001E
    case txRollbackOk = 0x005A_001F
    case confirmSelect = 0x0055_000A
    case confirmSelectOk = 0x0055_000B

    public var classID: UInt16 { UInt16(rawValue >> 16) }
    public var methodID: UInt16 { UInt16(truncatingIfNeeded: rawValue) }

    /// A content header and body follow it.
    public var hasContent: Bool {
        switch self {
        case .basicPublish, .basicReturn, .basicDeliver, .basicGetOk: true
        default: false
        }
    }

    /// A server may send it.
    var comesFromServer: Bool {
        switch self {
        case .basicQosOk, .basicConsumeOk, .basicCancel, .basicCancelOk, .basicReturn, .basicDeliver, .basicGetOk, .basicGetEmpty, .basicAck, .basicRecoverOk,
            .basicNack, .connectionStart, .connectionSecure, .connectionTune, .connectionOpenOk, .connectionClose, .connectionCloseOk, .connectionBlocked,
            .connectionUnblocked, .connectionUpdateSecretOk, .channelOpenOk, .channelFlow, .channelFlowOk, .channelClose, .channelCloseOk, .accessRequestOk,
            .exchangeDeclareOk, .exchangeDeleteOk, .exchangeBindOk, .exchangeUnbindOk, .queueDeclareOk, .queueBindOk, .queuePurgeOk, .queueDeleteOk,
            .queueUnbindOk, .txSelectOk, .txCommitOk, .txRollbackOk, .confirmSelectOk:
            true
        default: false
        }
    }

    /// A client may send it.
    var comesFromClient: Bool {
        switch self {
        case .basicQosOk, .basicConsumeOk, .basicReturn, .basicDeliver, .basicGetOk, .basicGetEmpty, .basicRecoverOk, .connectionStart, .connectionSecure,
            .connectionTune, .connectionOpenOk, .connectionBlocked, .connectionUnblocked, .connectionUpdateSecretOk, .channelOpenOk, .accessRequestOk,
            .exchangeDeclareOk, .exchangeDeleteOk, .exchangeBindOk, .exchangeUnbindOk, .queueDeclareOk, .queueBindOk, .queuePurgeOk, .queueDeleteOk,
            .queueUnbindOk, .txSelectOk, .txCommitOk, .txRollbackOk, .confirmSelectOk:
            false
        default: true
        }
    }
}
