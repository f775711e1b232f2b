/// What a connection is doing (`AMQPConnection.states`).
public enum AMQPConnectionState: Sendable {
    /// It is open, and after a loss all is made anew.
    case connected
    /// The server holds publishers, for the reason it gives: publishing waits. (connection.blocked)
    case blocked(reason: String)
    /// Publishing goes on. (connection.unblocked)
    case unblocked
    /// The connection, or an attempt to make one, has failed.
    case disconnected(AMQPError)
    /// The next attempt, counted since the last connection that held, comes after that time.
    case reconnecting(attempt: Int, after: Duration)
    /// After a reconnect the server refused to make something anew: the method and what it was about. It is given up, the rest goes on.
    case notRecovered(String, AMQPError)
}
