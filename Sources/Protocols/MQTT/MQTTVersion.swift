/// The protocol level of a CONNECT packet. One codec serves both: the version is a field, never a second parser.
public enum MQTTVersion: UInt8, Sendable {
    case v3_1_1 = 4
    case v5 = 5
}
