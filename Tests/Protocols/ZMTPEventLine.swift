import MartletZMTPProtocol

/// Events in the form of `Tests/Vectors/zmtp`.
enum ZMTPEventLine {
    static func text(_ event: ZMTPEvent.Owned) -> String {
        switch event {
        case .greeting(.v3_1): "greeting 3.1"
        case .greeting(.v3_0): "greeting 3.0"
        case .greeting(.v2_0): "greeting 2.0"
        case .handshaking: "handshaking"
        case .authenticate(.null): "authenticate null"
        case .authenticate(.plain(let user, let password)): "authenticate plain \(bytes(user)) \(bytes(password))"
        case .authenticate(.curve(let key)): "authenticate curve \(bytes(key))"
        case .ready(let metadata): ready(metadata)
        case .frame(let body, let more): "frame\(more ? "+" : "") \(bytes(body))"
        case .subscribe(let topic): "subscribe \(bytes(topic))"
        case .cancel(let topic): "cancel \(bytes(topic))"
        case .join(let group): "join \(bytes(group))"
        case .leave(let group): "leave \(bytes(group))"
        case .ping: "ping"
        case .pong: "pong"
        case .refused(let reason): "refused \(bytes(reason))"
        case .discarded: "discarded"
        case .part: "part"
        }
    }

    private static func ready(_ metadata: ZMTPMetadata.Owned) -> String {
        var text = "ready \(metadata.socketType.name)"
        if !metadata.identity.isEmpty { text += " identity=\(bytes(metadata.identity))" }
        if !metadata.resource.isEmpty { text += " resource=\(bytes(metadata.resource))" }
        return text
    }

    /// Quoted from three printable bytes on.
    private static func bytes(_ bytes: [UInt8]) -> String {
        if bytes.isEmpty { return "empty" }
        return bytes.count > 2 && bytes.allSatisfy { $0 > 32 && $0 < 127 } ? "\"\(String(decoding: bytes, as: UTF8.self))\"" : hex(bytes)
    }
}
