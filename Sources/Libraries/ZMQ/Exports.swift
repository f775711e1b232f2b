// What the options and errors are made of.
@_exported public import struct MartletCurve.CurveKeyPair
@_exported public import struct MartletCurve.CurvePublicKey
@_exported public import struct MartletCurve.CurveSecretKey
@_exported public import struct MartletNet.NetError
@_exported public import struct MartletTLS.TLSClientOptions
@_exported public import struct MartletTLS.TLSIdentity
@_exported public import struct MartletTLS.TLSServerOptions
@_exported public import enum MartletWebSocketProtocol.WebSocketOrigins
@_exported public import struct MartletZMTPProtocol.ZMTPHeartbeat
@_exported public import struct MartletZMTPProtocol.ZMTPLimits
@_exported public import enum MartletZMTPProtocol.ZMTPSecurity
@_exported public import enum MartletZMTPProtocol.ZMTPSocketType
