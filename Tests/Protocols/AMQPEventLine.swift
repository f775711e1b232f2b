import MartletAMQPProtocol

/// Events in the short form of the vectors. What is 0, false or empty is left out; bytes that are not plain text are hexadecimal.
private func text(_ bytes: [UInt8]) -> String {
    bytes.allSatisfy { (0x20..<0x7F).contains($0) } ? "\"" + String(decoding: bytes, as: UTF8.self) + "\"" : hex(bytes)
}

/// The fields of a value, in their order, without those that are not given.
private func fields(_ value: Any) -> [String] {
    Mirror(reflecting: value).children.compactMap { child in
        let name = child.label ?? ""
        var value = child.value
        let mirror = Mirror(reflecting: value)
        if mirror.displayStyle == .optional {
            guard let given = mirror.children.first?.value else { return nil }
            value = given
            if let bytes = value as? [UInt8] { return "\(name)=\(text(bytes))" }
            return "\(name)=\(value)"
        }
        switch value {
        case let bytes as [UInt8]: return bytes.isEmpty ? nil : "\(name)=\(text(bytes))"
        case let flag as Bool: return flag ? name : nil
        default: return "\(value)" == "0" ? nil : "\(name)=\(value)"
        }
    }
}

private func methodLine(_ method: AMQPMethod<[UInt8]>) -> String {
    (["\(method.id)"] + Mirror(reflecting: method).children.flatMap { fields($0.value) }).joined(separator: " ")
}

private func headerLine(_ header: AMQPContentHeader.Owned) -> String {
    (["bodySize=\(header.bodySize)"] + fields(header.properties)).joined(separator: " ")
}

extension AMQPEvent.Owned {
    var line: String {
        switch self {
        case .protocolHeader: "protocolHeader"
        case .method(let channel, let method): "\(channel) \(methodLine(method))"
        case .content(let channel, let method, let header, let body): "\(channel) \(methodLine(method)) | \(headerLine(header)) | \(text(body))"
        case .header(let channel, let header): "\(channel) header \(headerLine(header))"
        case .body(let channel, let piece, let remaining): "\(channel) body \(text(piece)) remaining=\(remaining)"
        case .bodyTooLarge(let channel, let bodySize): "\(channel) bodyTooLarge \(bodySize)"
        case .heartbeat: "heartbeat"
        case .discarded(let channel): "\(channel) discarded"
        }
    }

    /// The same as its sender says it; `nil` for what no message says.
    var outgoing: AMQPOutgoing? {
        switch self {
        case .protocolHeader: .protocolHeader
        case .method(let channel, let method): .method(channel: channel, method)
        case .content(let channel, let method, let header, let body): .content(channel: channel, method, properties: header.properties, body: body)
        default: nil
        }
    }
}

extension AMQPViolation {
    var line: String { if case .exception(let code, let fault, _, _, _) = self { "\(code) \(fault)" } else { caseName } }

    private var caseName: String {
        switch self {
        case .protocolHeader: "protocolHeader"
        case .exception: "exception"
        case .heartbeatMissed: "heartbeatMissed"
        case .openTimedOut: "openTimedOut"
        case .closeTimedOut: "closeTimedOut"
        }
    }
}
