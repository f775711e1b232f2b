@_exported public import MartletFramingProtocol
@_exported public import MartletNet
@_exported public import MartletTLS
