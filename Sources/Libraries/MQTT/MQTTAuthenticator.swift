/// Enhanced authentication (MQTT 5.0 section 4.12), such as SCRAM or Kerberos: what the client says in CONNECT, and what it
/// answers to each challenge of the server. Called anew for each connection.
///
/// An error that is thrown ends the connection, and with it the reconnecting.
public protocol MQTTAuthenticator: Sendable {
    /// The name both sides know the method by, such as `SCRAM-SHA-256`.
    var method: String { get }

    /// The first data, in CONNECT. `nil`: none.
    func initialData() async throws -> [UInt8]?

    /// The answer to the server's data. It may wait: not on the library's thread.
    func answer(to challenge: [UInt8]) async throws -> [UInt8]?

    /// What the server's success carries; a method that knows the server too checks it here and throws if it is wrong.
    func finished(with data: [UInt8]?) throws
}

extension MQTTAuthenticator {
    public func initialData() async throws -> [UInt8]? { nil }
    public func finished(with data: [UInt8]?) throws {}
}
