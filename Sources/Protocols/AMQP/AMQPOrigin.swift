/// Where a message came from, in all that a server hands on. Names and keys have at most 255 bytes.
public struct AMQPOrigin: ~Escapable {
    public var exchange: Span<UInt8>
    public var routingKey: Span<UInt8>

    @_lifetime(copy exchange, copy routingKey)
    public init(exchange: Span<UInt8>, routingKey: Span<UInt8>) {
        self.exchange = exchange
        self.routingKey = routingKey
    }

    var count: Int { 2 &+ exchange.count &+ routingKey.count }
}
