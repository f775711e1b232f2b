@_exported public import MartletHTTP
@_exported public import MartletWebSocketProtocol
