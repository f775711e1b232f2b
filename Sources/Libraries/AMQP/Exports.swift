// What the client's options, arguments, headers and errors are made of.
@_exported public import enum MartletAMQPProtocol.AMQPMisuse
@_exported public import enum MartletAMQPProtocol.AMQPReplyCode
@_exported public import struct MartletAMQPProtocol.AMQPTable
@_exported public import enum MartletAMQPProtocol.AMQPValue
@_exported public import enum MartletAMQPProtocol.AMQPViolation
@_exported public import struct MartletEventLoop.LayerFailure
@_exported public import struct MartletNet.NetError
@_exported public import struct MartletTLS.TLSClientOptions
@_exported public import struct MartletTLS.TLSError
@_exported public import struct MartletTLS.TLSIdentity
@_exported public import enum MartletTLS.TLSVersion
