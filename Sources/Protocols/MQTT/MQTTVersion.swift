/// The protocol level of a CONNECT packet. One codec serves all: the version is a field, never a second parser.
///
/// MQTT 3.1 is 3.1.1 on the wire but for its CONNECT; so code asks whether it is `.v5`.
public enum MQTTVersion: UInt8, Sendable, BitwiseCopyable {
    case v3_1 = 3
    case v3_1_1 = 4
    case v5 = 5

    /// As people write it.
    public var name: String {
        switch self {
        case .v3_1: "3.1"
        case .v3_1_1: "3.1.1"
        case .v5: "5.0"
        }
    }
}
