public import MartletBytes

/// Where a string or a table of a method is: a `ByteRange` in what comes, `[UInt8]` in what is sent or kept.
public protocol AMQPText: Equatable, Sendable {
    static var empty: Self { get }
}

extension ByteRange: AMQPText {}

extension [UInt8]: AMQPText {
    public static var empty: [UInt8] { [] }
}
