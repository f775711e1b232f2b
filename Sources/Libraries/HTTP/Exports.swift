@_exported public import MartletHTTPProtocol
@_exported public import MartletNet
@_exported public import MartletTLS
