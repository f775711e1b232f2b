internal import MartletBytes

/// Who asks (RFC 9110 section 11.6.2). Sent to the origin that they were given for, and by no redirect elsewhere.
public enum HTTPCredentials: Sendable, Hashable {
    /// RFC 7617, in UTF-8. A user's name holds no colon. Over http whoever listens reads it.
    case basic(user: String, password: String)
    /// A token (RFC 6750).
    case bearer(String)

    /// What stands in Authorization.
    var field: String {
        switch self {
        case .basic(let user, let password): "Basic " + Base64.text(Array("\(user):\(password)".utf8))
        case .bearer(let token): "Bearer " + token
        }
    }
}
