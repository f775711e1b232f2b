internal import MartletBytes

/// Faults in the words of RabbitMQ's reply texts, which people search for; its own only where RabbitMQ has none.
extension AMQPSession {
    /// The frame at `offset` is the one that is wrong.
    func replyText(_ fault: AMQPFault, at offset: Int, in bytes: Span<UInt8>) -> String {
        let text = "\(fault.replyCode.name) - \(explanation(fault, at: offset, in: bytes))"
        return text.utf8.count > 255 ? text.prefix(252) + "..." : text
    }

    private func explanation(_ fault: AMQPFault, at offset: Int, in bytes: Span<UInt8>) -> String {
        let type = bytes[offset], channel = bytes.uint16(at: offset + 1), size = Int(bytes.uint32(at: offset + 3))
        let payload = bytes.extracting(min(offset + 7, bytes.count)..<min(offset + 7 + size, bytes.count))
        let octets = payload.count > 16 ? "first 16 octets = \(erlang(payload.extracting(0..<16)))" : "all octets = \(erlang(payload))"
        switch fault {
        case .frameTooLarge: return "type \(type), all octets = <<>>: {frame_too_large,\(size),\(Int(frameMax) - AMQPFrame.overhead)}"
        case .frameEnd: return "type \(type), \(octets): {invalid_frame_end_marker,\(bytes[offset + 7 + size])}"
        case .frameType, .frameTooShort, .heartbeatPayload: return "type \(type), \(octets): unknown_frame"
        case .heartbeatChannel, .contentChannel, .frameBeforeOpen: return "type \(type), \(octets)"
        // Nobody's password goes into a log.
        case .cutShort where holdsSecret, .trailingBytes where holdsSecret: return "cannot decode"
        case .cutShort, .trailingBytes:
            return "cannot decode \(erlang(payload.extracting((type == AMQPFrame.header ? 12 : 4)..<payload.count), isText: false))"
        case .channelTooHigh where channels.entries.count >= Int(channelMax):
            return "number of channels opened (\(channels.entries.count)) has reached the negotiated channel_max (\(channelMax))"
        case .channelTooHigh: return "channel number \(channel) is higher than the negotiated channel_max (\(channelMax))"
        case .tableValue: return "field table with a value of unknown type"
        case .tableTooDeep: return "field tables nested more than \(limits.tableDepthMax) deep"
        case .propertyFlags: return "reserved property flags"
        case .unknownMethod: return "{unknown_method_id,{\(cause >> 16),\(cause & 0xFFFF)}}"
        case .unimplementedMethod: return "unimplemented method"
        case .unexpectedMethod: return "unexpected method in connection state \(phase.name)"
        case .channelNotOpen: return "expected 'channel.open'"
        case .channelIsOpen: return "second 'channel.open' seen"
        case .headerClass: return "expected content header for class \(cause >> 16), got one for class \(payload.uint16(at: 0)) instead"
        case .noContentHeader, .headerWeight: return "expected content header for class \(cause >> 16), got non content header frame instead"
        case .noContentBody: return "expected content body, got non content body frame instead"
        case .noMethod: return "expected method frame, got non method frame instead"
        case .bodyTooLong: return "content body frame exceeds remaining content size"
        case .bodyTooLarge: return "message size \(payload.word(at: 4).byteSwapped) is larger than configured max size \(limits.bodySizeMax)"
        case .channelMax:
            let asked = payload.uint16(at: 4)
            return "negotiated channel_max = \(asked)\(asked == 0 ? " (no limit)" : "") is higher than the maximum allowed value (\(offeredChannelMax))"
        case .frameMax: return "negotiated frame_max = \(payload.uint32(at: 6)) is higher than the maximum allowed value (\(offeredFrameMax))"
        case .frameMin:
            return "negotiated frame_max = \(payload.uint32(at: 6)) is lower than the minimum allowed value (\(AMQPLimits.frameMaxLeast))"
        }
    }

    private var holdsSecret: Bool {
        switch AMQPMethodID(rawValue: cause) {
        case .connectionStartOk, .connectionSecureOk, .connectionUpdateSecret: true
        default: false
        }
    }

    /// Bytes as Erlang writes a binary; `isText`: printable ones between quotes.
    private func erlang(_ bytes: Span<UInt8>, isText: Bool = true) -> String {
        var isPrintable = isText && !bytes.isEmpty
        for index in bytes.indices where !(0x20...0x7E).contains(bytes[index]) { isPrintable = false }
        if isPrintable { return "<<\"\(bytes.text.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : [$0] }.map(String.init).joined())\">>" }
        // No more than a reply text holds.
        return "<<\(bytes.extracting(0..<min(bytes.count, 255)).array.map(String.init).joined(separator: ","))>>"
    }
}

extension AMQPPhase {
    /// As RabbitMQ calls its own states.
    fileprivate var name: String {
        switch self {
        case .awaitsProtocolHeader, .owesProtocolHeader, .owesStart, .awaitsStart, .awaitsStartOk, .owesStartOk: "starting"
        case .awaitsSecureOk, .owesSecureOk, .owesTune, .awaitsTune: "securing"
        case .awaitsTuneOk, .owesTuneOk: "tuning"
        case .awaitsOpen, .owesOpen, .owesOpenOk, .awaitsOpenOk: "opening"
        case .open: "running"
        case .closing, .owesCloseOk: "closing"
        case .closed: "closed"
        }
    }
}
