// What the client's options and errors are made of.
@_exported public import struct MartletEventLoop.LayerFailure
@_exported public import struct MartletNet.NetError
@_exported public import struct MartletTLS.TLSClientOptions
@_exported public import struct MartletTLS.TLSError
@_exported public import struct MartletTLS.TLSIdentity
@_exported public import enum MartletTLS.TLSVersion
