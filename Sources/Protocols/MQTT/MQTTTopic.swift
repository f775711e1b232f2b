internal import MartletBytes

/// What is a topic for those who speak of topics in other words than MQTT's packets: section 4.7 of MQTT 5.0.
public enum MQTTTopic {
    /// At least one byte and at most 65,535 of UTF-8, without NUL and wildcards.
    public static func isName(_ bytes: Span<UInt8>, levelsMax: UInt16 = MQTTLimits().topicLevelsMax) -> Bool {
        guard !bytes.isEmpty, bytes.count <= Int(UInt16.max) else { return false }
        do { try MQTTText.checkTopicName(bytes, ByteRange(0, bytes.count), levelsMax: levelsMax) } catch { return false }
        return true
    }

    /// The same with wildcards as whole levels, `#` as the last. `$share/…` is a filter of that name here, and shared by nobody.
    public static func isFilter(_ bytes: Span<UInt8>, levelsMax: UInt16 = MQTTLimits().topicLevelsMax) -> Bool {
        guard bytes.count <= Int(UInt16.max) else { return false }
        do { try MQTTText.checkTopicFilter(bytes, version: .v3_1_1, levelsMax: levelsMax) } catch { return false }
        return true
    }
}
