/// What a client's connection is doing (`MQTTClient.states`).
public enum MQTTConnectionState: Sendable {
    /// The server has let the client in; `sessionPresent`: it knew the session.
    case connected(sessionPresent: Bool)
    /// The connection, or an attempt to make one, has failed.
    case disconnected(MQTTClientError)
    /// The next attempt, counted since the last connection that held, comes after that time.
    case reconnecting(attempt: Int, after: Duration)
}
