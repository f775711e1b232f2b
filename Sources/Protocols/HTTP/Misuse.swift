/// What the caller of a machine got wrong. Nothing was written.
public enum HTTPMisuse: Error, Equatable, Sendable {
    /// Not now: no request waits for a response, a message has begun already or has not, or the machine is closed.
    case outOfTurn
    /// Not a status of this kind: final ones are 200 to 999, informational ones 100 to 199 without 101.
    case statusInvalid
    /// A method that is no token.
    case methodInvalid
    /// A request target with a byte that none holds, or in a form that its method does not have.
    case targetInvalid
    /// Field lines that are none, or that the machine writes itself: Content-Length, Transfer-Encoding, Connection.
    case fieldsInvalid
    /// More content than was promised. The message cannot be mended: reset the connection.
    case contentTooLong
    /// Less content than was promised. The message cannot be mended: reset the connection.
    case contentTooShort
}
