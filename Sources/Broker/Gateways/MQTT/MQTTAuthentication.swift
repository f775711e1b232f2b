/// One enhanced authentication (MQTT 5.0 section 4.12) of one client: made anew for each CONNECT that names its method, and for
/// each re-authentication. Called on the connection's loop: it must not block.
public protocol MQTTAuthenticationExchange: AnyObject {
    /// What the server says to the client's authentication data; nil: the client sent none. The first call is CONNECT's.
    func answer(_ data: [UInt8]?) -> MQTTAuthenticationStep
}

/// What comes next in an enhanced authentication.
public enum MQTTAuthenticationStep: Sendable {
    /// AUTH with "continue authentication" and this data.
    case challenge([UInt8])
    /// The client is who it says; the data goes with CONNACK, or with AUTH when it re-authenticates.
    case success([UInt8]?)
    case refusal
}
