/// The number of a thing that a table holds; 0 names none. Good on the shard (queues, consumers, …) or in the router (hubs) that gave it.
public struct Handle<Kind: ~Copyable>: Hashable, Sendable, BitwiseCopyable {
    public var number: UInt32

    @inlinable public init(_ number: UInt32) { self.number = number }
    @inlinable public static var none: Handle { Handle(0) }
    @inlinable public var isNone: Bool { number == 0 }
}

public typealias HubID = Handle<Hub>
public typealias BindingID = Handle<Binding>
public typealias QueueID = Handle<Queue>
public typealias ConsumerID = Handle<Consumer>
public typealias CreditID = Handle<Credit>
public typealias PublisherID = Handle<Publisher>
public typealias EndpointID = Handle<Endpoint>
public typealias MessageID = Handle<StoredMessage>
public typealias MatchListID = Handle<MatchList>
