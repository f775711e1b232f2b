import MartletBytes
import MartletCollections
import MartletCore
import MartletEventLoop
import MartletJSON
import MartletMQTTProtocol
import MartletShard
import MartletWebSocketProtocol

/// What a gateway sends its pages: `message`. One message for many is framed once, and copied.
/// ```
/// {"op":"message", "topic":"…", "text":"…" | "base64":"…", "retained":true, "reply":"…", "correlation":"Base 64"}
/// ```
/// `text` if the body is UTF-8. `retained`: it was there before the subscription. `reply`: where an answer is wanted, which then says `correlation` too.
struct WebSocketDeliveries: ~Copyable {
    private var json = ByteBuffer()

    mutating func deliver(_ range: Range<Int>, of message: borrowing Message, topic: Span<UInt8>, from gateway: WebSocketGateway, _ outputs: OutputTable) {
        let shard = gateway.shard, loop = shard.loop, outputMax = gateway.options.outputBytesMax, isReply = WebSocketGateway.isReplyTopic(topic)
        var live: WebSocketFrame?, retained: WebSocketFrame?
        var sent: UInt64 = 0, dropped: UInt64 = 0
        for index in range {
            let delivery = shard.effects.value.deliveries[index], slot = delivery.token
            loop.willWrite(slot)
            // A replay waits by itself for a page that reads slowly.
            if outputs[slot].count > outputMax, !delivery.isReplay, !loop.flushEarly(slot, limit: outputMax) {
                dropped &+= 1
                continue
            }
            if isReply {
                switch gateway.takeRequest(answeredAt: topic, slot) {
                case .none: break
                case .past: continue
                case .request(let id):
                    sent &+= 1
                    write(message, topic, id: id.span, isRetained: false, gateway)
                    if let frame = try? WebSocketFrame(.text, json.span) { outputs[slot].append(frame.plain) }
                    continue
                }
            }
            sent &+= 1
            if delivery.isReplay {
                if retained == nil { retained = frame(message, topic, isRetained: true, gateway) }
                if let retained { outputs[slot].append(retained.plain) }
            } else {
                if live == nil { live = frame(message, topic, isRetained: false, gateway) }
                if let live { outputs[slot].append(live.plain) }
            }
        }
        gateway.countSent(sent, bytes: message.body.count, dropped: dropped)
    }

    /// Nil if a topic of another protocol is not UTF-8, which no conversion leaves.
    private mutating func frame(_ message: borrowing Message, _ topic: Span<UInt8>, isRetained: Bool, _ gateway: WebSocketGateway) -> WebSocketFrame? {
        write(message, topic, id: Span(), isRetained: isRetained, gateway)
        return try? WebSocketFrame(.text, json.span)
    }

    private mutating func write(_ message: borrowing Message, _ topic: Span<UInt8>, id: Span<UInt8>, isRetained: Bool, _ gateway: WebSocketGateway) {
        WebSocketJSON.begin("message", id, &json)
        json.append(utf8: ",\"topic\":" as StaticString)
        json.append(json: topic)
        if Self.isUTF8(message.body) {
            json.append(utf8: ",\"text\":" as StaticString)
            json.append(json: message.body)
        } else {
            append(base64: message.body, as: ",\"base64\":\"")
        }
        if isRetained { json.append(utf8: ",\"retained\":true" as StaticString) }
        if message.header.origin == gateway.options.mqtt, !message.properties.isEmpty { writeReply(message.properties) }
        json.append(UInt8(ascii: "}"))
    }

    private mutating func writeReply(_ properties: Span<UInt8>) {
        var cursor = MQTTPropertyCursor(ByteRange(0, properties.count), in: properties)
        while let property = cursor.next() {
            if property.identifier == .responseTopic {
                json.append(utf8: ",\"reply\":" as StaticString)
                json.append(json: properties.at(property.text))
            } else if property.identifier == .correlationData {
                append(base64: properties.at(property.text), as: ",\"correlation\":\"")
            }
        }
    }

    private mutating func append(base64 bytes: Span<UInt8>, as name: StaticString) {
        json.append(utf8: name)
        Base64.append(bytes, to: &json)
        json.append(UInt8(ascii: "\""))
    }

    private static func isUTF8(_ bytes: Span<UInt8>) -> Bool {
        do {
            _ = try UTF8Span(validating: bytes)
            return true
        } catch { return false }
    }
}
